//! `tidegate health`, as health checks of containers run it.

use std::net::TcpListener;

use harness::Port;

use super::{Service, signal};
use crate::first_hour::Desk;
use crate::stack::{DEADLINE, Stack};

#[test]
fn ready_and_stopping_node_told_apart() {
    let desk = Desk::new();
    let mut service = Service::start("[node]\nstop_delay = \"60s\"\n", &[]);
    let admin = service.node.admin.to_string();
    let ready = desk.run(&["health", "--admin", &admin]);
    assert_eq!((ready.code, &*ready.stdout), (Some(0), "ready\n"), "{ready:?}");
    let json = desk.run(&["health", "--admin", &admin, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["ready"], true);

    signal(service.node.process.id(), "TERM");
    service.node.process.wait_for_line("stopping in", DEADLINE).expect("announced");
    let stopping = desk.run(&["health", "--admin", &admin]);
    assert_eq!((stopping.code, &*stopping.stdout), (Some(1), "not ready\n"), "{stopping:?}");
    assert!(stopping.stderr.contains("process does not work (required): stopping"), "{stopping:?}");
    assert_eq!(desk.run(&["health", "--admin", &admin, "--live"]).code, Some(0));
}

/// A restart would not bring the database back.
#[test]
fn database_away_is_alive() {
    let stack = Stack::start();
    let node = stack.node();
    let admin = node.admin.to_string();
    let desk = Desk::new();
    assert_eq!(desk.run(&["health", "--admin", &admin]).code, Some(0));
    drop(stack);
    let live = desk.run(&["health", "--admin", &admin, "--live"]);
    assert_eq!((live.code, &*live.stdout), (Some(0), "alive\n"), "{live:?}");
    let ready = desk.run(&["health", "--admin", &admin]);
    assert!(matches!(ready.code, Some(0 | 1)), "{ready:?}");
}

#[test]
fn absent_silent_and_other_server_are_no_node() {
    let desk = Desk::new();
    let closed = Port::reserve().expect("a free port");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let silent = silent.local_addr().expect("an address").to_string();
    let stack = Stack::start();
    for (admin, part) in [
        (closed.addr().to_string(), "no node answers"),
        (silent, "no answer within 300ms"),
        (stack.upstream.address.to_string(), ""),
    ] {
        let ended = desk.run(&["health", "--admin", &admin, "--timeout", "300ms"]);
        assert!(!matches!(ended.code, Some(0 | 2)), "{admin}: {ended:?}");
        assert!(ended.stderr.contains(part) && !ended.stdout.contains("ready"), "{ended:?}");
    }
}
