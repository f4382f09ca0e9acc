//! Pages that clients share, and responses that they never share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Edge, Upstream, request, respond};
use tokio::sync::Barrier;

const FRESH: &[(&str, &str)] =
    &[("cache-control", "public, max-age=60"), ("content-type", "text/html"), ("x-shop", "1")];

#[tokio::test]
async fn fresh_page_loaded_once() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    let first = edge.get("/p/42?color=red").await;
    assert_eq!(first.cache_status(), "tidegate; fwd=miss; stored");
    assert_eq!(first.text(), "page");
    let second = edge.get("/p/42?color=red").await;
    assert_eq!(upstream.requests(), 1);
    assert_eq!(second.text(), "page");
    assert_eq!(second.cache_status(), "tidegate; hit");
    assert_eq!(second.header("x-shop"), "1");
    assert_eq!(second.header("age"), "0");
    assert!(second.header("tidegate-freshness").starts_with("bound="), "{second:?}");
    assert!(second.header("tidegate-freshness").ends_with("proof=age"), "no tags");
    assert!(second.headers.contains_key("date"));
    assert_eq!(edge.get("/p/42?color=blue").await.cache_status(), "tidegate; fwd=miss; stored");
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn only_fresh_shareable_pages_stored() {
    let shared: &[&[(&str, &str)]] = &[
        &[("cache-control", "max-age=60")],
        &[("cache-control", "s-maxage=60")],
        &[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")],
        &[("cache-control", "max-age=60"), ("vary", "accept-encoding")],
        &[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
    ];
    let unshared: &[&[(&str, &str)]] = &[
        &[],
        &[("cache-control", "private, max-age=60")],
        &[("cache-control", "no-store, max-age=60")],
        &[("cache-control", "no-cache, max-age=60")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "max-age=60"), ("set-cookie", "sid=1")],
        &[("cache-control", "public, s-maxage=60"), ("set-cookie", "sid=1")],
        &[("cache-control", "max-age=60"), ("vary", "cookie")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
        &[("cache-control", "max-age=60"), ("surrogate-key", "caf\u{e9}")],
    ];
    for (rows, requests) in [(shared, 1), (unshared, 2)] {
        for headers in rows {
            let upstream = Upstream::page("page", headers).await;
            let edge = Edge::start(&upstream).await;
            for _ in 0..2 {
                assert_eq!(edge.get("/").await.text(), "page");
            }
            assert_eq!(upstream.requests(), requests, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn private_response_never_shared() {
    for name in ["authorization", "cookie"] {
        let upstream = Upstream::start(move |request| async move {
            let user = request.headers().get(name).map(|user| user.as_bytes().to_vec());
            respond(200, &[("cache-control", "max-age=60")], user.unwrap_or_default())
        })
        .await;
        let edge = Edge::start(&upstream).await;
        for user in ["ann", "bob", "ann"] {
            assert_eq!(edge.get_with("/account", &[(name, user)]).await.text(), user);
        }
        assert_eq!(edge.get("/account").await.text(), "", "{name}");
        assert_eq!(
            edge.get("/account").await.cache_status(),
            "tidegate; hit",
            "shared by anonymous clients"
        );
        assert_eq!(edge.get_with("/account", &[(name, "eve")]).await.text(), "eve");
    }
}

#[tokio::test]
async fn set_cookie_response_never_shared() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let sid = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut response = respond(200, &[("cache-control", "public, max-age=60")], "page");
            let cookie = format!("sid={sid}").parse().expect("a value");
            response.headers_mut().insert("set-cookie", cookie);
            response
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    for sid in 0..3 {
        assert_eq!(edge.get("/").await.header("set-cookie"), format!("sid={sid}"));
    }
}

#[tokio::test]
async fn shared_page_serves_cookie_requests() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    edge.get_with("/", &[("cookie", "a=1")]).await;
    assert_eq!(edge.get_with("/", &[("cookie", "b=2")]).await.cache_status(), "tidegate; hit");
    assert_eq!(edge.get("/").await.cache_status(), "tidegate; hit");
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn client_cache_directives_ignored() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    edge.get("/").await;
    for directive in ["no-cache", "no-store", "max-age=0"] {
        let response =
            edge.get_with("/", &[("cache-control", directive), ("pragma", "no-cache")]).await;
        assert_eq!(response.cache_status(), "tidegate; hit");
    }
    let only = edge.get_with("/other", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.status, 504);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn concurrent_misses_share_one_load() {
    let upstream = Upstream::start(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        respond(200, FRESH, "page")
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let responses = futures_util::future::join_all((0..200).map(|_| edge.get("/hot"))).await;
    assert!(responses.iter().all(|response| response.text() == "page"));
    assert_eq!(upstream.requests(), 1);
    assert!(
        responses
            .iter()
            .any(|response| response.cache_status() == "tidegate; fwd=miss; stored; collapsed")
    );
}

/// After its first response the upstream responds to no request before it has received a hundred.
#[tokio::test]
async fn known_private_page_never_queues() {
    let (first, rest) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(100)));
    let upstream = Upstream::start(move |_| {
        let (nth, rest) = (first.fetch_add(1, Ordering::SeqCst), Arc::clone(&rest));
        async move {
            if nth > 0 {
                rest.wait().await;
            }
            respond(200, &[("cache-control", "private")], "mine")
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    assert_eq!(edge.get("/account").await.text(), "mine");
    let responses = futures_util::future::join_all((0..100).map(|_| edge.get("/account"))).await;
    assert!(responses.iter().all(|response| response.text() == "mine"));
    assert_eq!(upstream.requests(), 101);
}

/// The upstream responds to no request before it has received all of them.
#[tokio::test]
async fn cold_private_pages_never_queue() {
    let all = Arc::new(Barrier::new(100));
    let upstream = Upstream::start(move |_| {
        let all = Arc::clone(&all);
        async move {
            all.wait().await;
            respond(200, &[("cache-control", "private")], "mine")
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let paths: Vec<String> = (0..100).map(|n| format!("/account/{n}")).collect();
    let responses = futures_util::future::join_all(paths.iter().map(|path| edge.get(path))).await;
    assert!(responses.iter().all(|response| response.text() == "mine"));
}

/// The first request finds that the page may not be shared; then all others are sent at once.
#[tokio::test]
async fn cold_private_page_waits_once() {
    let (first, rest) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(99)));
    let upstream = Upstream::start(move |_| {
        let (nth, rest) = (first.fetch_add(1, Ordering::SeqCst), Arc::clone(&rest));
        async move {
            if nth > 0 {
                rest.wait().await;
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            respond(200, &[("cache-control", "private")], "mine")
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let responses = futures_util::future::join_all((0..100).map(|_| edge.get("/account"))).await;
    assert!(responses.iter().all(|response| response.text() == "mine"));
    assert_eq!(upstream.requests(), 100);
}

#[tokio::test]
async fn commit_invalidates_tagged_pages() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let version = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let headers =
                [("cache-control", "s-maxage=600"), ("surrogate-key", "product-42 category-7")];
            respond(200, &headers, format!("version {version}"))
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let first = edge.get("/p/42").await;
    assert_eq!(first.text(), "version 0");
    assert!(!first.headers.contains_key("surrogate-key"), "tags do not reach clients");
    edge.get_with("/p/42", &[("accept-encoding", "gzip")]).await;
    edge.commit(2, "product-421").await;
    assert_eq!(edge.get("/p/42").await.text(), "version 0", "another product");
    edge.commit(3, "product-42").await;
    assert_eq!(edge.get("/p/42").await.text(), "version 2");
    let gzip = edge.get_with("/p/42", &[("accept-encoding", "gzip")]).await;
    assert_eq!(gzip.text(), "version 3", "every encoding is invalidated");
}

#[tokio::test]
async fn stored_page_serves_head_and_conditions() {
    let headers = &[
        ("cache-control", "public, max-age=60"),
        ("etag", "\"v1\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "text/html"),
    ];
    let upstream = Upstream::page("page", headers).await;
    let edge = Edge::start(&upstream).await;
    let first = edge.get_with("/", &[("if-none-match", "\"v1\"")]).await;
    assert_eq!(first.status, 304, "also directly after the load");
    let head = edge.send(request("HEAD", "/", &[])).await;
    assert_eq!((head.status.as_u16(), head.header("content-length").as_str()), (200, "4"));
    assert!(head.body.is_empty());
    for condition in [
        ("if-none-match", "W/\"v1\""),
        ("if-none-match", "\"v0\", \"v1\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let response = edge.get_with("/", &[condition]).await;
        assert_eq!(response.status, 304, "{condition:?}");
        assert_eq!(response.header("etag"), "\"v1\"");
        assert!(!response.headers.contains_key("content-type"));
        assert!(response.body.is_empty());
    }
    let changed = edge.get_with("/", &[("if-none-match", "\"v0\"")]).await;
    assert_eq!((changed.status.as_u16(), changed.text()), (200, "page"));
    let range = edge.get_with("/", &[("range", "bytes=0-1")]).await;
    assert_eq!((range.status.as_u16(), range.text()), (200, "page"), "complete, from the cache");
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn partial_response_never_stored() {
    let upstream = Upstream::start(|request| async move {
        if request.headers().contains_key("range") {
            let headers = [("cache-control", "max-age=60"), ("content-range", "bytes 0-1/4")];
            return respond(206, &headers, "pa");
        }
        respond(200, FRESH, "page")
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let part = edge.get_with("/", &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "pa"));
    assert_eq!(edge.get("/").await.text(), "page");
}

#[tokio::test]
async fn large_page_passes_unstored() {
    let body: &'static str = "x".repeat(100_000).leak();
    let upstream = Upstream::page(body, FRESH).await;
    let edge =
        Edge::with_options(upstream.address, |options| options.pages.max_bytes = 50_000).await;
    for _ in 0..2 {
        assert_eq!(edge.get("/").await.body.len(), body.len());
    }
    assert_eq!(upstream.requests(), 2);
    assert!(edge.metrics().contains("unstored_responses_total{reason=\"too-large\"} 2"));
}

#[tokio::test]
async fn large_chunked_page_passes_unstored() {
    let mut response =
        b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..100 {
        response.extend_from_slice(b"400\r\n");
        response.extend_from_slice(&[b'x'; 1024]);
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"0\r\n\r\n");
    let upstream = Upstream::raw(response.leak()).await;
    let edge =
        Edge::with_options(upstream.address, |options| options.pages.max_bytes = 50_000).await;
    for _ in 0..2 {
        assert_eq!(edge.get("/").await.body.len(), 102_400);
    }
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn load_survives_client_disconnect() {
    let upstream = Upstream::start(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        respond(200, FRESH, "page")
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let leader = tokio::time::timeout(Duration::from_millis(50), edge.get("/"));
    assert!(leader.await.is_err(), "disconnected before the response");
    assert_eq!(edge.get("/").await.text(), "page");
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn route_without_store_passes() {
    let upstream = Upstream::page("page", FRESH).await;
    let cart =
        edge::RouteConfig { path: "/cart".into(), store: false, ..edge::RouteConfig::default() };
    let routes = edge::Routes::new(&[cart]).expect("valid");
    let edge = Edge::with_options(upstream.address, |options| options.routes = routes).await;
    for target in ["/cart", "/%63art", "/cart?x=1"] {
        edge.get(target).await;
        edge.get(target).await;
    }
    assert_eq!(upstream.requests(), 6);
}

#[tokio::test]
async fn head_miss_passes_unstored() {
    let upstream = Upstream::start(|request| async move {
        assert_eq!(request.method(), "HEAD");
        respond(200, FRESH, "page")
    })
    .await;
    let edge = Edge::start(&upstream).await;
    for requests in 1..=2 {
        let head = edge.send(request("HEAD", "/", &[])).await;
        assert_eq!((head.status.as_u16(), head.header("content-length").as_str()), (200, "4"));
        assert_eq!(head.cache_status(), "tidegate; fwd=request");
        assert_eq!(upstream.requests(), requests);
    }
}
