//! Pages that are stored while their readers get them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::{Edge, read_all, read_head};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\n\
                       surrogate-key: product-42\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
const SIZED: &str = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\n\
                     surrogate-key: product-42\r\ncontent-length: 9\r\n\r\nfirst";

/// Sends the first part of a page, and the rest once it is released.
struct Paused {
    address: std::net::SocketAddr,
    released: Arc<Semaphore>,
    requests: Arc<AtomicUsize>,
}

impl Paused {
    async fn start(first: &'static str, rest: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (released, requests) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (release, counted, rest) =
            (Arc::clone(&released), Arc::clone(&requests), Arc::<[u8]>::from(rest));
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("accepts");
                let (release, rest) = (Arc::clone(&release), Arc::clone(&rest));
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    read_head(&mut socket).await;
                    socket.write_all(first.as_bytes()).await.expect("writes");
                    release.acquire().await.expect("open").forget();
                    let _ = socket.write_all(&rest).await;
                });
            }
        });
        Self { address, released, requests }
    }

    fn release(&self) {
        self.released.add_permits(1);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A reader that has the head and the first part of `/`.
async fn reader(edge: &Edge) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(edge.address).await.expect("connects");
    let get = b"GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
    socket.write_all(get).await.expect("writes");
    let head = read_head(&mut socket).await;
    let mut read = Vec::new();
    while !read.ends_with(b"first") {
        read.push(socket.read_u8().await.expect("the first part"));
    }
    (socket, head)
}

#[tokio::test]
async fn readers_get_parts_as_they_come() {
    for (first, rest) in [(CHUNKED, "4\r\nlast\r\n0\r\n\r\n"), (SIZED, "last")] {
        let upstream = Paused::start(first, rest.into()).await;
        let edge = Edge::with_options(upstream.address, |_| {}).await;
        let (mut loading, head) = reader(&edge).await;
        let (mut joined, joined_head) = reader(&edge).await;
        for (head, status) in [(&head, "fwd=miss\r\n"), (&joined_head, "fwd=miss; collapsed\r\n")] {
            let status = format!("cache-status: tidegate; {status}");
            assert!(head.starts_with("HTTP/1.1 200") && head.contains(&status), "{head}");
            let proof = "tier=origin, contract=\"page\"\r\n";
            assert!(head.contains("tidegate-freshness: bound=") && head.contains(proof), "{head}");
        }
        upstream.release();
        for socket in [&mut loading, &mut joined] {
            let rest = read_all(socket).await;
            assert!(rest.contains("last"), "{rest}");
            assert!(rest.ends_with("0\r\n\r\n") || first == SIZED, "{rest}");
        }
        let stored = edge.get("/").await;
        assert_eq!((stored.text(), stored.cache_status().as_str()), ("firstlast", "tidegate; hit"));
        assert_eq!(upstream.requests(), 1);
    }
}

/// The bound of a reader that comes during the load counts from the beginning of the load.
#[tokio::test]
async fn bound_of_joined_reader_covers_the_load() {
    let upstream = Paused::start(CHUNKED, b"0\r\n\r\n".to_vec()).await;
    let edge = Edge::with_options(upstream.address, |_| {}).await;
    let (_loading, _) = reader(&edge).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (_joined, head) = reader(&edge).await;
    let bound = head.split("bound=").nth(1).and_then(|rest| rest.split(',').next());
    let bound: u64 = bound.and_then(|bound| bound.parse().ok()).expect("a bound");
    assert!(bound >= 300, "{head}");
}

#[tokio::test]
async fn broken_load_is_broken_for_each_reader() {
    for first in [CHUNKED, SIZED] {
        let upstream = Paused::start(first, Vec::new()).await;
        let edge = Edge::with_options(upstream.address, |_| {}).await;
        let (mut loading, _) = reader(&edge).await;
        let (mut joined, _) = reader(&edge).await;
        upstream.release();
        for socket in [&mut loading, &mut joined] {
            let rest = read_all(socket).await;
            assert!(!rest.contains("\r\n0\r\n") && !rest.contains("last"), "no clean end: {rest}");
        }
        upstream.release();
        let again = edge.get("/").await;
        assert_eq!(again.status, 502, "nothing was stored, and this one broke off within the head");
        assert_eq!(upstream.requests(), 2);
    }
}

#[tokio::test]
async fn broken_load_resets_streams_of_http2() {
    let upstream = Paused::start(CHUNKED, Vec::new()).await;
    let edge = Edge::with_options(upstream.address, |_| {}).await;
    let socket = TcpStream::connect(edge.address).await.expect("connects");
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let get =
        http::Request::get(format!("http://{}/", edge.address)).body(Empty::<bytes::Bytes>::new());
    let response = client.send_request(get.expect("a request")).await.expect("a head");
    let mut body = response.into_body();
    let first = body.frame().await.expect("a part").expect("a part");
    assert_eq!(first.into_data().expect("data"), "first");
    upstream.release();
    let end = body.frame().await.expect("an end that is visible");
    assert!(end.is_err(), "{end:?}");
}

/// Without chunks, a broken end of a body of unknown size would look like a complete one.
#[tokio::test]
async fn http10_reader_waits_for_the_whole_page() {
    let upstream = Paused::start(CHUNKED, Vec::new()).await;
    let edge = Edge::with_options(upstream.address, |_| {}).await;
    let old = edge.raw(b"GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n");
    let (old, ()) = tokio::join!(old, async {
        let (_modern, _) = reader(&edge).await;
        upstream.release();
    });
    assert!(old.starts_with("HTTP/1.0 502"), "{old}");
}

#[tokio::test]
async fn conditional_reader_needs_no_body() {
    let first = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\netag: \"a\"\r\n\
                 transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
    let upstream = Paused::start(first, b"0\r\n\r\n".to_vec()).await;
    let edge = Edge::with_options(upstream.address, |_| {}).await;
    let (_loading, _) = reader(&edge).await;
    let current = edge.get_with("/", &[("if-none-match", "\"a\"")]).await;
    assert_eq!((current.status.as_u16(), current.text()), (304, ""));
    upstream.release();
}

#[tokio::test]
async fn slow_reader_does_not_hold_the_load() {
    let rest = [b"300000\r\n".to_vec(), vec![b'a'; 0x30_0000], b"\r\n0\r\n\r\n".to_vec()].concat();
    let upstream = Paused::start(CHUNKED, rest).await;
    let edge = Edge::with_options(upstream.address, |_| {}).await;
    let (mut slow, _) = reader(&edge).await;
    upstream.release();
    // The slow one has read nothing of the rest.
    let stored = edge.get("/").await;
    assert_eq!(stored.body.len(), 5 + 0x30_0000);
    assert_eq!(edge.get("/").await.cache_status(), "tidegate; hit");
    let rest = read_all(&mut slow).await;
    assert!(rest.ends_with("0\r\n\r\n") && rest.len() > 0x30_0000, "{}", rest.len());
    assert_eq!(upstream.requests(), 1);
}

/// A page whose size becomes known only when it has exceeded the limit of stored pages.
#[tokio::test]
async fn page_beyond_the_limit_reaches_its_readers() {
    let chunk = [b"1000\r\n".to_vec(), vec![b'a'; 0x1000], b"\r\n".to_vec()].concat();
    let rest = [chunk.repeat(256), b"0\r\n\r\n".to_vec()].concat();
    let upstream = Paused::start(CHUNKED, rest).await;
    let edge = Edge::with_options(upstream.address, |options| {
        options.pages.max_bytes = 400_000;
    })
    .await;
    let (mut loading, _) = reader(&edge).await;
    let (mut joined, _) = reader(&edge).await;
    upstream.release();
    let (loading, joined) = tokio::join!(read_all(&mut loading), read_all(&mut joined));
    for rest in [loading, joined] {
        assert!(rest.ends_with("0\r\n\r\n") && rest.len() > 0x10_0000, "{}", rest.len());
    }
    upstream.release();
    let again = edge.get("/").await;
    assert_eq!(again.cache_status(), "tidegate; fwd=miss; detail=too-large");
    assert_eq!(again.body.len(), 5 + 0x10_0000);
    assert!(edge.metrics().contains("unstored_responses_total{reason=\"too-large\"} "));
}
