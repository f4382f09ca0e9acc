//! Stalls: the log falls behind, a node is stopped, the slot is lost. The bound grows, no answer exceeds it,
//! `/readyz` reports the fault, and the node recovers by itself.

mod clocks;
mod disk;

use std::cell::Cell;
use std::time::Duration;

use harness::http;

use crate::faults::{wait_cached, watch};
use crate::stack::{DEADLINE, Node, Stack, bound_ms, now};

/// Returns whether `/readyz` reports a component as working.
fn component_ok(node: &Node, part: &str) -> Option<bool> {
    let answer = http::get(node.admin, "/readyz", DEADLINE).ok()?;
    let ready: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    ready["components"][part]["ok"].as_bool()
}

fn set(stack: &Stack, setting: &str, value: &str) {
    stack.postgres.psql(&format!("alter system set {setting} = '{value}'")).expect("set");
    stack.postgres.psql("select pg_reload_conf()").expect("reloaded");
}

/// Every later commit waits while a large transaction is decoded, although no contract names its table.
#[test]
fn log_delayed_by_large_transaction() {
    let stack = Stack::start();
    let node = stack.node();
    stack.sql("create table bulk(n int)");
    wait_cached(&node);
    let incarnations = node.metric("tidegate_incarnations_total");
    let (rows, largest, reported) = (Cell::new(500_000), Cell::new(0.0_f64), Cell::new(false));
    let bulk = |stack: &Stack, step: u32| {
        // A fast machine needs more rows.
        if step % 20 == 5 && largest.get() < 1_500.0 {
            stack.sql(&format!("insert into bulk select generate_series(1, {})", rows.get()));
            rows.set((2 * rows.get()).min(4_000_000));
        }
        if let Some(bound) = node.status()["bound_ms"].as_f64() {
            largest.set(largest.get().max(bound));
        }
        reported.set(reported.get() || component_ok(&node, "log") == Some(false));
    };
    let result = watch(&stack, &node, Duration::from_secs(12), bulk, || ());
    assert!(result.answered > 100, "{}", result.answered);
    println!("the bound grew to {:.0} ms; reported: {}", largest.get(), reported.get());
    assert!(largest.get() > 1_000.0, "the bound did not grow: {} ms", largest.get());
    if largest.get() > 4_000.0 {
        assert!(reported.get(), "{} ms late, and /readyz does not report it", largest.get());
    }
    node.wait("a log that is applied as it arrives", |node| {
        component_ok(node, "log") == Some(true)
            && node.status()["bound_ms"].as_f64().is_some_and(|bound| bound < 1_000.0)
    });
    let after = node.metric("tidegate_incarnations_total");
    assert_eq!(after, incarnations, "no epoch reset");
    wait_cached(&node);
}

#[test]
fn resumed_leader_proves_nothing() {
    let stack = Stack::start();
    set(&stack, "wal_sender_timeout", "4s");
    let lasting = |config: String| config.replace("unproven  =", "ttl = \"10m\"\nunproven  =");
    // With serve-stale the node answers from its tier, so that its claimed bound can be checked.
    let mut stopped = stack.launch(|config| lasting(config).replace("read-origin", "serve-stale"));
    stopped.wait("a proven bound", |node| {
        component_ok(node, "process") == Some(true) && node.status()["bound_ms"].as_f64().is_some()
    });
    stopped.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    let other = stack.node();
    wait_cached(&stopped);
    assert_eq!(stopped.cents(42), Some(1042));
    let reconnects = stopped.metric("tidegate_feed_reconnects_total");

    let paused_at = now();
    stopped.process.pause().expect("stopped");
    stack.price(42, 5);
    other.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    other.wait("new price", |node| node.cents(42) == Some(5));
    std::thread::sleep(Duration::from_secs(30).saturating_sub(paused_at.elapsed()));
    stopped.process.resume().expect("continued");
    for _ in 0..100 {
        let answer = stopped.get(42);
        if answer.text().contains("1042") {
            let freshness = answer.header("tidegate-freshness").unwrap_or_default();
            assert!(freshness.contains("stale="), "{answer:?}");
            assert!(bound_ms(&answer).is_none_or(|bound| bound >= 29_000.0), "{answer:?}");
        }
    }
    stopped.wait("new price", |node| node.cents(42) == Some(5));
    stopped.wait("the end of its leadership", |node| node.metric("tidegate_feed_leader") == 0.0);
    assert!(stopped.metric("tidegate_feed_reconnects_total") > reconnects);
    stack.price(42, 6);
    for node in [&stopped, &other] {
        node.wait("new price", |node| node.cents(42) == Some(6));
        wait_cached(node);
    }
}

#[test]
fn slot_lost_to_disk_limit_resets_epoch() {
    let stack = Stack::start();
    set(&stack, "max_slot_wal_keep_size", "1MB");
    let mut node = stack.node();
    wait_cached(&node);
    let before = node.status()["epoch"].clone();
    let slots = node.metric("tidegate_feed_slots_made_total");

    let paused_at = now();
    node.process.pause().expect("stopped");
    stack.price(42, 5);
    let lost = harness::until("a lost slot", DEADLINE, || {
        stack.postgres.psql("select pg_logical_emit_message(false, 'test', 'more')")?;
        stack.postgres.psql("select pg_switch_wal()")?;
        stack.postgres.psql("checkpoint")?;
        let status = stack.postgres.psql("select wal_status from pg_replication_slots")?;
        Ok((status == "lost").then_some(()))
    });
    lost.expect("more log than the limit allows");
    set(&stack, "max_slot_wal_keep_size", "-1");
    // Longer than the contract's budget.
    std::thread::sleep(Duration::from_secs(2).saturating_sub(paused_at.elapsed()));
    node.process.resume().expect("continued");
    assert_eq!(node.cents(42), Some(5), "its entry is older than the contract allows");
    node.wait("a new epoch", |node| node.status()["epoch"] != before);
    assert!(node.metric("tidegate_feed_slots_made_total") > slots);
    let log = node.process.lines();
    assert!(log.iter().any(|line| line.contains("slot is unusable")), "{log:#?}");
    stack.price(42, 6);
    node.wait("new price", |node| node.cents(42) == Some(6));
    wait_cached(&node);
}
