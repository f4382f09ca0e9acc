//! Senders that are slow, large or unknown.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Guarded, wait};
use crate::stack::{DEADLINE, Stack};

/// A connection that has sent `text`.
fn connect(address: SocketAddr, text: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("set");
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("set");
    // A node that does not read stops the sender.
    let _ = stream.write_all(text);
    stream
}

/// Reads until the node closes the connection.
fn read_to_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
        Err(err) => panic!("the node keeps the connection: {err}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn post(path: &str, length: usize, headers: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// Returns the resident memory of a process, in KiB.
fn memory_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn unknown_sender_refused_before_its_body() {
    let (shop, _) = Guarded::start();
    for (path, headers) in [
        ("/api/v1/purge", ""),
        ("/api/v1/invalidate", "authorization: Bearer tgt_x\r\n"),
        ("/api/v1/token", ""),
        ("/api/v1/events/shop", ""),
    ] {
        // Nothing of the body is sent, so an answer shows that it was not waited for.
        let mut stream = connect(shop.node.admin, &post(path, 400_000, headers));
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("an answer");
        let status = String::from_utf8_lossy(&start).into_owned();
        let expected = if path.contains("events") { "HTTP/1.1 404" } else { "HTTP/1.1 401" };
        assert_eq!(status, expected, "{path}");
    }
}

#[test]
fn unfinished_bodies_take_bounded_memory() {
    let stack = Stack::start();
    let events = "[source.shop.events]\nfrom = \"debezium\"\n\
                  secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\n[shared]";
    let mut node = stack.launch(|config| config.replace("[shared]", events));
    node.process.wait_for_line("admin ", DEADLINE).expect("listening");
    wait("health", || harness::http::get(node.admin, "/healthz", DEADLINE).is_ok());
    let before = memory_kib(node.process.id());
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let signed = format!(
        "webhook-id: 1\r\nwebhook-timestamp: {now_s}\r\nwebhook-signature: v1,{}=\r\n",
        "A".repeat(43)
    );
    let large = 15 << 20;
    let body = vec![b'x'; large];
    let senders: Vec<TcpStream> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..30)
            .map(|_| {
                let (signed, body) = (&signed, &body);
                scope.spawn(move || {
                    let head = post("/api/v1/events/shop", large + 1, signed);
                    connect(node.admin, &[&head, body.as_slice()].concat())
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("sent")).collect()
    });
    let grown = memory_kib(node.process.id()).saturating_sub(before) >> 10;
    // Two bodies of one address, and the received parts of the heads of other connections.
    assert!(grown < 100, "{grown} MiB for {} senders", senders.len());
    let other = harness::http::get(node.admin, "/api/v1/status", DEADLINE).expect("an answer");
    assert_eq!(other.status, 200);
}

#[test]
fn too_large_body_refused_at_its_head() {
    let stack = Stack::start();
    let node = stack.node();
    let answer =
        read_to_end(connect(node.admin, &post("/api/v1/purge", 600_000, "connection: close\r\n")));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("at most 524288 bytes"), "{answer}");
}

#[test]
fn slow_heads_are_cut_off() {
    let stack = Stack::start();
    let node = stack.node();
    for address in [node.admin, node.data] {
        let silent = connect(address, b"");
        let started = connect(address, b"GET /healthz HTTP/1.1\r\nhost: local");
        let mut second = connect(address, b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut answer = [0; 12];
        second.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 404");
        second.write_all(b"GET /x HTTP/1.1\r\nhost: local").expect("sent");
        assert_eq!(read_to_end(silent), "");
        assert_eq!(read_to_end(started), "");
        read_to_end(second);
    }
}
