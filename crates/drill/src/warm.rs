//! A quiet morning: pages are asked for before the load begins.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use http::StatusCode;
use tokio::task::JoinSet;

use crate::client::{Pool, get};
use crate::page::Page;

/// Asks `address` for each page once, `at_once` of them at a time.
///
/// # Errors
/// Names the first page that was not answered with 200.
pub async fn warm(
    address: SocketAddr,
    pages: impl IntoIterator<Item = Page>,
    at_once: usize,
) -> anyhow::Result<()> {
    let pool = Arc::new(Pool::new(address));
    let mut under_way = JoinSet::new();
    for page in pages {
        if under_way.len() >= at_once.max(1)
            && let Some(done) = under_way.join_next().await
        {
            done.context("a warming request panicked")??;
        }
        let pool = Arc::clone(&pool);
        under_way.spawn(async move {
            let path = page.path();
            let request = get(&path).with_context(|| format!("{path:?} is no path"))?;
            let answer = pool.send(request).await.map_err(|err| anyhow!("{path}: {err}"))?;
            if answer.status() != StatusCode::OK {
                bail!("{path}: {}", answer.status());
            }
            Ok(())
        });
    }
    while let Some(done) = under_way.join_next().await {
        done.context("a warming request panicked")??;
    }
    Ok(())
}
