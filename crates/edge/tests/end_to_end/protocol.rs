//! Corners of HTTP that clients and upstreams meet.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Edge, Upstream, read_all, read_head, respond};

const FRESH: &[(&str, &str)] = &[("cache-control", "public, max-age=60")];

/// A client of HTTP/2 sends one field for each cookie (pingora 892, varnish-cache 2291).
#[tokio::test]
async fn cookies_of_http2_reach_the_upstream_in_one_field() {
    let upstream = Upstream::start(|request| async move {
        let fields = request.headers().get_all("cookie").iter();
        let fields: Vec<_> = fields.map(|field| field.to_str().expect("text")).collect();
        respond(200, &[("cache-control", "private")], fields.join("|"))
    })
    .await;
    let edge = Edge::start(&upstream).await;
    let socket = TcpStream::connect(edge.address).await.expect("connects");
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    for method in ["GET", "POST"] {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}/cart", edge.address))
            .header("cookie", "session=1")
            .header("cookie", "tidegate-after=v1.0123456789abcdef.2a")
            .header("cookie", "csrf=2; theme=dark");
        let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
        let response = client.send_request(request).await.expect("a response");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, "session=1; csrf=2; theme=dark", "{method}");
    }
}

#[tokio::test]
async fn transfer_coding_beside_chunked_refused() {
    let response = b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\
                     transfer-encoding: gzip, chunked\r\n\r\n4\r\nzzzz\r\n0\r\n\r\n";
    let upstream = Upstream::raw(response).await;
    let edge = Edge::start(&upstream).await;
    for path in ["/", "/private"] {
        let got = edge.get(path).await;
        assert_eq!(got.status, 502, "{path}");
        assert_eq!(got.header("proxy-status"), "tidegate; error=http_protocol_error");
    }
    assert_eq!(edge.get("/").await.status, 502, "nothing was stored");
}

#[tokio::test]
async fn target_without_slash_refused() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    for target in ["foo", "shop.example", "shop.example:80"] {
        let get = format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        let response = edge.raw(get.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{target}: {response}");
    }
    assert_eq!(upstream.requests(), 0);
    let absolute = b"GET http://shop.example/ HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    assert!(edge.raw(absolute).await.starts_with("HTTP/1.1 200"));
}

/// A load of a page joins itself, and waits, unless the gateway knows its own requests.
#[tokio::test]
async fn gateway_as_its_own_upstream_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let edge = Edge::with_options(address, |_| {}).await;
    let to = edge.address;
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("accepts");
            tokio::spawn(async move {
                let mut back = TcpStream::connect(to).await.expect("connects");
                tokio::io::copy_bidirectional(&mut socket, &mut back).await
            });
        }
    });
    for path in ["/", "/again"] {
        let got = tokio::time::timeout(Duration::from_secs(5), edge.get(path)).await;
        assert_eq!(got.expect("no wait").status, 508, "{path}");
    }
    let post = edge.send(crate::support::request("POST", "/", &[])).await;
    assert_eq!(post.status, 508);
}

#[tokio::test]
async fn only_if_cached_never_asks() {
    let upstream = Upstream::page("page", FRESH).await;
    let edge = Edge::start(&upstream).await;
    for more in [("x-any", "1"), ("authorization", "Basic x"), ("range", "bytes=0-1")] {
        let got = edge.get_with("/", &[("cache-control", "only-if-cached"), more]).await;
        assert_eq!(got.status, 504, "{more:?}");
    }
    assert_eq!(upstream.requests(), 0);
    edge.get("/").await;
    let hit = edge.get_with("/", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(hit.text(), "page");
    assert_eq!(upstream.requests(), 1);
}

/// `echo … | nc` closes its half of the connection after the request (Envoy 2066).
#[tokio::test]
async fn half_closed_client_gets_its_response() {
    let upstream = Upstream::start(|request| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let private = request.uri().path() == "/private";
        let control = if private { "private" } else { "public, max-age=60" };
        respond(200, &[("cache-control", control)], vec![b'a'; 100_000])
    })
    .await;
    let edge = Edge::start(&upstream).await;
    for (version, path) in
        [("1.1", "/page"), ("1.1", "/private"), ("1.0", "/old"), ("1.1", "/page")]
    {
        let mut socket = TcpStream::connect(edge.address).await.expect("connects");
        let get = format!("GET {path} HTTP/{version}\r\nhost: shop\r\nconnection: close\r\n\r\n");
        socket.write_all(get.as_bytes()).await.expect("writes");
        socket.shutdown().await.expect("closes its half");
        let response = read_all(&mut socket).await;
        assert!(response.contains(" 200 ") && response.len() > 100_000, "{version} {path}");
    }
}

/// A client that may send more, and closes, is gone: its request is given up.
#[tokio::test]
async fn closed_client_gives_its_request_up() {
    let upstream = Upstream::start(|_| std::future::pending()).await;
    let edge = Edge::start(&upstream).await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    socket.write_all(b"POST / HTTP/1.1\r\nhost: shop\r\n\r\n").await.expect("writes");
    socket.shutdown().await.expect("closes its half");
    let end = tokio::time::timeout(Duration::from_secs(10), socket.read_u8()).await;
    assert!(end.expect("an end").is_err());
}

#[tokio::test]
async fn page_limits_settable() {
    let keys = (0..129).map(|nth| format!("product-{nth}")).collect::<Vec<_>>().join(" ");
    let upstream = Upstream::start(move |_| {
        let keys = keys.clone();
        async move {
            let mut response = respond(200, FRESH, vec![b'a'; 5 << 20]);
            response.headers_mut().insert("surrogate-key", keys.parse().expect("a value"));
            response
        }
    })
    .await;
    let edge = Edge::start(&upstream).await;
    assert_eq!(edge.get("/").await.cache_status(), "tidegate; fwd=miss; detail=too-large");
    let edge = Edge::with_options(upstream.address, |options| {
        options.pages.max_bytes = 6 << 20;
    })
    .await;
    assert_eq!(edge.get("/").await.cache_status(), "tidegate; fwd=miss; stored");
    let edge = Edge::with_options(upstream.address, |options| {
        options.pages.max_bytes = 6 << 20;
        options.pages.max_tags = 128;
    })
    .await;
    assert_eq!(edge.get("/").await.cache_status(), "tidegate; fwd=miss; detail=surrogate-key");
}

/// Agrees to a WebSocket, and sends everything back; to `/refused` with 403.
async fn echoing_sockets() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("accepts");
            tokio::spawn(async move {
                let head = read_head(&mut socket).await.to_ascii_lowercase();
                assert!(
                    head.contains("upgrade: websocket") && head.contains("connection: upgrade")
                );
                assert!(head.contains("sec-websocket-key: x"), "{head}");
                if head.starts_with("get /refused") {
                    let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
                    return socket.write_all(refused).await.expect("writes");
                }
                // The first frame may come with the head.
                let agreed = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                               connection: Upgrade\r\nsec-websocket-accept: y\r\n\r\nhello ";
                socket.write_all(agreed).await.expect("writes");
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

const WEBSOCKET: &str = " HTTP/1.1\r\nhost: shop\r\nconnection: keep-alive, Upgrade\r\n\
                         upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";

#[tokio::test]
async fn websocket_handed_through() {
    let edge = Edge::with_options(echoing_sockets().await, |_| {}).await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    socket.write_all(format!("GET /chat{WEBSOCKET}").as_bytes()).await.expect("writes");
    let head = read_head(&mut socket).await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-accept: y"), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    for part in [vec![b'a'; 10], vec![b'b'; 300_000]] {
        let (mut reader, mut writer) = socket.split();
        let mut echo = vec![0; part.len() + if part.len() == 10 { 6 } else { 0 }];
        let (sent, read) = tokio::join!(writer.write_all(&part), reader.read_exact(&mut echo));
        sent.expect("sent");
        read.expect("an echo");
        assert!(echo.ends_with(&part));
    }
    socket.shutdown().await.expect("closes");
    assert_eq!(read_all(&mut socket).await, "", "the end is handed through");
}

#[tokio::test]
async fn refused_websocket_is_a_response() {
    let edge = Edge::with_options(echoing_sockets().await, |_| {}).await;
    let response = edge.raw(format!("GET /refused{WEBSOCKET}").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 403") && response.ends_with("no"), "{response}");
}

#[tokio::test]
async fn silent_websocket_closed() {
    let edge = Edge::with_options(echoing_sockets().await, |options| {
        options.clients.websocket_timeout = Duration::from_millis(50);
        options.clients.responses.total = 1;
    })
    .await;
    for _ in 0..3 {
        let response = edge.raw(format!("GET /chat{WEBSOCKET}").as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 101"), "its slot is free again: {response}");
    }
}

#[tokio::test]
async fn shutdown_ends_websockets() {
    let mut edge = Edge::with_options(echoing_sockets().await, |_| {}).await;
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    socket.write_all(format!("GET /chat{WEBSOCKET}").as_bytes()).await.expect("writes");
    read_head(&mut socket).await;
    edge.stop();
    let end = tokio::time::timeout(Duration::from_secs(5), async {
        while socket.read_u8().await.is_ok() {}
    });
    end.await.expect("an end before the drain time");
}
