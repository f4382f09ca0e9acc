//! One client or one broken page leaves the others alone, with the default options. Most tests run against
//! nginx too, where it is installed.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::Application;

use crate::floods::frame;
use crate::site::{Site, open, status, wait_for};
use crate::stack::now;

/// Sends requests at once, and asserts that all are served.
fn assert_served(server: SocketAddr, requests: &[(&'static str, String)]) {
    let statuses: Vec<u16> = thread::scope(|scope| {
        let send = |(method, path): &(&'static str, String)| status(server, method, path);
        let sent: Vec<_> =
            requests.iter().map(|request| scope.spawn(move || send(request))).collect();
        sent.into_iter().map(|sent| sent.join().expect("no panic")).collect()
    });
    let failed: Vec<&u16> = statuses.iter().filter(|status| **status != 200).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), statuses.len());
}

/// Requests of all ways to the upstream: cold pages, private pages and writes.
fn other_requests(round: &str) -> Vec<(&'static str, String)> {
    let of = |method, path: &'static str| {
        (0..15).map(move |nth| (method, format!("/{path}/10/{round}/{nth}")))
    };
    of("GET", "page").chain(of("GET", "private")).chain(of("POST", "upload")).collect()
}

#[test]
fn broken_page_hurts_no_other_page() {
    let site = Site::start();
    site.beside_nginx(|server| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let read_broken = || {
                while !done.load(Ordering::Relaxed) {
                    assert!(matches!(status(server, "GET", "/status/503"), 502 | 503));
                    thread::sleep(Duration::from_millis(20));
                }
            };
            for _ in 0..4 {
                scope.spawn(read_broken);
            }
            // Long enough for a breaker to open.
            thread::sleep(Duration::from_secs(1));
            let requests: Vec<_> =
                (0..10).flat_map(|round| other_requests(&format!("{server}-{round}"))).collect();
            let others = requests.iter().map(|(method, path)| status(server, method, path));
            let failed = others.filter(|status| *status != 200).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0, "of {}", requests.len());
        });
    });
}

#[test]
fn slow_reports_hurt_no_other_page() {
    let site = Site::start();
    site.beside_nginx(|server| {
        let reports = || (0..12).map(|nth| ("GET", format!("/slow/5500/{server}/{nth}")));
        let reports: Vec<_> = reports().collect();
        assert_served(server, &reports);
        assert_served(server, &other_requests(&format!("{server}")));
    });
}

#[test]
fn restarted_upstream_used_within_a_second() {
    let Site { application, node, folder: _folder } = Site::start();
    let address = application.addr();
    drop(application);
    let down = now();
    let mut requests = 0;
    while down.elapsed() < Duration::from_secs(5) {
        requests += 1;
        assert!(status(node.gateway, "GET", &format!("/page/10/{requests}")) >= 500);
        thread::sleep(Duration::from_millis(10));
    }
    let application = Application::start_at(address).expect("the address is free");
    thread::sleep(Duration::from_millis(900));
    assert_served(node.gateway, &other_requests("back"));
    assert!(application.requests("/page/10/back") > 0);
}

#[test]
fn event_streams_take_no_places() {
    let site = Site::start();
    site.beside_nginx(|server| {
        let get = b"GET /open HTTP/1.1\r\nhost: shop\r\n\r\n";
        let before = site.application.requests("/open");
        let streams: Vec<_> = (0..600).map(|_| open(server, get)).collect();
        wait_for("600 streams", || site.application.requests("/open") == before + 600);
        assert_served(server, &other_requests(&format!("{server}")));
        drop(streams);
    });
}

#[test]
fn slow_readers_take_no_places() {
    let site = Site::start();
    site.beside_nginx(|server| {
        let get = b"GET /private/5000000 HTTP/1.1\r\nhost: shop\r\n\r\n";
        let before = site.application.requests("/private/5000000");
        let readers: Vec<_> = (0..560).map(|_| open(server, get)).collect();
        let requests = || site.application.requests("/private/5000000");
        wait_for("560 readers", || requests() == before + 560);
        assert_served(server, &other_requests(&format!("{server}")));
        drop(readers);
    });
}

#[test]
fn dripping_uploads_take_no_places() {
    let site = Site::start();
    site.beside_nginx(|server| {
        let post = b"POST /upload HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000\r\n\r\nx";
        let mut uploads: Vec<_> = (0..540).map(|_| open(server, post)).collect();
        uploads.iter_mut().for_each(|upload| upload.write_all(b"x").expect("open"));
        assert_served(server, &other_requests(&format!("{server}")));
    });
    // The first part does not fit into the buffer of uploads.
    let post = b"POST /upload HTTP/1.1\r\nhost: shop\r\ncontent-length: 1000000\r\n\r\n";
    let part = [post.as_slice(), &[b'x'; 100_000]].concat();
    let uploads: Vec<_> = (0..540).map(|_| open(site.node.gateway, &part)).collect();
    assert_served(site.node.gateway, &other_requests("streamed"));
    drop(uploads);
}

/// A connection of HTTP/2 with GETs on 120 streams, which allows no byte of a response's body.
fn window_zero(path: &str) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    let headers = [&[0x82, 0x86, 0x04][..], &text(path), &[0x01], &text("shop")].concat();
    for nth in 0..120 {
        // END_STREAM and END_HEADERS.
        bytes.extend(frame(1, 5, 2 * nth + 1, &headers));
    }
    bytes
}

#[test]
fn streams_without_window_take_no_places() {
    let site = Site::with("[edge]\nclient_timeout = \"3s\"\n");
    let server = site.node.gateway;
    let connections: Vec<_> =
        (0..5).map(|nth| open(server, &window_zero(&format!("/private/100000/{nth}")))).collect();
    wait_for("600 streams", || site.application.requests("/private/100000") == 600);
    assert_served(server, &other_requests("h2"));
    let reset = || site.node.metric("tidegate_gateway_slow_readers_total") == 600.0;
    wait_for("reset streams", reset);
    assert_eq!(site.node.metric("tidegate_gateway_connections"), 5.0, "the connections stay open");
    drop(connections);
}

#[test]
fn cold_pages_wait_for_places() {
    let site = Site::start();
    site.beside_nginx(|server| {
        let pages: Vec<_> =
            (0..500).map(|nth| ("GET", format!("/slow/1000/{server}/{nth}"))).collect();
        assert_served(server, &pages);
    });
}

#[test]
fn long_pages_and_streams_complete() {
    let site = Site::with("timeout = \"30s\"\n");
    site.beside_nginx(|server| {
        let long = [
            ("GET", format!("/slow/7000/{server}")),
            ("GET", format!("/trickle/8000/{server}")),
            // A long poll, and a stream of events with long pauses.
            ("GET", format!("/slow/12000/{server}?poll")),
            ("POST", format!("/slow/12000/{server}")),
            ("GET", format!("/events/12000/{server}")),
        ];
        assert_served(server, &long);
    });
}

#[test]
fn requests_sent_once() {
    let site = Site::start();
    let server = site.node.gateway;
    for (method, path, expected, sent) in [
        ("GET", "/status/502/page", 502, 1),
        ("POST", "/status/502/write", 502, 1),
        ("GET", "/close/0/page", 502, 2),
        ("POST", "/close/0/write", 502, 1),
        ("DELETE", "/close/0/delete", 502, 1),
    ] {
        assert_eq!(status(server, method, path), expected, "{method} {path}");
        assert_eq!(site.application.requests(path), sent, "{method} {path}");
    }
}

/// A stored page of 3.9 MB at 250 KB/s: longer than every limit that the connection has.
#[test]
fn slow_reader_gets_whole_stored_page() {
    let site = Site::with("[edge]\nclient_timeout = \"5s\"\n");
    site.beside_nginx(|server| {
        let path = "/page/3900000";
        assert_eq!(status(server, "GET", path), 200);
        let get = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        let mut socket = open(server, get.as_bytes());
        let (begun, mut part, mut read) = (now(), vec![0; 25_000], 0);
        loop {
            match socket.read(&mut part) {
                Ok(0) => break,
                Ok(size) => read += size,
                Err(err) => panic!("cut after {read} bytes, {:?}: {err}", begun.elapsed()),
            }
            thread::sleep(pause(begun, read));
        }
        assert!(read > 3_900_000, "{read} bytes");
    });
}

/// The time by which a reader of 250 KB/s is early.
fn pause(begun: Instant, read: usize) -> Duration {
    let due = Duration::from_micros(4 * read as u64);
    due.saturating_sub(begun.elapsed())
}
