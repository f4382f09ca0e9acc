//! The database's disk is full, of the log that a dead consumer holds back.

use std::time::Duration;

use harness::{MayNotMount, Postgres};

use crate::faults::cached_again;
use crate::stack::{Node, Stack, bound_ms, now};
use crate::stalls::works;

/// For a server that recovers.
const LONG: Duration = Duration::from_secs(60);

/// `None`: nobody may mount a disk here.
fn stack() -> Option<Stack> {
    let small = Postgres::builder().disk(180).setting("max_wal_size", "32MB");
    match small.start() {
        Ok(postgres) => Some(Stack::of(postgres)),
        Err(err) if err.is::<MayNotMount>() => None,
        Err(err) => panic!("{err:#}"),
    }
}

/// An answer is the present price, within its contract, or a refusal.
fn is_right_or_refused(node: &Node, cents: u32) -> bool {
    let answer = node.get(42);
    if answer.status != 200 {
        assert!(answer.status >= 500, "{answer:?}");
        return false;
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["price_cents"].as_u64(), Some(cents.into()), "{answer:?}");
    assert!(bound_ms(&answer).is_some_and(|bound| bound <= 1_000.0), "{answer:?}");
    true
}

#[test]
fn the_disk_of_the_database_fills_up_behind_a_dead_consumer() {
    let Some(mut stack) = stack() else {
        eprintln!("skipped: {MayNotMount}");
        return;
    };
    let node = stack.node();
    let told = node.process.lines();
    assert!(told.iter().any(|line| line.contains("max_slot_wal_keep_size")), "{told:#?}");
    stack.price(42, 2_000);
    node.wait("new price", |node| node.cents(42) == Some(2_000));
    cached_again(&node);

    // Nobody reads from this one.
    let dead = "select pg_create_physical_replication_slot('dead', true)";
    stack.postgres.psql(dead).expect("a slot");
    let more = "select pg_logical_emit_message(false, 'test', repeat('x', 4000000))";
    let full = harness::until("a full disk", LONG, || {
        is_right_or_refused(&node, 2_000);
        Ok(stack.postgres.psql(more).is_err().then_some(()))
    });
    full.expect("more log than the disk holds");

    let begun = now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        refused += u32::from(!is_right_or_refused(&node, 2_000));
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = stack.postgres.log();
    assert!(log.iter().any(|line| line.contains("No space left on device")), "{log:#?}");
    // As a rule it can't even recover. If it could, it answers, and so does the node.
    if stack.postgres.psql("select 1").is_err() {
        assert!(refused > 0, "past its second nothing can be proven, and nobody is left to ask");
        node.wait("an alarm", |node| {
            ["source", "feed"].iter().any(|part| works(node, part) == Some(false))
        });
    }

    // An administrator makes room, starts the server if it has given up, and drops the slot.
    stack.postgres.enlarge_disk(600).expect("more room");
    stack.postgres.crash().expect("gone");
    stack.postgres.start_again().expect("started");
    stack.postgres.psql("select pg_drop_replication_slot('dead')").expect("dropped");
    stack.price(42, 3_000);
    node.wait("new price", |node| node.cents(42) == Some(3_000));
    cached_again(&node);
}
