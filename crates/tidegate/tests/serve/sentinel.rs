//! The shared tier's primary dies, or seems to, under load; sentinels make another one.

use std::time::Duration;

use harness::Sentinels;
use parking_lot::Mutex;

use crate::faults::{cached_again, watch_all};
use crate::stack::Stack;

/// Two nodes on a primary that sentinels watch. `disturb` breaks things while four readers and a
/// writer are at work; then the other server has to be the primary, and both nodes on it.
fn survives(span: Duration, disturb: impl Fn(&mut Sentinels, u32)) {
    let sentinels = Sentinels::start().expect("sentinels");
    let stack = Stack::start().with_shared_at(sentinels.url());
    let (first, second) = (stack.node(), stack.node());
    let nodes = [&first, &second];
    nodes.into_iter().for_each(cached_again);
    let sentinels = Mutex::new(sentinels);
    let seen = watch_all(
        &stack,
        &nodes,
        span,
        |_, step| disturb(&mut sentinels.lock(), step),
        || sentinels.lock().wait_for_primary(1).expect("a failover"),
    );
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0, "the contract says read-origin, and the origin was there");
    for node in nodes {
        node.wait("the new primary", |node| {
            node.metric("tidegate_shared_primary_changes_total") >= 1.0
        });
        cached_again(node);
    }
    // Invalidations go through the new one, and reach the node that does not lead.
    stack.price(42, 9_000);
    for node in nodes {
        node.wait("the new price", |node| node.cents(42) == Some(9_000));
    }
}

#[test]
fn the_primary_is_killed_under_load() {
    survives(Duration::from_secs(7), |sentinels, step| {
        if step == 10 {
            sentinels.server(0).crash().expect("killed");
        }
    });
}

/// The primary freezes, and wakes up in the belief that it is one still.
#[test]
fn race_21_the_primary_is_frozen_under_load_and_wakes_up() {
    survives(Duration::from_secs(9), |sentinels, step| match step {
        10 => sentinels.server(0).pause().expect("frozen"),
        80 => {
            sentinels.wait_for_primary(1).expect("a failover");
            sentinels.server(0).resume().expect("woken");
        }
        _ => {}
    });
}
