//! Wall clocks that jump by an hour, forwards and back, under load. Bounds are counted in monotonic time: no
//! answer is older than it shows or than its contract, and nothing is thrown away that need not be.

use std::time::Duration;

use harness::{Postgres, WallClock, http};

use crate::faults::{Watched, cached_again, watch_all};
use crate::stack::{Node, SOON, Stack};

const HOUR: i64 = 3_600;
const SPAN: Duration = Duration::from_secs(6);

/// An hour ahead, an hour behind, and right again.
fn jump(clock: &WallClock, step: u32) {
    match step {
        15 => clock.set_off(HOUR),
        40 => clock.set_off(-HOUR),
        65 => clock.set_off(0),
        _ => return,
    }
    .expect("set");
}

fn all_is_well(seen: &Watched, nodes: &[&Node]) {
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0, "the origin was there all the time");
    for node in nodes {
        cached_again(node);
        node.wait("a small bound", |node| {
            node.status()["bound_ms"].as_f64().is_some_and(|bound| bound < 1_000.0)
        });
    }
}

/// By how many seconds the leader applied a new commit later than the database says that it was made.
fn applied_after_commit(stack: &Stack, leader: &Node) -> Option<i64> {
    stack.price(43, 1);
    let journal = http::get(leader.admin, "/api/v1/invalidations", SOON).ok()?;
    let journal: serde_json::Value = serde_json::from_slice(&journal.body).ok()?;
    let last = journal.as_array()?.last()?;
    let (applied_ms, committed_us) = (last["shared_ms"].as_i64()?, last["committed_us"].as_i64()?);
    Some((applied_ms - committed_us / 1_000) / 1_000)
}

#[test]
fn the_wall_clock_of_a_node_jumps_by_an_hour() {
    let stack = Stack::start();
    let clock = WallClock::start().expect("a clock");
    let wrong = stack.launch_under(&clock.env(), |config| config).ready();
    wrong.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    let right = stack.node();
    // The clock of the one really is another one.
    for off in [HOUR, -HOUR, 0] {
        clock.set_off(off).expect("set");
        wrong.wait("another time", |node| {
            applied_after_commit(&stack, node).is_some_and(|late| (late - off).abs() < 600)
        });
    }

    let incarnations = wrong.metric("tidegate_incarnations_total");
    let nodes = [&right, &wrong];
    let seen = watch_all(&stack, &nodes, SPAN, |_, step| jump(&clock, step), || ());
    all_is_well(&seen, &nodes);
    let after = wrong.metric("tidegate_incarnations_total");
    assert_eq!(after, incarnations, "nothing had to be thrown away");
}

/// It may think that its walsender's client is dead; the feed comes back.
#[test]
fn the_wall_clock_of_postgres_jumps_by_an_hour() {
    let clock = WallClock::start().expect("a clock");
    let stack = Stack::on(Postgres::builder().clock(&clock));
    let [one, other] = [stack.node(), stack.node()];
    let seconds = |stack: &Stack| -> i64 {
        stack.sql("select extract(epoch from clock_timestamp())::bigint").parse().expect("seconds")
    };
    let before = seconds(&stack);
    clock.set_off(HOUR).expect("set");
    assert!(seconds(&stack) - before >= HOUR, "the clock did not jump");
    clock.set_off(0).expect("set");
    let nodes = [&one, &other];
    let seen = watch_all(&stack, &nodes, SPAN, |_, step| jump(&clock, step), || ());
    all_is_well(&seen, &nodes);
}
