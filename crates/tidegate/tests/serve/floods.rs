//! Floods of HTTP/2 frames, which cost their sender little and other servers a lot.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use harness::Nginx;

use crate::idle::memory;
use crate::site::{Site, status};
use crate::stack::{DEADLINE, now};

/// The connections of one flood.
const CONNECTIONS: usize = 4;

/// The most bytes that one of them sends.
const BYTES: usize = 8 << 20;

/// The most memory that a flood may leave in use or take for a while: much less than it sends.
const MEMORY_MAX: u64 = 48 << 20;

/// The kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// The flags of HEADERS.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The beginning of a connection.
fn preface(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat()
}

fn literal(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

/// The fields of a request; `method`: its index in the static table.
fn fields(method: u8, path: &str) -> Vec<u8> {
    [&[method, 0x86, 0x04][..], &literal(path), &[0x01], &literal("shop")].concat()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields(0x82, path))
}

fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(0x83, path))
}

/// The number of a client's stream.
fn stream(nth: usize) -> u32 {
    u32::try_from(2 * nth + 1).expect("few")
}

struct Flood {
    name: &'static str,
    begin: Vec<u8>,
    /// Returns the nth part.
    part: fn(usize) -> Vec<u8>,
    /// Whether the server ends the connection.
    is_ended: bool,
}

/// Sends a flood on one connection, without reading. Returns the number of sent bytes, and whether the server has ended
/// the connection.
fn send(server: SocketAddr, flood: &Flood) -> (usize, bool) {
    let mut socket = TcpStream::connect(server).expect("connects");
    socket.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    socket.write_all(&flood.begin).expect("writes");
    let (begun, mut sent, mut nth) = (now(), 0, 0);
    while sent < BYTES && begun.elapsed() < Duration::from_secs(6) {
        let mut part = Vec::new();
        while part.len() < 16 << 10 {
            part.extend((flood.part)(nth));
            nth += 1;
        }
        match socket.write_all(&part) {
            Ok(()) => sent += part.len(),
            // The server does not read on, since its answers are not read.
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(_) => return (sent, true),
        }
    }
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let mut answers = [0; 16 << 10];
    loop {
        match socket.read(&mut answers) {
            Ok(0) => return (sent, true),
            Ok(_) => {}
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (sent, false);
            }
            Err(_) => return (sent, true),
        }
    }
}

/// Floods a server from several connections. Returns whether each was ended. Others are served meanwhile.
fn flood(server: SocketAddr, flood: &Flood) -> Vec<bool> {
    thread::scope(|scope| {
        let floods: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(|| send(server, flood))).collect();
        for _ in 0..20 {
            assert_eq!(status(server, "GET", "/page/10"), 200, "{}", flood.name);
        }
        floods.into_iter().map(|flood| flood.join().expect("no panic").1).collect()
    })
}

/// nginx with HTTP/2 in front of the same application, if it is installed.
fn nginx(site: &Site) -> Option<Nginx> {
    let upstream = site.application.addr();
    let conf = |at: &harness::Site| {
        format!(
            "server {{ listen {} http2; location / {{ proxy_pass http://{upstream}; }} }}",
            at.listen
        )
    };
    Nginx::start(1, conf).ok()
}

#[expect(clippy::print_stdout, reason = "the figures of a test, beside those of nginx")]
fn endure(floods: &[Flood]) {
    let site = Site::with("[edge]\nmax_page_size = \"1MiB\"\n");
    let process = site.node.process.id();
    for each in floods {
        let before = memory(process);
        let ended = flood(site.node.gateway, each);
        let grown = memory(process).saturating_sub(before);
        println!("{}: ended {ended:?}, memory grown by {} KiB", each.name, grown >> 10);
        assert!(grown <= MEMORY_MAX, "{}: {grown} bytes", each.name);
        if each.is_ended {
            assert_eq!(ended, [true; CONNECTIONS], "{}", each.name);
        }
        site.node
            .wait("closed connections", |node| node.metric("tidegate_gateway_connections") < 1.0);
        assert_eq!(status(site.node.gateway, "GET", "/page/10"), 200, "{}", each.name);
    }
    // A connection of HTTP/1.1 has no place in a listener of HTTP/2 there, so nginx shows that the floods are sent.
    if let Some(nginx) = nginx(&site) {
        for each in floods {
            println!("{}: nginx {:?}", each.name, send(nginx.addr(), each));
        }
    }
}

/// CVE-2019-9512, 9513, 9515, 9518: each frame has an answer, or none, and does nothing.
#[test]
fn floods_of_idle_frames_leave_others_served() {
    endure(&[
        Flood {
            name: "SETTINGS",
            begin: preface(&[]),
            part: |_| frame(SETTINGS, 0, 0, &[]),
            is_ended: false,
        },
        Flood {
            name: "PING",
            begin: preface(&[]),
            part: |_| frame(PING, 0, 0, &[7; 8]),
            is_ended: false,
        },
        Flood {
            name: "PRIORITY",
            begin: preface(&[]),
            part: |nth| frame(PRIORITY, 0, stream(nth % 10_000), &[0, 0, 0, 0, 16]),
            is_ended: false,
        },
        Flood {
            name: "WINDOW_UPDATE of a byte",
            begin: [preface(&[]), post(1, "/upload")].concat(),
            part: |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            is_ended: false,
        },
        Flood {
            name: "empty DATA",
            begin: [preface(&[]), post(1, "/upload")].concat(),
            part: |_| frame(DATA, 0, 1, &[]),
            is_ended: false,
        },
    ]);
}

/// CVE-2024-27316, 2019-9516 and the bomb of HPACK: the fields of one request.
#[test]
fn floods_of_fields_end_the_connection() {
    let large = [&[0x40][..], &literal("x-bomb"), &[0x7f, 0x81, 0x1e], &[b'a'; 4_000]].concat();
    endure(&[
        Flood {
            name: "CONTINUATION",
            begin: [preface(&[]), frame(HEADERS, END_STREAM, 1, &fields(0x82, "/page/10"))]
                .concat(),
            part: |nth| {
                let field = [&[0x00][..], &literal(&format!("x-{nth}")), &literal("b")].concat();
                frame(CONTINUATION, 0, 1, &field)
            },
            is_ended: true,
        },
        Flood {
            name: "empty CONTINUATION",
            begin: [preface(&[]), frame(HEADERS, END_STREAM, 1, &fields(0x82, "/page/10"))]
                .concat(),
            part: |_| frame(CONTINUATION, 0, 1, &[]),
            is_ended: true,
        },
        Flood {
            name: "names without length",
            begin: [preface(&[]), frame(HEADERS, END_STREAM, 1, &fields(0x82, "/page/10"))]
                .concat(),
            part: |_| frame(CONTINUATION, 0, 1, &[0x00, 0, 0].repeat(100)),
            is_ended: true,
        },
        Flood {
            name: "references to a large field",
            begin: [
                preface(&[]),
                frame(HEADERS, END_STREAM, 1, &[fields(0x82, "/page/10"), large].concat()),
            ]
            .concat(),
            part: |_| frame(CONTINUATION, 0, 1, &[0xbe; 1_000]),
            is_ended: true,
        },
    ]);
}

/// CVE-2023-44487 and CVE-2025-8671: requests that are over for the client, and not for the application.
#[test]
fn floods_of_resets_end_the_connection() {
    endure(&[
        Flood {
            name: "rapid reset",
            begin: preface(&[]),
            part: |nth| {
                let reset = frame(RST_STREAM, 0, stream(nth), &[0, 0, 0, 8]);
                [get(stream(nth), "/private/10"), reset].concat()
            },
            is_ended: true,
        },
        Flood {
            name: "made you reset by a window that grows by nothing",
            begin: preface(&[]),
            part: |nth| {
                let nothing = frame(WINDOW_UPDATE, 0, stream(nth), &[0; 4]);
                [get(stream(nth), "/private/10"), nothing].concat()
            },
            is_ended: true,
        },
        Flood {
            name: "made you reset by a window that is too large",
            begin: preface(&[]),
            part: |nth| {
                let most = frame(WINDOW_UPDATE, 0, stream(nth), &[0x7f, 0xff, 0xff, 0xff]);
                [get(stream(nth), "/private/10"), most].concat()
            },
            is_ended: true,
        },
        Flood {
            name: "made you reset by data after the end",
            begin: preface(&[]),
            part: |nth| {
                [get(stream(nth), "/private/10"), frame(DATA, 0, stream(nth), &[1])].concat()
            },
            is_ended: true,
        },
        Flood {
            name: "malformed requests",
            begin: preface(&[]),
            part: |nth| frame(HEADERS, END_STREAM | END_HEADERS, stream(nth), &[0x82, 0x82]),
            is_ended: true,
        },
    ]);
}

/// The application hears of few of the requests that are reset at once.
#[test]
fn reset_requests_do_not_reach_the_application_without_limit() {
    let site = Site::start();
    let flood = Flood {
        name: "rapid reset",
        begin: preface(&[]),
        part: |nth| {
            let reset = frame(RST_STREAM, 0, stream(nth), &[0, 0, 0, 8]);
            [get(stream(nth), "/slow/2000/a"), reset].concat()
        },
        is_ended: true,
    };
    let (sent, is_ended) = send(site.node.gateway, &flood);
    assert!(is_ended, "{sent} bytes");
    let heard = site.application.requests("/slow/2000/a");
    assert!(heard <= 256, "{heard} requests");
    assert_eq!(
        harness::http::get(site.node.gateway, "/page/10", DEADLINE).expect("an answer").status,
        200
    );
}
