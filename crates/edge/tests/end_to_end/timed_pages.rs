//! Pages that change by the clock, as their header says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache::SystemClock;
use coherence::Clock;

use crate::support::{Edge, Upstream, respond};

fn since_1970() -> Duration {
    Duration::from_micros(SystemClock::start().wall_us())
}

/// An upstream whose page changes at this time, and says so in the header.
async fn sale(starts: Duration, headers: &'static [(&'static str, &'static str)]) -> Upstream {
    Upstream::start(move |_| async move {
        let has_begun = since_1970() >= starts;
        let mut response = respond(200, headers, if has_begun { "sale" } else { "page" });
        if !has_begun {
            let starts = format!("{:.6}", starts.as_secs_f64()).parse().expect("a header value");
            response.headers_mut().insert("tidegate-changes-at", starts);
        }
        response
    })
    .await
}

const HEADERS: &[(&str, &str)] =
    &[("cache-control", "public, max-age=600"), ("surrogate-key", "product-42")];

#[tokio::test]
async fn page_changes_at_the_time_in_its_header() {
    let starts = since_1970() + Duration::from_secs(3);
    let upstream = sale(starts, HEADERS).await;
    let edge = Edge::start(&upstream).await;
    let page = edge.get("/p/42").await;
    assert_eq!(page.text(), "page");
    // No cache behind may keep it longer, and the header stays here.
    let lifetime = page.header("cache-control");
    assert!(["public, max-age=2", "public, max-age=1"].contains(&&*lifetime), "{lifetime}");
    assert_eq!(page.header("tidegate-changes-at"), "");
    let mut is_sale = false;
    while !is_sale {
        let asked = since_1970();
        let page = edge.get("/p/42").await;
        is_sale = page.text() == "sale";
        assert!(is_sale || asked < starts, "the old page after {:?}", asked - starts);
        assert!(!is_sale || since_1970() >= starts, "too early");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let page = edge.get("/p/42").await;
    assert_eq!((page.text(), &*page.header("cache-control")), ("sale", "public, max-age=600"));
    assert!(upstream.requests() <= 4, "{} loads", upstream.requests());
}

#[tokio::test]
async fn malformed_time_is_not_stored() {
    const TOMORROW: &[(&str, &str)] =
        &[("cache-control", "public, max-age=600"), ("tidegate-changes-at", "tomorrow")];
    let upstream = Upstream::page("page", TOMORROW).await;
    let edge = Edge::start(&upstream).await;
    edge.get("/").await;
    let page = edge.get("/").await;
    assert!(page.cache_status().contains("detail=tidegate-changes-at"), "{}", page.cache_status());
}

/// An application that can't say when leaves the page to its age.
#[tokio::test]
async fn page_of_a_timed_contract_without_the_header_is_proven_by_age() {
    let says_never = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&says_never);
    let upstream = Upstream::start(move |_| {
        let never = says.load(Ordering::Relaxed);
        async move {
            let mut headers =
                vec![("cache-control", "public, max-age=600"), ("surrogate-key", "sale-42")];
            headers.extend(never.then_some(("tidegate-changes-at", "never")));
            respond(200, &headers, "page")
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    for (path, never) in [("/a", false), ("/b", true)] {
        says_never.store(never, Ordering::Relaxed);
        edge.get(path).await;
        let hit = edge.get(path).await;
        let freshness = hit.header("tidegate-freshness");
        assert_eq!(freshness.ends_with("proof=age"), !never, "{path}: {freshness}");
    }
}
