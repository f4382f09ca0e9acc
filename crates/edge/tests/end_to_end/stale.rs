//! Stale pages, where the route allows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{ClientResponse, Edge, Upstream, respond};
use coherence::Cause;
use contract::Unproven;
use edge::{GatewayOptions, RouteConfig, Routes};

const BRIEF: &[(&str, &str)] =
    &[("cache-control", "public, max-age=1"), ("surrogate-key", "product-42")];
const LONG: &[(&str, &str)] =
    &[("cache-control", "public, max-age=600"), ("surrogate-key", "product-42")];

fn serve_stale(options: &mut GatewayOptions) {
    let route = RouteConfig {
        path: "/".into(),
        staleness: Duration::from_millis(200),
        unproven: Unproven::ServeStale,
        ..RouteConfig::default()
    };
    options.routes = Routes::new(&[route]).expect("a route");
}

/// An upstream with a switch that makes it fail.
async fn upstream(headers: &'static [(&'static str, &'static str)]) -> (Upstream, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&fails);
    let upstream = Upstream::start(move |_| {
        let fails = switch.load(Ordering::SeqCst);
        async move { if fails { respond(503, &[], "down") } else { respond(200, headers, "page") } }
    })
    .await;
    (upstream, fails)
}

#[tokio::test]
async fn dead_feed_serves_stale_with_bound() {
    let (upstream, _) = upstream(LONG).await;
    let edge = Edge::with_options(upstream.address, serve_stale).await;
    assert_eq!(edge.get("/").await.text(), "page");
    // Without samples of the log, the bound grows past the route's budget.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stale = edge.get("/").await;
    assert_eq!(
        (stale.text(), stale.cache_status().as_str()),
        ("page", "tidegate; hit; detail=unproven")
    );
    let freshness = stale.header("tidegate-freshness");
    let bound = freshness.strip_prefix("bound=").and_then(|rest| rest.split(',').next());
    assert!(bound.and_then(|ms| ms.parse().ok()).is_some_and(|ms: u64| ms > 200), "{freshness}");
    assert!(freshness.ends_with("stale=unproven"), "{freshness}");
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn failed_upstream_serves_expired_page() {
    let (upstream, fails) = upstream(BRIEF).await;
    let edge = Edge::with_options(upstream.address, serve_stale).await;
    assert_eq!(edge.get("/").await.text(), "page");
    fails.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    edge.commit(2, "another").await;
    let stale = edge.get("/").await;
    assert_eq!(stale.cache_status(), "tidegate; hit; detail=origin-failed");
    assert_eq!(stale.text(), "page");
    fails.store(false, Ordering::SeqCst);
    assert_eq!(edge.get("/").await.cache_status(), "tidegate; fwd=miss; stored");
}

/// Stores a page, makes the upstream fail, invalidates the page, waits, and reads it. Without `budget`,
/// the route serves stale pages and its budget is 200 ms.
async fn read_after_invalidation(
    cause: Cause,
    budget: Option<Duration>,
    wait_ms: u64,
) -> ClientResponse {
    let (upstream, fails) = upstream(LONG).await;
    let edge = Edge::with_options(upstream.address, |options| match budget {
        None => serve_stale(options),
        Some(staleness) => {
            let route = RouteConfig { path: "/".into(), staleness, ..RouteConfig::default() };
            options.routes = Routes::new(&[route]).expect("a route");
        }
    })
    .await;
    assert_eq!(edge.get("/").await.text(), "page");
    fails.store(true, Ordering::SeqCst);
    edge.invalidate(2, cause, "product-42").await;
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    edge.get("/").await
}

#[tokio::test]
async fn invalidated_page_beyond_budget_not_served() {
    let response = read_after_invalidation(Cause::Commit, None, 300).await;
    assert_eq!((response.status.as_u16(), response.text()), (503, "down"), "the budget is spent");
}

#[tokio::test]
async fn purged_page_never_served_stale() {
    let response = read_after_invalidation(Cause::Purge, Some(Duration::from_secs(3600)), 0).await;
    assert_eq!((response.status.as_u16(), response.text()), (503, "down"));
}

#[tokio::test]
async fn soft_stale_page_within_budget_served() {
    let response = read_after_invalidation(Cause::Commit, Some(Duration::from_secs(3600)), 0).await;
    assert_eq!((response.status.as_u16(), response.text()), (200, "page"));
    assert_eq!(response.cache_status(), "tidegate; hit; detail=soft");
    let freshness = response.header("tidegate-freshness");
    assert!(freshness.starts_with("bound=") && freshness.ends_with(", soft"), "{freshness}");
}
