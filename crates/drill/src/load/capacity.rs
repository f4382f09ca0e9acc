//! The rate that a machine bears, measured before a run chooses its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::client::{MAX_CONNECTIONS, Pool, get};
use crate::clock::now;
use crate::page::Page;

/// Pages under way: enough that processors set the limit, and not the time that a page without a cache takes.
const CONCURRENCY: usize = MAX_CONNECTIONS;
/// Time before the count starts: connections are opened and caches filled.
const WARM_UP: Duration = Duration::from_millis(700);

/// Returns how many of `pages` per second all `targets` answer at the same time, measured for `time`
/// after a short warm-up, with each target sent every page. Blocks.
///
/// # Errors
/// The runtime could not be created, or no page was answered.
pub fn measure_capacity(
    targets: &[SocketAddr],
    pages: impl Iterator<Item = Page> + Send + 'static,
    time: Duration,
) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pools: Arc<[Pool]> = targets.iter().map(|address| Pool::new(*address)).collect();
    let pages: Arc<Mutex<dyn Iterator<Item = Page> + Send>> = Arc::new(Mutex::new(pages));
    let counted_from = now() + WARM_UP;
    let until = counted_from + time;
    let rounds = runtime.block_on(async {
        let mut workers = JoinSet::new();
        for _ in 0..CONCURRENCY {
            workers.spawn(rounds(Arc::clone(&pools), Arc::clone(&pages), counted_from, until));
        }
        workers.join_all().await.into_iter().sum::<u64>()
    });
    let rate = rounds as f64 / time.as_secs_f64();
    (rate > 0.0).then_some(rate).context("no page was answered by all systems")
}

/// Sends one page after the other to all targets, and counts the pages that all have answered between
/// `from` and `until`.
async fn rounds(
    pools: Arc<[Pool]>,
    pages: Arc<Mutex<dyn Iterator<Item = Page> + Send>>,
    from: Instant,
    until: Instant,
) -> u64 {
    let mut answered = 0;
    while now() < until {
        let Some(page) = pages.lock().next() else { break };
        let mut all = true;
        for pool in pools.iter() {
            let Some(request) = get(&page.path()) else { continue };
            let left = until.saturating_duration_since(now());
            let sent = tokio::time::timeout(left, pool.send(request)).await;
            all &= matches!(sent, Ok(Ok(response)) if response.status().is_success());
        }
        answered += u64::from(all && now() >= from);
    }
    answered
}
