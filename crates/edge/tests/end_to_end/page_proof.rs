//! The bound of a page is the proof of what its tags are raised by.

use std::time::Duration;

use crate::support::{Edge, Upstream, epoch, respond};
use coherence::{CausalToken, Lsn};
use edge::{RouteConfig, Routes};

const STYLE: &[(&str, &str)] = &[("cache-control", "public, max-age=600")];

/// An upstream whose pages carry the tags in their path: `/tags/product-42,row-7`.
async fn upstream() -> Upstream {
    Upstream::start(|request| {
        let tags = request.uri().path().trim_start_matches("/tags/").replace(',', " ");
        async move {
            let mut response = respond(200, &[("cache-control", "public, max-age=600")], "page");
            let tags = tags.parse().expect("a header value");
            response.headers_mut().insert("surrogate-key", tags);
            response
        }
    })
    .await
}

fn route(path: &str) -> RouteConfig {
    RouteConfig { path: path.into(), ..RouteConfig::default() }
}

/// Returns the `Tidegate-Freshness` of a hit on the page with these tags.
async fn freshness(edge: &Edge, tags: &str) -> String {
    edge.get(&format!("/tags/{tags}")).await;
    let hit = edge.get(&format!("/tags/{tags}")).await;
    assert_eq!(hit.cache_status(), "tidegate; hit", "{tags}");
    hit.header("tidegate-freshness").to_owned()
}

#[tokio::test]
async fn untagged_page_bound_is_its_age() {
    let upstream = Upstream::page("body {}", STYLE).await;
    let edge = Edge::start(&upstream).await;
    edge.get("/style.css").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The log is as fresh as can be, and says nothing about this page.
    edge.commit(2, "product-1").await;
    let page = edge.get("/style.css").await;
    let freshness = page.header("tidegate-freshness");
    let bound = freshness.strip_prefix("bound=").and_then(|rest| rest.split(',').next());
    assert!(bound.and_then(|ms| ms.parse().ok()).is_some_and(|ms: u64| ms >= 300), "{freshness}");
    assert!(freshness.ends_with(", tier=edge, contract=\"page\", proof=age"), "{freshness}");
}

#[tokio::test]
async fn weakest_tag_decides_the_proof() {
    let edge = Edge::start(&upstream().await).await;
    for (tags, by_log) in [
        ("product-42", true),
        ("product-42,product-43", true),
        // Raised by the price only; the page may show the stock.
        ("price-42", false),
        ("product-42,price-42", false),
        ("banner-7", false),
        ("product-42,banner-7", false),
        // The database never writes this id.
        ("product-042", false),
    ] {
        let freshness = freshness(&edge, tags).await;
        assert_eq!(!freshness.ends_with("proof=age"), by_log, "{tags}: {freshness}");
    }
}

#[tokio::test]
async fn route_states_what_pages_show() {
    let edge = Edge::with_options(upstream().await.address, |options| {
        let shows = |path: &str, names: &[&str]| RouteConfig {
            shows: names.iter().map(|name| (*name).to_owned()).collect(),
            ..route(path)
        };
        let routes = [
            shows("/tags/price-1", &["price"]),
            // Nothing on these pages is raised by the product.
            shows("/tags/price-2", &["price", "product"]),
        ];
        options.routes = Routes::new(&routes).expect("routes");
    })
    .await;
    assert!(!freshness(&edge, "price-1").await.contains("proof=age"));
    assert!(freshness(&edge, "price-2").await.ends_with("proof=age"));
    assert!(freshness(&edge, "price-3").await.ends_with("proof=age"));
}

#[tokio::test]
async fn page_proven_by_age_ends_with_budget() {
    let upstream = Upstream::page("body {}", STYLE).await;
    let edge = Edge::with_options(upstream.address, |options| {
        let route = RouteConfig { staleness: Duration::from_millis(300), ..route("/") };
        options.routes = Routes::new(&[route]).expect("a route");
    })
    .await;
    edge.get("/style.css").await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    edge.commit(2, "product-1").await;
    assert!(edge.get("/style.css").await.cache_status().starts_with("tidegate; fwd=miss"));
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn upstream_cache_age_weakens_proof() {
    let headers: &'static [_] =
        &[("cache-control", "public, max-age=600"), ("surrogate-key", "product-42"), ("age", "20")];
    let upstream = Upstream::page("page", headers).await;
    let edge = Edge::start(&upstream).await;
    let miss = edge.get("/p/42").await;
    let hit = edge.get("/p/42").await;
    for page in [miss, hit] {
        let freshness = page.header("tidegate-freshness");
        let bound = freshness.strip_prefix("bound=").and_then(|rest| rest.split(',').next());
        let bound: u64 = bound.and_then(|ms| ms.parse().ok()).expect("a bound");
        assert!(bound >= 20_000 && freshness.ends_with("proof=age"), "{freshness}");
    }
}

#[tokio::test]
async fn token_needs_page_from_after_write() {
    let edge = Edge::start(&upstream().await).await;
    freshness(&edge, "banner-7").await;
    freshness(&edge, "product-42").await;
    edge.commit(2, "product-1").await;
    let token = CausalToken::new(Some(epoch().log()), Lsn(2)).to_string();
    let asked = [("tidegate-after", token.as_str())];
    let proven = edge.get_with("/tags/product-42", &asked).await;
    assert_eq!(proven.cache_status(), "tidegate; hit", "no commit has raised its tag");
    let by_age = edge.get_with("/tags/banner-7", &asked).await;
    assert_eq!(by_age.cache_status(), "tidegate; fwd=bypass; detail=token");
}
