//! Idle connections: their memory, and the requests after them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::site::Site;
use crate::stack::{DEADLINE, Node, start};

/// The connections of one measurement.
const CONNECTIONS: usize = 3_000;

/// The most memory of one. The goal of a release, which the benchmark `connections` measures, is 2 KiB; futures without
/// optimisation are larger, and the heap has grown while the connections were in use.
const BYTES_MAX: u64 = 6 << 10;

const GET: &[u8] = b"GET /page/10 HTTP/1.1\r\nhost: shop\r\n\r\n";

/// Returns the resident memory of a process, in bytes.
pub(crate) fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("a number") << 10
}

fn connect(server: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(server).expect("connects");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket
}

/// Sends the rest of a request, and reads the response to it.
fn exchange(socket: &mut TcpStream, request: &[u8]) {
    socket.write_all(request).expect("writes");
    read_response(socket);
}

/// Reads a response, and nothing after it.
fn read_response(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 10\r\n"), "{head}");
    socket.read_exact(&mut [0; 10]).expect("the body");
}

fn site() -> Site {
    let limits = "gateway_connections_per_client = 10000\ndata_connections_per_client = 10000\n";
    Site::started_by("[edge]\nhead_timeout = \"60s\"\n", limits, |config| start(config, &[]))
}

fn parked(node: &Node) -> f64 {
    node.metric("tidegate_gateway_parked_connections")
}

#[test]
fn idle_connections_take_little_memory() {
    let site = site();
    let node = &site.node;
    let mut warm = connect(node.gateway);
    exchange(&mut warm, GET);
    let begun = memory(node.process.id());
    let mut open = vec![warm];
    while open.len() < CONNECTIONS {
        for _ in 0..CONNECTIONS / 10 {
            let mut socket = connect(node.gateway);
            exchange(&mut socket, GET);
            open.push(socket);
        }
        node.wait("connections without buffers", |node| parked(node) >= open.len() as f64);
    }
    let grown = memory(node.process.id()).saturating_sub(begun) / open.len() as u64;
    println!("after a request: {grown} bytes for each connection");
    assert!(grown <= BYTES_MAX, "{grown} bytes for each connection");
    for socket in open.iter_mut().step_by(100) {
        exchange(socket, GET);
    }
    drop(open);
    node.wait("closed connections", |node| parked(node) < 1.0);

    let begun = memory(node.process.id());
    let open: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(node.data)).collect();
    let grown = memory(node.process.id()).saturating_sub(begun) / open.len() as u64;
    println!("before a request: {grown} bytes for each connection");
    assert!(grown <= BYTES_MAX, "{grown} bytes for each connection");
    drop(open);
}

/// A request may arrive in parts, with a body, or with the next one in the same packet.
#[test]
fn parked_connection_serves_the_next_request() {
    let site = site();
    let node = &site.node;
    let mut socket = connect(node.gateway);
    node.wait("a connection that has sent nothing", |node| parked(node) >= 1.0);
    for number in 0..3 {
        let (first, rest) = GET.split_at(number * 3 + 1);
        socket.write_all(first).expect("writes");
        node.wait("a request that has begun", |node| parked(node) < 1.0);
        exchange(&mut socket, rest);
        node.wait("a connection at rest", |node| parked(node) >= 1.0);
    }
    exchange(&mut socket, &[GET, GET].concat());
    read_response(&mut socket);
    // With a body, the connection keeps its buffers until the next request without one.
    let post = b"POST /page/10 HTTP/1.1\r\nhost: shop\r\ncontent-length: 5\r\n\r\nhe";
    socket.write_all(post).expect("writes");
    exchange(&mut socket, b"llo");
    exchange(&mut socket, GET);
    node.wait("a connection at rest", |node| parked(node) >= 1.0);
}
