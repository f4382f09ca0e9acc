//! The database's disk is full of log that a dead consumer holds back.

use std::time::Duration;

use harness::{MountDenied, Postgres};

use crate::faults::wait_cached;
use crate::stack::{Node, Stack, bound_ms, now};
use crate::stalls::component_ok;

/// The time limit for a server that recovers.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);

/// Returns `None` where mounting a disk is not permitted.
fn stack() -> Option<Stack> {
    let small = Postgres::builder().disk(180).setting("max_wal_size", "32MB");
    match small.start() {
        Ok(postgres) => Some(Stack::on_running(postgres)),
        Err(err) if err.is::<MountDenied>() => None,
        Err(err) => panic!("{err:#}"),
    }
}

/// Returns whether the node answers; asserts that an answer is the present price within its contract, and
/// that a refusal is a server error.
fn answers_correctly(node: &Node, cents: u32) -> bool {
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
fn full_database_disk_recovered() {
    let Some(mut stack) = stack() else {
        eprintln!("skipped: {MountDenied}");
        return;
    };
    let node = stack.node();
    let log = node.process.lines();
    assert!(log.iter().any(|line| line.contains("max_slot_wal_keep_size")), "{log:#?}");
    stack.price(42, 2_000);
    node.wait("new price", |node| node.cents(42) == Some(2_000));
    wait_cached(&node);

    // This slot has no reader.
    let dead = "select pg_create_physical_replication_slot('dead', true)";
    stack.postgres.psql(dead).expect("a slot");
    let more = "select pg_logical_emit_message(false, 'test', repeat('x', 4000000))";
    let full = harness::until("a full disk", RECOVERY_DEADLINE, || {
        answers_correctly(&node, 2_000);
        Ok(stack.postgres.psql(more).is_err().then_some(()))
    });
    full.expect("more log than the disk holds");

    let begun = now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        refused += u32::from(!answers_correctly(&node, 2_000));
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = stack.postgres.log();
    assert!(log.iter().any(|line| line.contains("No space left on device")), "{log:#?}");
    // The server usually can't recover. If it did, both it and the node answer.
    if stack.postgres.psql("select 1").is_err() {
        assert!(refused > 0, "beyond the budget nothing is proven, and no origin is left");
        node.wait("an alarm", |node| {
            ["source", "feed"].iter().any(|part| component_ok(node, part) == Some(false))
        });
    }

    // An administrator enlarges the disk, restarts the server and drops the slot.
    stack.postgres.enlarge_disk(600).expect("more room");
    stack.postgres.crash().expect("gone");
    stack.postgres.start_again().expect("started");
    stack.postgres.psql("select pg_drop_replication_slot('dead')").expect("dropped");
    stack.price(42, 3_000);
    node.wait("new price", |node| node.cents(42) == Some(3_000));
    wait_cached(&node);
}
