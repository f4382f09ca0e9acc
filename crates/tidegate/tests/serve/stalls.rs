//! Silence and stalls: the log falls behind, a node sleeps, the slot is lost. The bound grows,
//! nothing is quietly old, an alarm is named, and everything recovers by itself.

mod clocks;
mod disk;

use std::cell::Cell;
use std::time::Duration;

use harness::http;

use crate::faults::{cached_again, watch};
use crate::stack::{Node, SOON, Stack, bound_ms, now};

/// What `/readyz` says about a part; whether it works.
fn works(node: &Node, part: &str) -> Option<bool> {
    let answer = http::get(node.admin, "/readyz", SOON).ok()?;
    let ready: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    ready["components"][part]["ok"].as_bool()
}

fn set(stack: &Stack, setting: &str, value: &str) {
    stack.postgres.psql(&format!("alter system set {setting} = '{value}'")).expect("set");
    stack.postgres.psql("select pg_reload_conf()").expect("reloaded");
}

/// Every later commit waits while a large transaction is decoded, although nobody follows its
/// table.
#[test]
fn the_log_falls_behind_a_large_transaction() {
    let stack = Stack::start();
    let node = stack.node();
    stack.sql("create table bulk(n int)");
    cached_again(&node);
    let incarnations = node.metric("tidegate_incarnations_total");
    let (rows, largest, named) = (Cell::new(500_000), Cell::new(0.0_f64), Cell::new(false));
    let bulk = |stack: &Stack, step: u32| {
        // A fast machine needs more of them.
        if step % 20 == 5 && largest.get() < 1_500.0 {
            stack.sql(&format!("insert into bulk select generate_series(1, {})", rows.get()));
            rows.set((2 * rows.get()).min(4_000_000));
        }
        if let Some(bound) = node.status()["bound_ms"].as_f64() {
            largest.set(largest.get().max(bound));
        }
        named.set(named.get() || works(&node, "log") == Some(false));
    };
    let seen = watch(&stack, &node, Duration::from_secs(12), bulk, || ());
    assert!(seen.answered > 100, "{}", seen.answered);
    println!("the bound grew to {:.0} ms; named: {}", largest.get(), named.get());
    assert!(largest.get() > 1_000.0, "the bound did not grow: {} ms", largest.get());
    if largest.get() > 4_000.0 {
        assert!(named.get(), "{} ms late, and /readyz does not say so", largest.get());
    }
    node.wait("a log that is applied as it comes", |node| {
        works(node, "log") == Some(true)
            && node.status()["bound_ms"].as_f64().is_some_and(|bound| bound < 1_000.0)
    });
    let after = node.metric("tidegate_incarnations_total");
    assert_eq!(after, incarnations, "nothing had to be thrown away");
    cached_again(&node);
}

#[test]
fn a_leader_that_slept_for_half_a_minute_claims_nothing_when_it_wakes() {
    let stack = Stack::start();
    set(&stack, "wal_sender_timeout", "4s");
    let lasting = |config: String| config.replace("unproven  =", "ttl = \"10m\"\nunproven  =");
    // It may answer with what it has, so that what it claims about it can be seen.
    let mut sleeper = stack.launch(|config| lasting(config).replace("read-origin", "serve-stale"));
    sleeper.wait("a proven bound", |node| {
        works(node, "process") == Some(true) && node.status()["bound_ms"].as_f64().is_some()
    });
    sleeper.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    let other = stack.node();
    cached_again(&sleeper);
    assert_eq!(sleeper.cents(42), Some(1042));
    let reconnects = sleeper.metric("tidegate_feed_reconnects_total");

    let asleep = now();
    sleeper.process.pause().expect("stopped");
    stack.price(42, 5);
    other.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    other.wait("new price", |node| node.cents(42) == Some(5));
    std::thread::sleep(Duration::from_secs(30).saturating_sub(asleep.elapsed()));
    sleeper.process.resume().expect("continued");
    for _ in 0..100 {
        let answer = sleeper.get(42);
        if answer.text().contains("1042") {
            let freshness = answer.header("tidegate-freshness").unwrap_or_default();
            assert!(freshness.contains("stale="), "{answer:?}");
            assert!(bound_ms(&answer).is_none_or(|bound| bound >= 29_000.0), "{answer:?}");
        }
    }
    sleeper.wait("new price", |node| node.cents(42) == Some(5));
    sleeper.wait("an end of its leadership", |node| node.metric("tidegate_feed_leader") == 0.0);
    assert!(sleeper.metric("tidegate_feed_reconnects_total") > reconnects);
    stack.price(42, 6);
    for node in [&sleeper, &other] {
        node.wait("new price", |node| node.cents(42) == Some(6));
        cached_again(node);
    }
}

#[test]
fn a_slot_lost_to_the_disk_limit_begins_a_new_epoch() {
    let stack = Stack::start();
    set(&stack, "max_slot_wal_keep_size", "1MB");
    let mut node = stack.node();
    cached_again(&node);
    let before = node.status()["epoch"].clone();
    let slots = node.metric("tidegate_feed_slots_made_total");

    let asleep = now();
    node.process.pause().expect("stopped");
    stack.price(42, 5);
    let lost = harness::until("a lost slot", SOON, || {
        stack.postgres.psql("select pg_logical_emit_message(false, 'test', 'more')")?;
        stack.postgres.psql("select pg_switch_wal()")?;
        stack.postgres.psql("checkpoint")?;
        let status = stack.postgres.psql("select wal_status from pg_replication_slots")?;
        Ok((status == "lost").then_some(()))
    });
    lost.expect("more log than the limit allows");
    set(&stack, "max_slot_wal_keep_size", "-1");
    // Longer than the contract allows.
    std::thread::sleep(Duration::from_secs(2).saturating_sub(asleep.elapsed()));
    node.process.resume().expect("continued");
    assert_eq!(node.cents(42), Some(5), "what it holds is older than the contract allows");
    node.wait("a new epoch", |node| node.status()["epoch"] != before);
    assert!(node.metric("tidegate_feed_slots_made_total") > slots);
    let told = node.process.lines();
    assert!(told.iter().any(|line| line.contains("slot is of no use any more")), "{told:#?}");
    stack.price(42, 6);
    node.wait("new price", |node| node.cents(42) == Some(6));
    cached_again(&node);
}
