//! Forwarding between client and upstream: headers, bodies, targets, framing.

use std::sync::Arc;

use crate::support::{Edge, Upstream, read_all, read_head, request, respond};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const FRESH: &[(&str, &str)] = &[("cache-control", "public, max-age=60")];

/// Responds with the request as received.
async fn echo(request: Request<Incoming>) -> http::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
    respond(200, &[("connection", "x-hop"), ("x-hop", "1"), ("x-end", "1")], text)
}

#[tokio::test]
async fn headers_rewritten_per_hop() {
    let upstream = Upstream::start(echo).await;
    let edge = Edge::start(&upstream).await;
    let headers = [
        ("connection", "x-mine, keep-alive"),
        ("x-mine", "1"),
        ("x-theirs", "2"),
        ("te", "gzip"),
        ("proxy-authorization", "secret"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-host", "evil.example"),
        ("x-original-url", "/admin"),
        ("x-request-id", "abc-123"),
    ];
    let response = edge.get_with("/", &headers).await;
    let seen = response.text();
    for absent in ["x-mine", "te:", "proxy-authorization", "10.0.0.1", "evil", "x-original-url"] {
        assert!(!seen.contains(absent), "{absent} in {seen}");
    }
    for present in [
        "x-theirs: 2\n",
        "via: 1.1 tidegate (",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: shop.example\n",
        "host: shop.example\n",
        "x-request-id: abc-123\n",
    ] {
        assert!(seen.contains(present), "{present} not in {seen}");
    }
    assert!(!response.headers.contains_key("x-hop"));
    assert_eq!(response.header("x-end"), "1");
    assert_eq!(response.header("via"), "1.1 tidegate");
    assert_eq!(response.header("x-request-id"), "abc-123");
}

#[tokio::test]
async fn bodies_and_methods_forwarded() {
    let upstream = Upstream::start(echo).await;
    let edge = Edge::start(&upstream).await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let mut request = request(method, "/cart?id=1", &[]);
        *request.body_mut() = Full::from("two socks");
        let response = edge.send(request).await;
        assert!(response.text().starts_with(&format!("{method} /cart?id=1\n")), "{response:?}");
        assert!(response.text().ends_with("\n\ntwo socks"), "{response:?}");
        assert_eq!(response.cache_status(), "tidegate; fwd=method");
    }
}

#[tokio::test]
async fn get_with_body_never_stored() {
    let upstream = Upstream::start(|request| async move {
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        respond(200, FRESH, body)
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let mut with_body = request("GET", "/", &[]);
    *with_body.body_mut() = Full::from("poison");
    assert_eq!(edge.send(with_body).await.text(), "poison");
    assert_eq!(edge.get("/").await.text(), "");
}

#[tokio::test]
async fn hosts_never_share_pages() {
    let upstream = Upstream::start(|request| async move {
        respond(200, FRESH, request.headers()["host"].as_bytes().to_vec())
    })
    .await;
    let edge = Edge::start(&upstream).await;
    assert_eq!(edge.get_with("/", &[("host", "A.example")]).await.text(), "a.example");
    assert_eq!(edge.get_with("/", &[("host", "b.example")]).await.text(), "b.example");
    assert_eq!(
        edge.get_with("/", &[("host", "a.example:80")]).await.cache_status(),
        "tidegate; hit"
    );
    let malformed = edge.get_with("/", &[("host", "a b")]).await;
    assert_eq!(malformed.status, 400);
    let two = edge.raw(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    assert!(two.starts_with("HTTP/1.1 400"), "{two}");
    let none = edge.raw(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(none.starts_with("HTTP/1.1 400"), "{none}");
}

#[tokio::test]
async fn unlisted_host_rejected() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.proxies.hosts = vec!["shop.example".parse().expect("a host")];
    })
    .await;
    assert_eq!(edge.get("/").await.status, 200);
    assert_eq!(edge.get_with("/", &[("host", "evil.example")]).await.status, 421);
}

#[tokio::test]
async fn upstream_receives_normalized_target() {
    let upstream =
        Upstream::start(|request| async move { respond(200, FRESH, request.uri().to_string()) })
            .await;
    let edge = Edge::start(&upstream).await;
    assert_eq!(edge.get("/%70/4%32?q=%c3%a4").await.text(), "/p/42?q=%C3%A4");
    assert_eq!(edge.get("/p/42?q=%C3%A4").await.cache_status(), "tidegate; hit");
}

#[tokio::test]
async fn encoding_class_decides_encoding() {
    let upstream = Upstream::start(|request| async move {
        let accepted = request.headers()["accept-encoding"].as_bytes().to_vec();
        respond(200, &[("cache-control", "max-age=60"), ("vary", "accept-encoding")], accepted)
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let accept = |encodings| [("accept-encoding", encodings)];
    assert_eq!(edge.get_with("/", &accept("gzip, x-evil")).await.text(), "gzip");
    assert_eq!(
        edge.get_with("/", &accept("deflate, gzip;q=0.5")).await.cache_status(),
        "tidegate; hit"
    );
    assert_eq!(edge.get("/").await.text(), "identity");
}

#[tokio::test]
async fn ambiguous_framing_not_smuggled() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let upstream = Upstream::start(move |request| {
        let log = Arc::clone(&log);
        async move {
            let framing = (
                request.uri().path().to_owned(),
                request.headers().contains_key("content-length"),
                request.headers().contains_key("transfer-encoding"),
            );
            let body = request.into_body().collect().await.expect("a body").to_bytes();
            log.lock().push((framing, body));
            respond(200, &[], "ok")
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let smuggled = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\
        transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let response = edge.raw(smuggled).await;
    assert_eq!(
        response.matches("HTTP/1.1 ").count(),
        1,
        "the connection closes after the response: {response}"
    );
    for bytes in [
        &b"POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"[..],
        b"POST /c HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /d HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\na",
        b"GET /e HTTP/1.1\r\nhost : a\r\n\r\n",
        b"GET /f HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
    ] {
        let response = edge.raw(bytes).await;
        assert!(
            response.starts_with("HTTP/1.1 400"),
            "{}: {response}",
            String::from_utf8_lossy(bytes)
        );
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // The empty body was received ahead, so that no framing is left.
    assert_eq!(seen[0], (("/a".to_owned(), false, false), Bytes::new()));
}

#[tokio::test]
async fn pipelined_responses_in_order() {
    let upstream =
        Upstream::start(|request| async move { respond(200, FRESH, request.uri().to_string()) })
            .await;
    let edge = Edge::start(&upstream).await;
    let one = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\n";
    let two = "GET /2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let responses = edge.raw(format!("{one}{one}{two}").as_bytes()).await;
    let bodies: Vec<_> =
        responses.split("HTTP/1.1 200 OK").skip(1).map(|a| &a[a.len() - 2..]).collect();
    assert_eq!(bodies, ["/1", "/1", "/2"]);
}

#[tokio::test]
async fn http2_prior_knowledge_shares_pages() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    for expected in ["tidegate; fwd=miss; stored", "tidegate; hit"] {
        let uri: http::Uri = format!("http://{}/", edge.address).parse().expect("a URI");
        let response = client.get(uri).await.expect("an response");
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.headers()["cache-status"], expected);
        assert_eq!(
            response.into_body().collect().await.expect("a complete body").to_bytes(),
            "page"
        );
    }
}

#[tokio::test]
async fn continue_sent_before_body() {
    let upstream = Upstream::start(echo).await;
    let edge = Edge::start(&upstream).await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    let head = b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    socket.write_all(head).await.expect("writes");
    let interim = read_head(&mut socket).await;
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    socket.write_all(b"ok").await.expect("writes");
    let response = read_all(&mut socket).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("\n\nok"), "{response}");
    assert!(!response.contains("expect:"));
    let other = edge.get_with("/", &[("expect", "miracles")]).await;
    assert_eq!(other.status, 417);
}

#[tokio::test]
async fn trailers_forwarded() {
    let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let upstream = Upstream::raw(response).await;
    let edge = Edge::start(&upstream).await;
    let response = edge
        .raw(b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n")
        .await;
    assert!(response.contains("x-sum: 7"), "{response}");
}

#[tokio::test]
async fn unsupported_requests_rejected() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    let websocket = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(edge.send(request("POST", "/chat", &websocket)).await.status, 501);
    let h2c =
        [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "x")];
    assert_eq!(edge.get_with("/", &h2c).await.status, 200, "an upgrade offer may be ignored");
    assert_eq!(edge.send(request("TRACE", "/", &[])).await.status, 501);
    let looped = ["1.1 tidegate"; 9].join(", ");
    assert_eq!(edge.get_with("/loop", &[("via", &looped)]).await.status, 508);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn malformed_request_id_replaced() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    let response = edge.get_with("/", &[("x-request-id", "a b\"")]).await;
    let made = response.header("x-request-id");
    assert_eq!(made.len(), 16);
    assert_ne!(edge.get("/").await.header("x-request-id"), made, "a hit has its own ID");
}
