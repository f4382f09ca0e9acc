//! Writes that go through the gateway, and reads of those who have written.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache::SystemClock;
use cache::shared::{RedisOptions, RedisTier, SharedTier};
use coherence::{After, Clock, Epoch, Lsn};
use support::{Edge, Upstream, epoch, request, response};

/// Pages that count how often they were made; a write is answered as its path says.
async fn upstream() -> Upstream {
    let made = AtomicUsize::new(0);
    Upstream::start(move |request| {
        let headers = request.headers();
        assert!(!headers.contains_key("tidegate-after"), "that is between client and gateway");
        assert!(headers.get("cookie").is_none_or(|cookie| cookie == "sid=1"), "{headers:?}");
        let answer = if request.method() == "GET" {
            let fresh = [("cache-control", "s-maxage=600"), ("surrogate-key", "product-42")];
            response(200, &fresh, format!("version {}", made.fetch_add(1, Ordering::SeqCst)))
        } else {
            let status = request.uri().query().and_then(|status| status.parse().ok());
            response(status.unwrap_or(200), &[("tidegate-written", "lsn=0/2")], "done")
        };
        async move { answer }
    })
    .await
}

fn token(position: u64) -> String {
    After::new(Some(epoch().log()), Lsn(position)).to_string()
}

#[tokio::test]
async fn a_write_that_succeeds_drops_the_page_in_every_encoding() {
    let edge = Edge::before(&upstream().await).await;
    let zipped = [("accept-encoding", "gzip")];
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE"] {
        edge.get("/p/42").await;
        edge.get_with("/p/42", &zipped).await;
        edge.get("/p/43").await;
        assert_eq!(edge.send(request(method, "/p/%34%32", &[])).await.text(), "done");
        assert_eq!(edge.get("/p/42").await.cache(), "tidegate; fwd=miss; stored", "{method}");
        let answer = edge.get_with("/p/42", &zipped).await;
        assert_eq!(answer.cache(), "tidegate; fwd=miss; stored", "{method}");
        assert_eq!(edge.get("/p/43").await.cache(), "tidegate; hit", "{method}");
    }
}

#[tokio::test]
async fn a_write_that_fails_or_is_none_drops_nothing() {
    let edge = Edge::before(&upstream().await).await;
    edge.get("/p?404").await;
    edge.get("/p?500").await;
    edge.get("/p?200").await;
    edge.send(request("POST", "/p?404", &[])).await;
    edge.send(request("POST", "/p?500", &[])).await;
    edge.send(request("OPTIONS", "/p?200", &[])).await;
    for target in ["/p?404", "/p?500", "/p?200"] {
        assert_eq!(edge.get(target).await.cache(), "tidegate; hit", "{target}");
    }
}

#[tokio::test]
async fn a_browser_that_has_written_reads_its_own_write() {
    let upstream = upstream().await;
    let edge = Edge::before(&upstream).await;
    assert_eq!(edge.get("/list").await.text(), "version 0");
    let written = edge.send(request("POST", "/p/42", &[("cookie", "sid=1")])).await;
    assert_eq!(written.header("tidegate-written"), "");
    let cookie = written.header("set-cookie");
    assert_eq!(cookie, "tidegate-after=lsn=0/2; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    // The commit at 2 has not come by the log yet.
    let mine = [("cookie", "tidegate-after=lsn=0/2")];
    assert_eq!(edge.get_with("/list", &mine).await.text(), "version 1");
    assert_eq!(edge.get("/list").await.cache(), "tidegate; hit", "others are not concerned");
    edge.commit(2, "category-7").await;
    let before = upstream.requests();
    let answer = edge.get_with("/list", &mine).await;
    assert_eq!(answer.cache(), "tidegate; hit", "a client with this cookie alone has none");
    assert_eq!(upstream.requests(), before);
}

#[tokio::test]
async fn a_tier_that_gets_there_in_time_answers() {
    let upstream = upstream().await;
    let edge = Edge::before(&upstream).await;
    edge.get("/").await;
    let (token, commit) = (token(2), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        edge.commit(2, "category-7").await;
    });
    let asked = [("tidegate-after", token.as_str())];
    let (answer, ()) = tokio::join!(edge.get_with("/", &asked), commit);
    assert_eq!((answer.text(), answer.cache().as_str()), ("version 0", "tidegate; hit"));
}

#[tokio::test]
async fn a_token_of_another_log_goes_to_the_upstream() {
    let edge = Edge::before(&upstream().await).await;
    edge.get("/").await;
    let other = Epoch { timeline: 2, ..epoch() };
    let token = After::new(Some(other.log()), Lsn(1)).to_string();
    assert_eq!(edge.get_with("/", &[("tidegate-after", &token)]).await.text(), "version 1");
}

#[tokio::test]
async fn a_malformed_token_is_ignored_and_counted() {
    let edge = Edge::before(&upstream().await).await;
    edge.get("/").await;
    let answer = edge.get_with("/", &[("tidegate-after", "rubbish")]).await;
    assert_eq!(answer.cache(), "tidegate; hit");
    assert!(edge.metrics().contains("tidegate_gateway_malformed_tokens_total 1"));
}

#[tokio::test]
async fn two_gateways_on_one_redis_share_pages_and_their_end() {
    let redis = harness::Redis::start().expect("Redis starts");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let upstream = upstream().await;
    let one = Edge::on(tier(&redis).await, Arc::clone(&clock), upstream.address, |_| {}).await;
    let two = Edge::on(tier(&redis).await, Arc::clone(&clock), upstream.address, |_| {}).await;
    assert_eq!(one.get("/p/42").await.text(), "version 0");
    let shared = two.get("/p/42").await;
    assert_eq!((shared.text(), shared.cache().as_str()), ("version 0", "tidegate; hit"));
    assert!(shared.header("tidegate-freshness").contains("tier=shared"), "{shared:?}");
    assert!(two.get("/p/42").await.header("tidegate-freshness").contains("tier=edge"));
    assert_eq!(upstream.requests(), 1);

    one.send(request("POST", "/p/42", &[])).await;
    assert_eq!(one.get("/p/42").await.text(), "version 1");
    becomes(&two, "version 1").await;
    // The other one's turn: a commit that one of them hears from the log, and the other by Redis.
    one.commit(2, "product-42").await;
    becomes(&two, "version 2").await;
}

async fn tier(redis: &harness::Redis) -> Arc<dyn SharedTier> {
    let tier = RedisTier::connect(RedisOptions::new(redis.url())).await;
    Arc::new(tier.expect("Redis can be used"))
}

async fn becomes(edge: &Edge, page: &str) {
    let becoming = async {
        while edge.get("/p/42").await.text() != page {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), becoming).await.expect("it becomes that page");
}
