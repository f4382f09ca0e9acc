//! Cache warm-up before the measured load begins.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use http::StatusCode;
use tokio::task::JoinSet;

use super::client::{Pool, get};
use crate::page::Page;

/// Requests each page from `address` once, at most `concurrency` of them at a time.
///
/// # Errors
/// Names the first page that was not answered with status 200.
pub async fn warm(
    address: SocketAddr,
    pages: impl IntoIterator<Item = Page>,
    concurrency: usize,
) -> anyhow::Result<()> {
    let pool = Arc::new(Pool::new(address));
    let mut in_flight = JoinSet::new();
    for page in pages {
        if in_flight.len() >= concurrency.max(1)
            && let Some(done) = in_flight.join_next().await
        {
            done.context("a warm-up request panicked")??;
        }
        let pool = Arc::clone(&pool);
        in_flight.spawn(async move {
            let path = page.path();
            let request = get(&path).with_context(|| format!("{path:?} is not a valid path"))?;
            let response = pool.send(request).await.map_err(|err| anyhow!("{path}: {err}"))?;
            if response.status() != StatusCode::OK {
                bail!("{path}: {}", response.status());
            }
            Ok(())
        });
    }
    while let Some(done) = in_flight.join_next().await {
        done.context("a warm-up request panicked")??;
    }
    Ok(())
}
