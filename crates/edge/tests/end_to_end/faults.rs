//! Faulty upstreams and clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache::admission::Shares;
use contract::Class;
use edge::{RouteConfig, Routes, UpstreamLimits};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Edge, Upstream, read_all, read_head, request, respond};

const FRESH: &[(&str, &str)] = &[("cache-control", "public, max-age=60")];

/// None of these responses is a page.
#[tokio::test]
async fn malformed_or_truncated_response_502() {
    let responses: &[&[u8]] = &[
        b"",
        b"\0\xff\xfe malformed \r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncache-control: max-age=60\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncache-control: max-age=60\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncache-control: max-age=60\r\n\r\nzz\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 9\r\ncache-control: max-age=60\r\n\r\nhalf",
    ];
    for response in responses {
        let upstream = Upstream::raw(response).await;
        let edge = Edge::start(&upstream).await;
        for _ in 0..2 {
            let got = edge.get("/").await;
            assert_eq!(got.status, 502, "{}", String::from_utf8_lossy(response));
            assert!(got.header("proxy-status").starts_with("tidegate; error="), "{got:?}");
            assert_eq!(got.header("cache-control"), "no-store");
            assert!(!got.text().contains("127.0.0.1"), "no upstream address: {got:?}");
        }
        assert!(upstream.requests() >= 2, "nothing was stored");
    }
}

#[tokio::test]
async fn unframed_body_passes_unstored() {
    let response = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nconnection: close\r\n\r\npage";
    let upstream = Upstream::raw(response).await;
    let edge = Edge::start(&upstream).await;
    for _ in 0..2 {
        assert_eq!(edge.get("/").await.text(), "page");
    }
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn truncated_stream_visible_to_client() {
    for response in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = Upstream::raw(response).await;
        let edge = Edge::start(&upstream).await;
        let got = edge.try_send(request("POST", "/", &[])).await;
        assert!(got.as_ref().is_err_and(|err| err.starts_with("body: ")), "{got:?}");
    }
}

#[tokio::test]
async fn silent_upstream_times_out() {
    let upstream = Upstream::start(|_| std::future::pending()).await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.timeouts.first_byte = Duration::from_millis(100);
    })
    .await;
    for method in ["GET", "POST"] {
        let response = edge.send(request(method, "/", &[])).await;
        assert_eq!(response.status, 504, "{method}");
        assert_eq!(response.header("proxy-status"), "tidegate; error=http_response_timeout");
    }
}

#[tokio::test]
async fn stalled_upstream_body_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            read_head(&mut socket).await;
            let head =
                b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncache-control: max-age=60\r\n\r\nhalf";
            socket.write_all(head).await.expect("writes");
            open.push(socket);
        }
    });
    let edge = Edge::with_options(address, |options| {
        options.timeouts.between_bytes = Duration::from_millis(100);
    })
    .await;
    for method in ["GET", "POST"] {
        let streamed = edge.try_send(request(method, "/", &[])).await;
        assert!(streamed.is_err_and(|err| err.starts_with("body: ")), "{method}");
    }
}

#[tokio::test]
async fn unreachable_upstream_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let edge = Edge::with_options(address, |_| {}).await;
    for method in ["GET", "POST"] {
        let response = edge.send(request(method, "/", &[])).await;
        assert_eq!(response.status, 502, "{method}");
        assert_eq!(response.header("proxy-status"), "tidegate; error=destination_unavailable");
        assert!(response.text().contains("can't connect"), "{response:?}");
    }
    assert!(edge.metrics().contains("tidegate_upstream_errors_total"));
}

#[tokio::test]
async fn full_upstream_sheds_checkout_last() {
    let upstream = Upstream::start(|_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        respond(200, &[], "ok")
    })
    .await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.upstream_limits = UpstreamLimits {
            concurrency: 10,
            queue: 0,
            shares: Shares::default(),
            ..UpstreamLimits::default()
        };
        let checkout = RouteConfig {
            path: "/checkout".into(),
            priority: Class::Critical,
            ..RouteConfig::default()
        };
        options.routes = Routes::new(&[checkout]).expect("a valid route");
    })
    .await;
    let posts = std::iter::repeat_n("/", 12).chain(std::iter::repeat_n("/checkout", 2));
    let sends = posts.map(|path| edge.send(request("POST", path, &[])));
    let responses = futures_util::future::join_all(sends).await;
    let is_shed: Vec<_> = responses.iter().map(|response| response.status == 503).collect();
    // Nine places of ten for the standard class, the tenth for the critical one.
    let expected: Vec<_> = (0..14).map(|nth| (9..12).contains(&nth) || nth == 13).collect();
    assert_eq!(is_shed, expected);
    let mut shed = responses.iter().filter(|response| response.status == 503);
    assert!(shed.all(|response| response.header("retry-after") == "1"));
    assert_eq!(upstream.requests(), 10);
}

#[tokio::test]
async fn server_error_passes_unstored() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream =
        Upstream::start(move |_| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            async move {
                if nth == 0 { respond(500, FRESH, "sorry") } else { respond(200, FRESH, "page") }
            }
        })
        .await;
    let edge = Edge::start(&upstream).await;
    let failed = edge.get("/").await;
    assert_eq!((failed.status.as_u16(), failed.text()), (500, "sorry"));
    assert_eq!(edge.get("/").await.text(), "page");
}

#[tokio::test]
async fn closed_idle_connection_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            read_head(&mut socket).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            // Closes when the next request arrives, like a server whose keep-alive has expired.
            tokio::spawn(async move { drop(socket.read_u8().await) });
        }
    });
    let edge = Edge::with_options(address, |_| {}).await;
    for _ in 0..4 {
        assert_eq!(edge.get("/").await.text(), "ok");
    }
}

#[tokio::test]
async fn slow_request_head_times_out() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.head_timeout = Duration::from_millis(100);
    })
    .await;
    for start in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\nx: "] {
        let mut socket = TcpStream::connect(edge.address).await.expect("connects");
        socket.write_all(start).await.expect("writes");
        let mut rest = Vec::new();
        let ended =
            tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open after {:?}", String::from_utf8_lossy(start));
    }
    assert_eq!(upstream.requests(), 0);
    assert!(edge.metrics().contains("tidegate_gateway_slow_connections_total 3"));
}

#[tokio::test]
async fn slow_upstream_keeps_client_open() {
    let upstream = Upstream::start(|_| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        respond(200, FRESH, "page")
    })
    .await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.head_timeout = Duration::from_millis(100);
    })
    .await;
    assert_eq!(edge.get("/").await.text(), "page");
}

#[tokio::test]
async fn large_request_head_rejected() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    let long = "a".repeat(40_000);
    let response =
        edge.raw(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn shutdown_drains_requests() {
    let upstream = Upstream::start(|_| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        respond(200, FRESH, "page")
    })
    .await;
    let mut edge = Edge::start(&upstream).await;
    let mut idle = TcpStream::connect(edge.address).await.expect("connects");
    let mut busy = TcpStream::connect(edge.address).await.expect("connects");
    busy.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("writes");
    tokio::time::sleep(Duration::from_millis(50)).await;
    edge.stop();
    let response = read_all(&mut busy).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("page"), "{response}");
    assert_eq!(idle.read(&mut [0; 8]).await.expect("closed"), 0);
    (&mut edge.stopped).await.expect("stops");
    assert!(TcpStream::connect(edge.address).await.is_err(), "accepts no more connections");
}

#[tokio::test]
async fn shutdown_closes_after_drain_time() {
    let upstream = Upstream::start(|_| std::future::pending()).await;
    let mut edge =
        Edge::with_options(upstream.address, |options| options.drain = Duration::from_millis(100))
            .await;
    let mut busy = TcpStream::connect(edge.address).await.expect("connects");
    busy.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        .await
        .expect("writes");
    tokio::time::sleep(Duration::from_millis(50)).await;
    edge.stop();
    tokio::time::timeout(Duration::from_secs(5), &mut edge.stopped)
        .await
        .expect("in time")
        .expect("stops");
    assert_eq!(busy.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn stalled_upload_times_out() {
    let upstream = Upstream::start(|request| async {
        let whole = request.into_body().collect().await;
        respond(if whole.is_ok() { 200 } else { 500 }, &[], "ok")
    })
    .await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.clients.timeout = Duration::from_millis(100);
    })
    .await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    let partial = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf";
    socket.write_all(partial).await.expect("writes");
    let response = read_all(&mut socket).await;
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    assert!(response.contains("the request body ended early"), "{response}");
}

#[tokio::test]
async fn client_that_never_reads_times_out() {
    // Much more than the socket buffers hold.
    let upstream = Upstream::start(|_| async { respond(200, &[], vec![b'a'; 64 << 20]) }).await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.clients.timeout = Duration::from_millis(100);
    })
    .await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    socket.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("writes");
    let closed = async {
        while upstream.requests() == 0 || !edge.metrics().contains("tidegate_gateway_connections 0")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the connection closes");
    let mut rest = Vec::new();
    // The connection is reset or closed; the body is incomplete either way.
    let _ = socket.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 << 20);
}
