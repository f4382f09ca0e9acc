//! Starts without the shared tier: the node serves from its origins within the contracts, and the tier joins later.

use std::net::SocketAddr;

use drill::{Fault, FaultProxy};
use harness::{Port, Redis, http};

use crate::faults::wait_cached;
use crate::stack::{DEADLINE, Node, Stack, bound_ms, tier};

/// Waits until the node is ready; that takes seconds, not the time after which a start is given up.
fn ready(mut node: Node) -> Node {
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    node
}

/// The node answers from the origin, with a proven bound, and sees each new price.
fn assert_degraded(stack: &Stack, node: &Node) {
    for cents in [2_000, 3_000] {
        stack.price(42, cents);
        let answer = node.get(42);
        assert_eq!((answer.status, node.cents(42)), (200, Some(cents)), "{answer:?}");
        assert_eq!(tier(&answer), Some("origin"), "{answer:?}");
        assert!(bound_ms(&answer).is_some_and(|bound| bound <= 1_000.0), "{answer:?}");
    }
    assert_eq!(node.page().status, 200, "the gateway is open");
}

fn assert_joins(stack: &Stack, node: &Node) {
    wait_cached(node);
    stack.price(42, 4_000);
    node.wait("the new price", |node| node.cents(42) == Some(4_000));
    wait_cached(node);
}

#[test]
fn refused_redis_joins_later() {
    let stack = Stack::start();
    let proxy = FaultProxy::start(stack.redis.addr()).expect("a proxy");
    proxy.set(Fault::reset());
    let stack = stack.with_redis_at(proxy.addr());
    let node = ready(stack.launch(|config| config));
    assert_degraded(&stack, &node);
    proxy.heal();
    assert_joins(&stack, &node);
}

#[test]
fn silent_redis_joins_later() {
    let stack = Stack::start();
    let proxy = FaultProxy::start(stack.redis.addr()).expect("a proxy");
    proxy.set(Fault::black_hole());
    let stack = stack.with_redis_at(proxy.addr());
    let node = ready(stack.launch(|config| config));
    assert_degraded(&stack, &node);
    proxy.heal();
    assert_joins(&stack, &node);
}

/// Neither node has the tier or its stream, and one has no feed, since the other one holds the slot.
#[test]
fn nodes_without_redis_and_feed_answer_right() {
    let stack = Stack::start();
    let port = Port::reserve().expect("a free port");
    let nothing: SocketAddr = port.addr();
    let stack = stack.with_redis_at(nothing);
    let nodes = [(); 2].map(|()| ready(stack.launch(|config| config)));
    for node in &nodes {
        assert_degraded(&stack, node);
    }
}

fn with_password(password: &str) -> Redis {
    let redis = Redis::start().expect("Redis starts");
    redis.cli(&["config", "set", "requirepass", password]).expect("a password");
    redis
}

#[test]
fn wrong_redis_password_exits_3() {
    let redis = with_password("right");
    let stack = Stack::start().with_redis_at(redis.addr());
    for login in ["", ":hunter2@"] {
        let mut node =
            stack.launch(|config| config.replace("redis://", &format!("redis://{login}")));
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains("it refuses the login"), "{output}");
        assert!(!output.contains("hunter2"), "{output}");
    }
}

/// The password is changed with its file, and connections are closed.
#[test]
fn rotated_redis_password_used_without_restart() {
    let redis = with_password("hunter2");
    let stack = Stack::start().with_redis_at(redis.addr());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").expect("written");
    let url = format!("\"redis://{}\"", redis.addr());
    let with_file = format!("{url}\npassword_file = \"{}\"", file.display());
    let node = stack.launch(|config| config.replace(&url, &with_file)).ready();
    wait_cached(&node);
    let cli = |words: &[&str]| redis.cli(&[&["-a", "hunter2"], words].concat());
    cli(&["config", "set", "requirepass", "hunter3"]).expect("changed");
    std::fs::write(&file, "hunter3\n").expect("written");
    redis.cli(&["-a", "hunter3", "client", "kill", "type", "normal"]).expect("closed");
    stack.price(42, 4_000);
    node.wait("the new price", |node| node.cents(42) == Some(4_000));
    wait_cached(&node);
    let answer = http::get(node.admin, "/readyz", DEADLINE).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}
