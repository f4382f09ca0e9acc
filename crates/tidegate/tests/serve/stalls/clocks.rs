//! Wall clocks that jump by an hour, forwards and back, under load. Bounds count monotonic time: no answer is
//! older than its shown bound or its contract allows, and no epoch is reset.

use std::time::Duration;

use harness::{Postgres, WallClock, http};

use crate::faults::{WatchResult, wait_cached, watch_nodes};
use crate::stack::{DEADLINE, Node, Stack};

const HOUR: i64 = 3_600;
const SPAN: Duration = Duration::from_secs(6);

/// Sets the clock an hour ahead, an hour behind, and back to the right time.
fn jump(clock: &WallClock, step: u32) {
    match step {
        15 => clock.set_offset(HOUR),
        40 => clock.set_offset(-HOUR),
        65 => clock.set_offset(0),
        _ => return,
    }
    .expect("set");
}

fn assert_recovered(result: &WatchResult, nodes: &[&Node]) {
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0, "the origin was available");
    for node in nodes {
        wait_cached(node);
        node.wait("a small bound", |node| {
            node.status()["bound_ms"].as_f64().is_some_and(|bound| bound < 1_000.0)
        });
    }
}

/// Returns the seconds from a new commit, by the database's clock, to its application, by the leader's clock.
fn applied_after_commit(stack: &Stack, leader: &Node) -> Option<i64> {
    stack.price(43, 1);
    let journal = http::get(leader.admin, "/api/v1/invalidations", DEADLINE).ok()?;
    let journal: serde_json::Value = serde_json::from_slice(&journal.body).ok()?;
    let last = journal.as_array()?.last()?;
    let (applied_ms, committed_us) = (last["shared_ms"].as_i64()?, last["committed_us"].as_i64()?);
    Some((applied_ms - committed_us / 1_000) / 1_000)
}

#[test]
fn node_wall_clock_jumps_an_hour() {
    let stack = Stack::start();
    let clock = WallClock::start().expect("a clock");
    let wrong = stack.launch_with_env(&clock.env(), |config| config).ready();
    wrong.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    let right = stack.node();
    // The node's clock differs from the database's as set.
    for off in [HOUR, -HOUR, 0] {
        clock.set_offset(off).expect("set");
        wrong.wait("another time", |node| {
            applied_after_commit(&stack, node).is_some_and(|late| (late - off).abs() < 600)
        });
    }

    let incarnations = wrong.metric("tidegate_incarnations_total");
    let nodes = [&right, &wrong];
    let result = watch_nodes(&stack, &nodes, SPAN, |_, step| jump(&clock, step), || ());
    assert_recovered(&result, &nodes);
    let after = wrong.metric("tidegate_incarnations_total");
    assert_eq!(after, incarnations, "no epoch reset");
}

/// The server may take its walsender's client for dead; the feed reconnects.
#[test]
fn postgres_wall_clock_jumps_an_hour() {
    let clock = WallClock::start().expect("a clock");
    let stack = Stack::with_postgres(Postgres::builder().clock(&clock));
    let [one, other] = [stack.node(), stack.node()];
    let seconds = |stack: &Stack| -> i64 {
        stack.sql("select extract(epoch from clock_timestamp())::bigint").parse().expect("seconds")
    };
    let before = seconds(&stack);
    clock.set_offset(HOUR).expect("set");
    assert!(seconds(&stack) - before >= HOUR, "the clock did not jump");
    clock.set_offset(0).expect("set");
    let nodes = [&one, &other];
    let result = watch_nodes(&stack, &nodes, SPAN, |_, step| jump(&clock, step), || ());
    assert_recovered(&result, &nodes);
}
