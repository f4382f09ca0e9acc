//! The memory of idle connections over TLS.

use super::Shop;
use super::client::{Stream, request_on};
use crate::idle::memory;

/// The connections of the measurement.
const CONNECTIONS: usize = 600;

/// The most memory of one, in a build without optimisation, whose heap has grown for the handshakes. That no buffer is
/// left is a test of the stream itself.
const BYTES_MAX: u64 = 24 << 10;

#[test]
fn idle_connections_over_tls_take_little_memory() {
    let limits = "gateway_connections_per_client = 10000\n";
    let shop = Shop::with(limits, "[edge]\nhead_timeout = \"60s\"\n");
    let (client, node) = (shop.client(), &shop.node);
    let process = node.process.id();
    let open = |open: &mut Vec<Stream>, count: usize| {
        for _ in 0..count {
            let mut stream = client.connect(node.gateway, "localhost").expect("connects");
            assert_eq!(request_on(&mut stream, "/page").expect("a page"), 200);
            open.push(stream);
        }
        let parked = || node.metric("tidegate_gateway_parked_connections");
        node.wait("connections at rest", |_| parked() >= open.len() as f64);
    };
    let mut streams = Vec::new();
    // The heap grows for the first handshakes.
    open(&mut streams, CONNECTIONS / 10);
    let begun = memory(process);
    open(&mut streams, CONNECTIONS);
    let grown = memory(process).saturating_sub(begun) / CONNECTIONS as u64;
    println!("over TLS: {grown} bytes for each connection");
    assert!(grown <= BYTES_MAX, "{grown} bytes for each connection");
    for stream in streams.iter_mut().step_by(50) {
        assert_eq!(request_on(stream, "/page").expect("a page"), 200);
    }
}
