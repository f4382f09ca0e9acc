//! Pages of a route that prefers old answers to none.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coherence::Cause;
use edge::{GatewayOptions, RouteConfig, Routes};
use support::{Answer, Edge, Upstream, response};

const BRIEF: &[(&str, &str)] =
    &[("cache-control", "public, max-age=1"), ("surrogate-key", "product-42")];
const LONG: &[(&str, &str)] =
    &[("cache-control", "public, max-age=600"), ("surrogate-key", "product-42")];

fn serve_stale(options: &mut GatewayOptions) {
    let route = RouteConfig {
        path: "/".into(),
        staleness: Some("200ms".into()),
        unproven: Some("serve-stale".into()),
        ..RouteConfig::default()
    };
    options.routes = Routes::new(&[route]).expect("a route");
}

/// An upstream that can be told to fail.
async fn upstream(headers: &'static [(&'static str, &'static str)]) -> (Upstream, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let upstream =
        Upstream::start(move |_| {
            let fails = told.load(Ordering::SeqCst);
            async move {
                if fails { response(503, &[], "down") } else { response(200, headers, "page") }
            }
        })
        .await;
    (upstream, fails)
}

#[tokio::test]
async fn while_the_feed_is_dead_a_page_is_served_and_says_how_old_it_may_be() {
    let (upstream, _) = upstream(LONG).await;
    let edge = Edge::with(upstream.address, serve_stale).await;
    assert_eq!(edge.get("/").await.text(), "page");
    // Nobody samples the log: the bound grows past the route's budget.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stale = edge.get("/").await;
    assert_eq!((stale.text(), stale.cache().as_str()), ("page", "tidegate; hit; detail=unproven"));
    let freshness = stale.header("tidegate-freshness");
    let bound = freshness.strip_prefix("bound=").and_then(|rest| rest.split(',').next());
    assert!(bound.and_then(|ms| ms.parse().ok()).is_some_and(|ms: u64| ms > 200), "{freshness}");
    assert!(freshness.ends_with("stale=unproven"), "{freshness}");
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn while_the_upstream_fails_an_expired_page_is_served_and_says_so() {
    let (upstream, fails) = upstream(BRIEF).await;
    let edge = Edge::with(upstream.address, serve_stale).await;
    assert_eq!(edge.get("/").await.text(), "page");
    fails.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    edge.commit(2, "another").await;
    let stale = edge.get("/").await;
    assert_eq!(stale.cache(), "tidegate; hit; detail=origin-failed");
    assert_eq!(stale.text(), "page");
    fails.store(false, Ordering::SeqCst);
    assert_eq!(edge.get("/").await.cache(), "tidegate; fwd=miss; stored");
}

/// A page, an upstream that fails from then on, and what a reader gets after an invalidation and a
/// while. The route's budget is 200 ms.
async fn after(cause: Cause, budget: Option<&'static str>, while_ms: u64) -> Answer {
    let (upstream, fails) = upstream(LONG).await;
    let edge = Edge::with(upstream.address, |options| match budget {
        None => serve_stale(options),
        Some(_) => {
            let staleness = budget.map(str::to_owned);
            let route = RouteConfig { path: "/".into(), staleness, ..RouteConfig::default() };
            options.routes = Routes::new(&[route]).expect("a route");
        }
    })
    .await;
    assert_eq!(edge.get("/").await.text(), "page");
    fails.store(true, Ordering::SeqCst);
    edge.invalidate(2, cause, "product-42").await;
    tokio::time::sleep(Duration::from_millis(while_ms)).await;
    edge.get("/").await
}

#[tokio::test]
async fn what_a_commit_has_felled_covers_no_failure() {
    let answer = after(Cause::Commit, None, 300).await;
    let why = "its budget is over";
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "down"), "{why}");
}

#[tokio::test]
async fn what_was_purged_covers_no_failure() {
    let answer = after(Cause::Purge, Some("1h"), 0).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (503, "down"));
}

#[tokio::test]
async fn within_its_budget_what_a_commit_has_felled_covers_a_failure_and_says_so() {
    let answer = after(Cause::Commit, Some("1h"), 0).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "page"));
    assert_eq!(answer.cache(), "tidegate; hit; detail=soft");
    let freshness = answer.header("tidegate-freshness");
    assert!(freshness.starts_with("bound=") && freshness.ends_with(", soft"), "{freshness}");
}
