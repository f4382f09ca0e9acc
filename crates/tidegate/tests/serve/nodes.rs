//! Two nodes that share one slot.

use std::time::Duration;

use crate::stack::{DEADLINE, Stack, tier};

#[test]
fn dead_leader_replaced() {
    let stack = Stack::start();
    let mut first = stack.node();
    let second = stack.node();
    assert_eq!(leaders(&[&first, &second]), 1.0);
    for node in [&first, &second] {
        node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    }
    stack.price(42, 2);
    for node in [&first, &second] {
        node.wait("new price", |node| node.cents(42) == Some(2));
        node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    }

    first.process.kill9().expect("killed");
    // No node follows now; the slot keeps the commit.
    stack.price(42, 3);
    second.wait("new price", |node| node.cents(42) == Some(3));
    second.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    stack.price(42, 4);
    second.wait("new price", |node| node.cents(42) == Some(4));
    assert_eq!(second.metric("tidegate_incarnations_total"), 0.0, "no epoch reset");
}

#[test]
fn resumed_node_answers_fresh() {
    let stack = Stack::start();
    let first = stack.node();
    let mut second = stack.node();
    second.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    second.process.pause().expect("stopped");
    stack.price(42, 5);
    first.wait("new price", |node| node.cents(42) == Some(5));
    std::thread::sleep(Duration::from_secs(2));
    second.process.resume().expect("continued");
    assert_eq!(
        second.cents(42),
        Some(5),
        "its own entry is two seconds old, the contract allows one"
    );
}

#[test]
fn sigterm_exits_cleanly() {
    let stack = Stack::start();
    let mut node = stack.node();
    let status = node.process.terminate(DEADLINE).expect("exited");
    assert!(status.success(), "{status}");
    stack.price(42, 6);
    let node = stack.node();
    assert_eq!(node.cents(42), Some(6));
}

fn leaders(nodes: &[&crate::stack::Node]) -> f64 {
    nodes.iter().map(|node| node.metric("tidegate_feed_leader")).sum()
}
