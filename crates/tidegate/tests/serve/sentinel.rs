//! The shared tier's primary dies, or appears to, under load; the sentinels promote another server.

use std::time::Duration;

use harness::Sentinels;
use parking_lot::Mutex;

use crate::faults::{wait_cached, watch_nodes};
use crate::stack::Stack;

/// Runs two nodes on a primary with sentinels. `fault` injects faults while four readers and a writer run;
/// afterwards both nodes must use the other server as the primary.
fn assert_failover(span: Duration, fault: impl Fn(&mut Sentinels, u32)) {
    let sentinels = Sentinels::start().expect("sentinels");
    let stack = Stack::start().with_shared_at(sentinels.url());
    let (first, second) = (stack.node(), stack.node());
    let nodes = [&first, &second];
    nodes.into_iter().for_each(wait_cached);
    let sentinels = Mutex::new(sentinels);
    let result = watch_nodes(
        &stack,
        &nodes,
        span,
        |_, step| fault(&mut sentinels.lock(), step),
        || sentinels.lock().wait_for_primary(1).expect("a failover"),
    );
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0, "unproven = read-origin, and the origin was available");
    for node in nodes {
        node.wait("the new primary", |node| {
            node.metric("tidegate_shared_primary_changes_total") >= 1.0
        });
        wait_cached(node);
    }
    // Invalidations go through the new primary and reach the node that does not lead.
    stack.price(42, 9_000);
    for node in nodes {
        node.wait("the new price", |node| node.cents(42) == Some(9_000));
    }
}

#[test]
fn primary_killed() {
    assert_failover(Duration::from_secs(7), |sentinels, step| {
        if step == 10 {
            sentinels.server(0).crash().expect("killed");
        }
    });
}

/// The primary freezes, and still acts as the primary when it resumes.
#[test]
fn race_21_primary_frozen_and_resumed() {
    assert_failover(Duration::from_secs(9), |sentinels, step| match step {
        10 => sentinels.server(0).pause().expect("frozen"),
        80 => {
            sentinels.wait_for_primary(1).expect("a failover");
            sentinels.server(0).resume().expect("resumed");
        }
        _ => {}
    });
}
