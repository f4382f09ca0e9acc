//! Admission to the upstream: places, budgets of clients, and their pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache::admission::Shares;
use edge::{BudgetLimits, GatewayOptions, RouteConfig, Routes, TimeoutOverrides, UpstreamLimits};
use harness::Application;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::support::{ClientResponse, Edge, Upstream, request, respond};

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(20);

async fn edge(application: &Application, change: impl FnOnce(&mut GatewayOptions)) -> Edge {
    Edge::with_options(application.addr(), change).await
}

fn application() -> Application {
    Application::start().expect("a free port")
}

/// Sends bytes from the loopback address 127.0.0.`client`.
async fn open(edge: &Edge, client: u8, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, client], 0).into()).expect("a loopback address");
    let mut socket = socket.connect(edge.address).await.expect("connects");
    socket.write_all(bytes).await.expect("writes");
    socket
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").into_bytes()
}

fn post(path: &str, length: usize) -> Vec<u8> {
    let head = "host: shop\r\nconnection: close\r\ncontent-length";
    format!("POST {path} HTTP/1.1\r\n{head}: {length}\r\n\r\n").into_bytes()
}

/// Reads until the gateway closes the connection.
async fn rest(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(LIMIT, socket.read_to_end(&mut all)).await;
    // A reset is an end, too.
    drop(read.expect("the connection ends in time"));
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads the first bytes of a response.
async fn first(socket: &mut TcpStream) -> String {
    let mut part = [0; 1024];
    let read = tokio::time::timeout(LIMIT, socket.read(&mut part)).await.expect("in time");
    String::from_utf8_lossy(&part[..read.expect("open")]).into_owned()
}

async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(MS).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect(what);
}

fn is(response: &str, status: u16) -> bool {
    response.starts_with(&format!("HTTP/1.1 {status} "))
}

/// Ten places: five for loads.
fn ten_places(options: &mut GatewayOptions) {
    let shares = Shares { loads: 0.5, party: 1.0 };
    options.upstream_limits =
        UpstreamLimits { concurrency: 10, shares, ..UpstreamLimits::default() };
}

#[tokio::test]
async fn passes_never_wait_for_loads() {
    let application = application();
    let edge = edge(&application, ten_places).await;
    let mut loads = Vec::new();
    for nth in 0..20 {
        loads.push(open(&edge, 1, &get(&format!("/hang/{nth}"))).await);
    }
    wait_for("loads", || application.requests("/hang") >= 4).await;
    let private = edge.get_with("/private/4", &[("authorization", "Basic YTpi")]).await;
    assert_eq!((private.status.as_u16(), private.text()), (200, "aaaa"));
    assert_eq!(edge.send(request("POST", "/upload", &[])).await.text(), "0");
    assert_eq!(application.requests("/hang"), 4, "nine tenths of the loads' share");
}

/// An upstream with eight workers, and clients that want more than it can serve.
#[tokio::test]
async fn busy_upstream_gets_fewer_requests_at_once() {
    let (workers, at_once) = (Arc::new(Semaphore::new(8)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&at_once);
    let upstream = Upstream::start(move |_| {
        let (workers, at_once) = (Arc::clone(&workers), Arc::clone(&at_once));
        async move {
            at_once.fetch_add(1, Ordering::SeqCst);
            let worker = workers.acquire().await.expect("open");
            tokio::time::sleep(20 * MS).await;
            drop(worker);
            at_once.fetch_sub(1, Ordering::SeqCst);
            respond(200, &[("cache-control", "private")], "mine")
        }
    })
    .await;
    let edge = Edge::with_options(upstream.address, |options| {
        let shares = Shares::default();
        let limits = UpstreamLimits { concurrency: 128, shares, ..UpstreamLimits::default() };
        options.upstream_limits = limits;
    })
    .await;
    for _ in 0..160 {
        let mut socket = TcpStream::connect(edge.address).await.expect("connects");
        tokio::spawn(async move {
            let post = b"POST /cart HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\r\n";
            loop {
                socket.write_all(post).await.expect("open");
                let mut response = Vec::new();
                while !response.ends_with(b"mine") {
                    response.push(socket.read_u8().await.expect("open"));
                }
                assert!(response.starts_with(b"HTTP/1.1 200"), "none is refused");
            }
        });
    }
    let at_once = || seen.load(Ordering::SeqCst);
    wait_for("more requests than workers", || at_once() > 100).await;
    wait_for("fewer requests", || at_once() < 50).await;
}

#[tokio::test]
async fn client_leaves_places_for_others() {
    let application = application();
    let edge = edge(&application, |options| {
        ten_places(options);
        options.upstream_limits.shares = Shares { loads: 1.0, party: 0.5 };
    })
    .await;
    let mut requests = Vec::new();
    for _ in 0..20 {
        requests.push(open(&edge, 2, &post("/hang", 0)).await);
    }
    wait_for("requests", || application.requests("/hang") == 4).await;
    for path in ["/page/4", "/upload"] {
        let mut other = open(&edge, 3, &post(path, 0)).await;
        assert!(is(&rest(&mut other).await, 200), "{path}");
    }
    assert_eq!(application.requests("/hang"), 4);
}

#[tokio::test]
async fn waiting_request_gets_free_place() {
    let application = application();
    let edge = edge(&application, ten_places).await;
    let paths: Vec<String> = (0..40).map(|nth| format!("/slow/100/{nth}")).collect();
    let responses = futures_util::future::join_all(paths.iter().map(|path| edge.get(path))).await;
    assert!(responses.iter().all(|response| response.status == 200));
}

#[tokio::test]
async fn full_queue_and_late_place_refused() {
    let application = application();
    for queue in [0, 10] {
        let edge = edge(&application, |options| {
            ten_places(options);
            options.upstream_limits.queue = queue;
            options.upstream_limits.queue_timeout = 100 * MS;
        })
        .await;
        let hang = |nth: usize| open_hang(&edge, nth);
        let _open = futures_util::future::join_all((0..9).map(hang)).await;
        wait_for("requests", || edge.metrics().contains("tidegate_upstream_requests_total 9"))
            .await;
        let refused = edge.send(request("POST", "/upload", &[])).await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("proxy-status"), "tidegate; error=connection_limit_reached");
    }
}

async fn open_hang(edge: &Edge, nth: usize) -> TcpStream {
    open(edge, 1, &post(&format!("/hang/{nth}"), 0)).await
}

#[tokio::test]
async fn open_responses_limited_per_client() {
    let application = application();
    let edge = edge(&application, |options| {
        options.clients.responses = BudgetLimits { total: 100, per_client: 3 };
    })
    .await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = open(&edge, 2, &get("/open")).await;
        assert!(is(&first(&mut stream).await, 200));
        streams.push(stream);
    }
    // A pass is refused before it is sent; a page that turns out to be a stream afterwards.
    for path in ["/upload", "/open"] {
        let mut refused = open(&edge, 2, &post(path, 0)).await;
        let refused = rest(&mut refused).await;
        assert!(is(&refused, 429) && refused.contains("retry-after: 1"), "{refused}");
    }
    let mut other = open(&edge, 3, &post("/upload", 0)).await;
    assert!(is(&rest(&mut other).await, 200));
    assert_eq!(application.requests("/upload"), 1);
    drop(streams);
    loop {
        let mut again = open(&edge, 2, &post("/upload", 0)).await;
        if is(&rest(&mut again).await, 200) {
            break;
        }
    }
}

#[tokio::test]
async fn open_uploads_limited_in_all() {
    let application = application();
    let edge = edge(&application, |options| {
        options.clients.uploads = BudgetLimits { total: 10, per_client: 5 };
    })
    .await;
    let mut uploads = Vec::new();
    for client in [2, 3] {
        for _ in 0..5 {
            uploads.push(open(&edge, client, &post("/upload", 10)).await);
        }
    }
    // Nine tenths for the standard class; none of these uploads has reached the upstream.
    let mut refused = uploads.pop().expect("the tenth");
    assert!(is(&rest(&mut refused).await, 503));
    let mut refused = open(&edge, 2, &post("/upload", 10)).await;
    assert!(is(&rest(&mut refused).await, 429));
    assert_eq!(application.requests("/upload"), 0);
    let mut upload = uploads.pop().expect("the ninth");
    upload.write_all(b"0123456789").await.expect("open");
    assert!(rest(&mut upload).await.ends_with("10"));
}

#[tokio::test]
async fn dripping_upload_ended() {
    let application = application();
    let edge = edge(&application, |options| {
        options.clients.timeout = 200 * MS;
        options.clients.min_rate = 1_000;
    })
    .await;
    let mut upload = open(&edge, 1, &post("/upload", 1_000)).await;
    let ended = async {
        while upload.write_all(b"x").await.is_ok() {
            tokio::time::sleep(20 * MS).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("the connection ends");
    assert_eq!(application.requests("/upload"), 0);
}

/// The whole upload takes longer than the upstream's timeouts, which count from its end.
#[tokio::test]
async fn slow_upload_outlasts_upstream_timeouts() {
    let application = application();
    let edge = edge(&application, |options| {
        options.timeouts.first_byte = 100 * MS;
        options.clients.timeout = 150 * MS;
        options.clients.upload_buffer = 1_000;
    })
    .await;
    for framing in ["content-length: 10000", "transfer-encoding: chunked"] {
        let head =
            format!("POST /upload HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framing}\r\n\r\n");
        let mut upload = open(&edge, 1, head.as_bytes()).await;
        for _ in 0..10 {
            let part = [b'x'; 1_000];
            if framing.starts_with('t') {
                upload.write_all(b"3e8\r\n").await.expect("open");
                upload.write_all(&part).await.expect("open");
                upload.write_all(b"\r\n").await.expect("open");
            } else {
                upload.write_all(&part).await.expect("open");
            }
            tokio::time::sleep(50 * MS).await;
        }
        if framing.starts_with('t') {
            upload.write_all(b"0\r\n\r\n").await.expect("open");
        }
        let response = rest(&mut upload).await;
        assert!(is(&response, 200) && response.contains("10000"), "{framing}: {response}");
    }
}

#[tokio::test]
async fn early_response_to_large_upload_passed() {
    let application = application();
    let edge = edge(&application, |_| {}).await;
    let mut upload = open(&edge, 1, &post("/early", 10_000_000)).await;
    upload.write_all(&[b'x'; 100_000]).await.expect("open");
    assert!(is(&first(&mut upload).await, 413));
}

#[tokio::test]
async fn expected_continue_sent_before_admission() {
    let application = application();
    let edge = edge(&application, |_| {}).await;
    let head = "POST /upload HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\
                connection: close\r\n\r\n";
    let mut upload = open(&edge, 1, head.as_bytes()).await;
    assert!(first(&mut upload).await.starts_with("HTTP/1.1 100 Continue"));
    assert_eq!(application.requests("/upload"), 0);
    upload.write_all(b"12345").await.expect("open");
    let response = rest(&mut upload).await;
    assert!(is(&response, 200) && response.ends_with('5'), "{response}");
}

#[tokio::test]
async fn timeouts_of_pages_leave_the_upstream_open() {
    let application = application();
    let edge = edge(&application, |options| options.timeouts.first_byte = 300 * MS).await;
    for round in 0..4 {
        let hanging: Vec<String> = (0..12).map(|nth| format!("/hang/{round}/{nth}")).collect();
        let hanging = futures_util::future::join_all(hanging.iter().map(|path| edge.get(path)));
        let others = async {
            for nth in 0..20 {
                let page = edge.get(&format!("/page/4/{round}/{nth}")).await;
                assert_eq!(page.status, 200, "{page:?}");
                tokio::time::sleep(25 * MS).await;
            }
        };
        let (hanging, ()) = tokio::join!(hanging, others);
        assert!(hanging.iter().all(|response| response.status == 504), "{hanging:?}");
    }
}

#[tokio::test]
async fn failing_page_loaded_once_in_a_while() {
    let application = application();
    let edge = edge(&application, |_| {}).await;
    let mut refused: Option<ClientResponse> = None;
    for _ in 0..50 {
        let response = edge.get("/status/503").await;
        assert_eq!(response.status, 503);
        refused = Some(response).filter(|response| !response.header("proxy-status").is_empty());
    }
    let refused = refused.expect("refused by the gateway");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.text().contains("fails to serve this page"), "{refused:?}");
    assert!(application.requests("/status/503") < 20);
    // Writes to it are not refused.
    for _ in 0..20 {
        let write = edge.send(request("POST", "/status/503", &[])).await;
        assert_eq!(write.text(), "status");
    }
}

#[tokio::test]
async fn request_that_timed_out_sent_once() {
    let application = application();
    let edge = edge(&application, |options| options.timeouts.first_byte = 100 * MS).await;
    assert_eq!(edge.get("/hang/page").await.status, 504);
    assert_eq!(edge.send(request("POST", "/hang/write", &[])).await.status, 504);
    assert_eq!(application.requests("/hang"), 2);
}

#[tokio::test]
async fn client_gone_during_upload_frees_its_slots() {
    let application = application();
    let edge = edge(&application, |options| {
        options.clients.upload_buffer = 1_000;
        options.clients.uploads = BudgetLimits { total: 10, per_client: 1 };
        options.clients.responses = BudgetLimits { total: 10, per_client: 1 };
    })
    .await;
    for sent in [100, 50_000] {
        let mut upload = open(&edge, 2, &post("/upload", 100_000)).await;
        upload.write_all(&vec![b'x'; sent]).await.expect("open");
        let mut refused = open(&edge, 2, &post("/upload", 1)).await;
        assert!(is(&first(&mut refused).await, 429));
        drop(upload);
        loop {
            let mut again = open(&edge, 2, &post("/upload", 0)).await;
            if is(&rest(&mut again).await, 200) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn route_has_its_own_timeouts() {
    let application = application();
    let edge = edge(&application, |options| {
        options.timeouts.first_byte = 100 * MS;
        let route = |path: &str, timeouts| RouteConfig {
            path: path.to_owned(),
            timeouts,
            ..RouteConfig::default()
        };
        let (patient, limited) = (TimeoutOverrides::default(), TimeoutOverrides::default());
        options.routes = Routes::new(&[
            route("/slow/400", TimeoutOverrides { first_byte: Some(LIMIT), ..patient }),
            route("/trickle/", TimeoutOverrides { total: Some(300 * MS), ..limited }),
        ])
        .expect("valid routes");
    })
    .await;
    assert_eq!(edge.get("/slow/400").await.status, 200);
    for method in ["GET", "POST"] {
        assert_eq!(edge.send(request(method, "/slow/500", &[])).await.status, 504, "{method}");
    }
    for method in ["GET", "POST"] {
        let cut = edge.try_send(request(method, "/trickle/2000", &[])).await;
        assert!(cut.is_err_and(|err| err.starts_with("body: ")), "cut after the total timeout");
    }
}

#[tokio::test]
async fn pause_between_bytes_ends_stream() {
    let application = application();
    let edge = edge(&application, |options| options.timeouts.between_bytes = 200 * MS).await;
    assert_eq!(edge.get("/events/50").await.status, 200);
    let cut = edge.try_send(request("GET", "/events/5000", &[])).await;
    assert!(cut.is_err_and(|err| err.starts_with("body: ")));
}

/// A stored page that its client reads slowly. Each limit of the connection is shorter than the response.
#[tokio::test]
async fn slow_reader_gets_whole_page() {
    let application = application();
    let edge = edge(&application, |options| {
        options.clients.timeout = 1_000 * MS;
        options.head_timeout = 200 * MS;
    })
    .await;
    let path = "/page/3900000";
    assert!(rest(&mut open(&edge, 1, &get(path)).await).await.len() > 3_900_000);
    let mut socket = open(&edge, 1, &get(path)).await;
    let (mut part, mut read) = (vec![0; 50_000], 0);
    loop {
        match socket.read(&mut part).await.expect("not cut") {
            0 => break,
            size => read += size,
        }
        tokio::time::sleep(40 * MS).await;
    }
    assert!(read > 3_900_000, "{read} bytes");
    assert_eq!(application.requests(path), 1);
}

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A connection of HTTP/2 whose streams have a window of zero, with a GET on each of `streams`.
fn without_window(path: &str, streams: &[u32]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    let headers = [&[0x82, 0x86, 0x04][..], &text(path), &[0x01], &text("shop")].concat();
    streams.iter().for_each(|stream| bytes.extend(frame(1, 5, *stream, &headers)));
    bytes
}

/// The next frame: its kind, its stream and its length.
async fn next_frame(socket: &mut TcpStream) -> (u8, u32, usize) {
    let read = async {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.expect("open");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        socket.read_exact(&mut vec![0; length]).await.expect("open");
        (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), length)
    };
    tokio::time::timeout(LIMIT, read).await.expect("a frame")
}

#[tokio::test]
async fn stream_without_window_reset_alone() {
    let application = application();
    let edge = edge(&application, |options| options.clients.timeout = 1_000 * MS).await;
    for path in ["/page/100000", "/private/100000"] {
        let mut socket = open(&edge, 1, &without_window(path, &[1, 3])).await;
        let (mut data, mut reset) = (0, false);
        // The client opens the window of the second stream now and then, of the first one never.
        while data < 100_000 || !reset {
            match next_frame(&mut socket).await {
                // DATA, RST_STREAM.
                (0, 3, length) => data += length,
                (3, 1, _) => reset = true,
                (kind @ (0 | 3), stream, _) => panic!("frame {kind} on stream {stream}"),
                _ => {}
            }
            if data < 100_000 {
                let update = frame(8, 0, 3, &20_000_u32.to_be_bytes());
                let both = frame(8, 0, 0, &20_000_u32.to_be_bytes());
                socket.write_all(&[update, both].concat()).await.expect("open");
                tokio::time::sleep(100 * MS).await;
            }
        }
        assert_eq!(data, 100_000, "{path}");
    }
    assert!(edge.metrics().contains("tidegate_gateway_slow_readers_total 2"));
}
