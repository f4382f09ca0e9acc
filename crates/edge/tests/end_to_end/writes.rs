//! Writes through the gateway, and reads with causal tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Edge, Upstream, epoch, request, respond};
use cache::SystemClock;
use cache::shared::{RedisOptions, RedisTier, SharedTier};
use coherence::{CausalToken, Clock, Epoch, Lsn};

/// Pages with a version that each load increments. A write gets the status in its query.
async fn upstream() -> Upstream {
    let versions = AtomicUsize::new(0);
    Upstream::start(move |request| {
        let headers = request.headers();
        assert!(!headers.contains_key("tidegate-after"), "tokens do not reach the upstream");
        assert!(headers.get("cookie").is_none_or(|cookie| cookie == "sid=1"), "{headers:?}");
        let response = if request.method() == "GET" {
            let fresh = [("cache-control", "s-maxage=600"), ("surrogate-key", "product-42")];
            respond(200, &fresh, format!("version {}", versions.fetch_add(1, Ordering::SeqCst)))
        } else {
            let status = request.uri().query().and_then(|status| status.parse().ok());
            respond(status.unwrap_or(200), &[("tidegate-written", "lsn=0/2")], "done")
        };
        async move { response }
    })
    .await
}

fn token(position: u64) -> String {
    CausalToken::new(Some(epoch().log()), Lsn(position)).to_string()
}

#[tokio::test]
async fn write_evicts_page_in_every_encoding() {
    let edge = Edge::start(&upstream().await).await;
    let zipped = [("accept-encoding", "gzip")];
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
        edge.get("/p/42").await;
        edge.get_with("/p/42", &zipped).await;
        edge.get("/p/43").await;
        assert_eq!(edge.send(request(method, "/p/%34%32", &[])).await.text(), "done");
        assert_eq!(
            edge.get("/p/42").await.cache_status(),
            "tidegate; fwd=miss; stored",
            "{method}"
        );
        let response = edge.get_with("/p/42", &zipped).await;
        assert_eq!(response.cache_status(), "tidegate; fwd=miss; stored", "{method}");
        assert_eq!(edge.get("/p/43").await.cache_status(), "tidegate; hit", "{method}");
    }
}

#[tokio::test]
async fn failed_or_safe_method_evicts_nothing() {
    let edge = Edge::start(&upstream().await).await;
    edge.get("/p?404").await;
    edge.get("/p?500").await;
    edge.get("/p?200").await;
    edge.send(request("POST", "/p?404", &[])).await;
    edge.send(request("POST", "/p?500", &[])).await;
    edge.send(request("OPTIONS", "/p?200", &[])).await;
    for target in ["/p?404", "/p?500", "/p?200"] {
        assert_eq!(edge.get(target).await.cache_status(), "tidegate; hit", "{target}");
    }
}

#[tokio::test]
async fn browser_cookie_reads_own_write() {
    let upstream = upstream().await;
    let edge = Edge::start(&upstream).await;
    assert_eq!(edge.get("/list").await.text(), "version 0");
    let written = edge.send(request("POST", "/p/42", &[("cookie", "sid=1")])).await;
    assert_eq!(written.header("tidegate-written"), "");
    let cookie = written.header("set-cookie");
    assert_eq!(cookie, "tidegate-after=lsn=0/2; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    // The feed has not yet delivered the commit at 2.
    let mine = [("cookie", "tidegate-after=lsn=0/2")];
    assert_eq!(edge.get_with("/list", &mine).await.text(), "version 1");
    assert_eq!(
        edge.get("/list").await.cache_status(),
        "tidegate; hit",
        "requests without the cookie are unaffected"
    );
    edge.commit(2, "category-7").await;
    let before = upstream.requests();
    let response = edge.get_with("/list", &mine).await;
    assert_eq!(
        response.cache_status(),
        "tidegate; hit",
        "the token cookie does not count as a cookie"
    );
    assert_eq!(upstream.requests(), before);
}

#[tokio::test]
async fn tier_that_catches_up_serves_token() {
    let upstream = upstream().await;
    let edge = Edge::start(&upstream).await;
    edge.get("/").await;
    let (token, commit) = (token(2), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        edge.commit(2, "category-7").await;
    });
    let asked = [("tidegate-after", token.as_str())];
    let (response, ()) = tokio::join!(edge.get_with("/", &asked), commit);
    assert_eq!((response.text(), response.cache_status().as_str()), ("version 0", "tidegate; hit"));
}

#[tokio::test]
async fn foreign_log_token_reads_upstream() {
    let edge = Edge::start(&upstream().await).await;
    edge.get("/").await;
    let other = Epoch { timeline: 2, ..epoch() };
    let token = CausalToken::new(Some(other.log()), Lsn(1)).to_string();
    assert_eq!(edge.get_with("/", &[("tidegate-after", &token)]).await.text(), "version 1");
}

#[tokio::test]
async fn malformed_token_ignored_and_counted() {
    let edge = Edge::start(&upstream().await).await;
    edge.get("/").await;
    let response = edge.get_with("/", &[("tidegate-after", "malformed")]).await;
    assert_eq!(response.cache_status(), "tidegate; hit");
    assert!(edge.metrics().contains("tidegate_gateway_malformed_tokens_total 1"));
}

#[tokio::test]
async fn gateways_share_pages_and_invalidations() {
    let redis = harness::Redis::start().expect("Redis starts");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let upstream = upstream().await;
    let one =
        Edge::on_tier(redis_tier(&redis).await, Arc::clone(&clock), upstream.address, |_| {}).await;
    let two =
        Edge::on_tier(redis_tier(&redis).await, Arc::clone(&clock), upstream.address, |_| {}).await;
    assert_eq!(one.get("/p/42").await.text(), "version 0");
    let shared = two.get("/p/42").await;
    assert_eq!((shared.text(), shared.cache_status().as_str()), ("version 0", "tidegate; hit"));
    assert!(shared.header("tidegate-freshness").contains("tier=shared"), "{shared:?}");
    assert!(two.get("/p/42").await.header("tidegate-freshness").contains("tier=edge"));
    assert_eq!(upstream.requests(), 1);

    one.send(request("POST", "/p/42", &[])).await;
    assert_eq!(one.get("/p/42").await.text(), "version 1");
    eventually_serves(&two, "version 1").await;
    // A commit that the first gateway applies itself and the second receives from Redis.
    one.commit(2, "product-42").await;
    eventually_serves(&two, "version 2").await;
}

async fn redis_tier(redis: &harness::Redis) -> Arc<dyn SharedTier> {
    let tier = RedisTier::connect(RedisOptions::new(redis.url())).await;
    Arc::new(tier.expect("Redis is usable"))
}

/// Waits until `edge` serves `page`.
async fn eventually_serves(edge: &Edge, page: &str) {
    let polling = async {
        while edge.get("/p/42").await.text() != page {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), polling).await.expect("the page changes");
}
