//! Faults of the servers: no answer is wrong or beyond its bound, nothing panics, and the node recovers by
//! itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use drill::{Fault, FaultProxy};
use harness::{Redis, http};

use crate::stack::{DEADLINE, Node, Stack, bound_ms, now, tier};
use crate::upstream::Reply;

/// Reads one key for `span` while the price changes and `fault` injects faults (its argument is the number of
/// prices so far), then calls `heal` and waits for the last price. Checks every answer against the history of
/// prices, and against its shown bound.
///
/// The price only rises. An answer is wrong if its price was replaced, by a commit already acknowledged,
/// longer ago than its shown bound (or than its contract allows, one second).
pub(crate) fn watch(
    stack: &Stack,
    node: &Node,
    span: Duration,
    fault: impl FnMut(&Stack, u32),
    heal: impl FnOnce(),
) -> WatchResult {
    watch_nodes(stack, &[node], span, fault, heal)
}

/// Watches several nodes at once; see [`watch`].
pub(crate) fn watch_nodes(
    stack: &Stack,
    nodes: &[&Node],
    span: Duration,
    mut fault: impl FnMut(&Stack, u32),
    heal: impl FnOnce(),
) -> WatchResult {
    let write = |sql: &str| stack.postgres.psql_as("shop", "shop", sql).is_ok();
    watch_writes(nodes, span, write, |step| fault(stack, step), heal)
}

/// Watches as [`watch_nodes`] does, on any database. `write` runs a statement, and returns whether it was committed.
pub(crate) fn watch_writes(
    nodes: &[&Node],
    span: Duration,
    write: impl Fn(&str) -> bool,
    mut fault: impl FnMut(u32),
    heal: impl FnOnce(),
) -> WatchResult {
    let stop = AtomicBool::new(false);
    let history = parking_lot::Mutex::new(vec![(now(), 1042_u32)]);
    let answered = AtomicU32::new(0);
    let refused = AtomicU32::new(0);
    std::thread::scope(|scope| {
        // The scope waits for its readers, also after a panic below.
        let _stop = StopOnDrop(&stop);
        for node in nodes.iter().cycle().take(4) {
            let (stop, history) = (&stop, &history);
            let (answered, refused) = (&answered, &refused);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let asked = now();
                    let answer = node.get(42);
                    if answer.status != 200 {
                        assert!(answer.status >= 500, "{answer:?}");
                        refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    let body: serde_json::Value =
                        serde_json::from_slice(&answer.body).expect("JSON");
                    let shown = u32::try_from(body["price_cents"].as_u64().expect("a price"))
                        .expect("small");
                    let replaced = {
                        let history = history.lock();
                        let next = history.iter().position(|(_, cents)| *cents > shown);
                        next.map(|next| history[next].0)
                    };
                    let Some(replaced) = replaced else { continue };
                    let stale = asked.saturating_duration_since(replaced);
                    assert!(
                        stale <= Duration::from_secs(1),
                        "{shown} was replaced {stale:?} before: {answer:?}"
                    );
                    let bound = bound_ms(&answer).unwrap_or(f64::INFINITY);
                    // The bound counts from inside the node, a little after `asked`.
                    assert!(
                        stale.as_secs_f64() * 1e3 <= bound + 50.0,
                        "{stale:?} stale: {answer:?}"
                    );
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let begun = now();
        let mut cents = 1042;
        while begun.elapsed() < span {
            cents += 1;
            fault(cents - 1042);
            if write(&format!("update products set price_cents = {cents} where id = 42")) {
                history.lock().push((now(), cents));
            } else {
                cents -= 1;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        heal();
        for node in nodes {
            node.wait("the last price", |node| node.cents(42) == Some(cents));
        }
    });
    WatchResult { answered: answered.into_inner(), refused: refused.into_inner() }
}

/// Stops the readers when it is dropped.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct WatchResult {
    pub(crate) answered: u32,
    pub(crate) refused: u32,
}

pub(crate) fn wait_cached(node: &Node) {
    node.wait("a local answer", |node| {
        node.get(42);
        tier(&node.get(42)) == Some("local")
    });
}

#[test]
fn redis_flushed() {
    let stack = Stack::start();
    let node = stack.node();
    let result = watch(
        &stack,
        &node,
        Duration::from_secs(4),
        |stack, step| {
            if step % 10 == 5 {
                stack.redis.flushall().expect("flushed");
            }
        },
        || (),
    );
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0, "the origin was available");
    assert!(node.metric("tidegate_incarnations_total") >= 1.0);
    wait_cached(&node);
}

#[test]
fn redis_restarted() {
    let mut stack = Stack::start();
    let node = stack.node();
    let redis = Arc::new(parking_lot::Mutex::new(std::mem::replace(
        &mut stack.redis,
        Redis::start().expect("an unused replacement"),
    )));
    let stop = |_: &Stack, step| {
        if step == 10 {
            redis.lock().stop().expect("stopped");
        }
    };
    let start = || redis.lock().start_again().expect("started");
    let result = watch(&stack, &node, Duration::from_secs(6), stop, start);
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0, "unproven = read-origin, and the origin was available");
    wait_cached(&node);
}

#[test]
fn redis_slow() {
    let stack = Stack::start();
    let proxy = FaultProxy::start(stack.redis.addr()).expect("a proxy");
    let stack = stack.with_redis_at(proxy.addr());
    let node = stack.node();
    let slow = |_: &Stack, step| {
        if step == 10 {
            proxy.set(Fault::slow(Duration::from_millis(500)));
        }
    };
    let result = watch(&stack, &node, Duration::from_secs(6), slow, || proxy.heal());
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0);
    wait_cached(&node);
}

/// Replaces a value with a hash of invalid fields.
const INVALID_HASH: &str = r"redis.call('del', KEYS[1])
redis.call('hset', KEYS[1], 'v', '\1\2', 'tau', 'x', 'epoch', '-')";

#[test]
fn malformed_redis_values_ignored() {
    let stack = Stack::start();
    let node = stack.node();
    node.get(42);
    let keys = stack.redis.cli(&["--raw", "keys", "*"]).expect("listed");
    let keys: Vec<&str> = keys.lines().collect();
    assert!(!keys.is_empty());
    let result = watch(
        &stack,
        &node,
        Duration::from_secs(4),
        |stack, step| {
            let key = keys[step as usize % keys.len()];
            match step % 4 {
                0 => drop(stack.redis.cli(&["set", key, "invalid"]).expect("set")),
                // One atomic step: the node may write the key between two.
                1 => drop(stack.redis.cli(&["eval", INVALID_HASH, "1", key]).expect("set")),
                2 => drop(stack.redis.cli(&["append", key, "more"])),
                _ => {}
            }
        },
        || (),
    );
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0);
    stack.redis.flushall().expect("flushed");
    wait_cached(&node);
}

#[test]
fn postgres_restart_and_crash_reset_epoch() {
    let mut stack = Stack::start();
    let node = stack.node();
    wait_cached(&node);
    stack.postgres.restart().expect("restarted");
    stack.price(42, 2_000);
    node.wait("new price", |node| node.cents(42) == Some(2_000));
    assert!(node.metric("tidegate_incarnations_total") >= 1.0, "the restart resets the epoch");
    wait_cached(&node);
    stack.postgres.crash().expect("crashed");
    let meanwhile = node.get(42);
    if meanwhile.status == 200 {
        assert!(bound_ms(&meanwhile).is_some_and(|bound| bound <= 1_000.0), "{meanwhile:?}");
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let unproven = node.get(42);
    assert!(
        unproven.status >= 500,
        "the bound exceeds the budget and no origin is left: {unproven:?}"
    );
    stack.postgres.start_again().expect("started");
    stack.price(42, 3_000);
    node.wait("new price", |node| node.cents(42) == Some(3_000));
    wait_cached(&node);
}

#[test]
fn dropped_slot_resets_epoch() {
    let stack = Stack::start();
    let node = stack.node();
    wait_cached(&node);
    let before = node.status()["epoch"].clone();
    // An administrator drops the slot of a blocking consumer.
    stack
        .postgres
        .psql_in("shop", "select pg_terminate_backend(active_pid) from pg_replication_slots")
        .expect("ended");
    let dropped = harness::until("a new epoch", DEADLINE, || {
        stack.postgres.psql_in("shop", "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active").ok();
        stack
            .postgres
            .psql_in(
                "shop",
                "select pg_terminate_backend(active_pid) from pg_replication_slots where active",
            )
            .ok();
        Ok((node.status()["epoch"] != before).then_some(()))
    });
    dropped.expect("a new slot is a new epoch");
    stack.price(42, 4_000);
    node.wait("new price", |node| node.cents(42) == Some(4_000));
    wait_cached(&node);
}

#[test]
fn broken_upstream_responses_not_stored() {
    let stack = Stack::start();
    let node = stack.launch(|config| config.replace("[data.", "timeout = \"1s\"\n\n[data."));
    node.wait("readiness", |node| {
        http::get(node.admin, "/readyz", DEADLINE).is_ok_and(|a| a.status == 200)
    });
    for reply in [Reply::Malformed, Reply::Never, Reply::Truncated] {
        stack.upstream.reply_with(reply.clone());
        let truncated = matches!(reply, Reply::Truncated);
        match http::get(node.gateway, "/p/42", DEADLINE) {
            Ok(answer) => assert!(matches!(answer.status, 502 | 504), "{reply:?}: {answer:?}"),
            Err(_) => assert!(truncated, "{reply:?}: only a truncated body may be cut off"),
        }
    }
    stack.upstream.reply_with(Reply::Page("whole".into()));
    node.wait("a complete page", |node| {
        http::get(node.gateway, "/p/42", DEADLINE)
            .is_ok_and(|a| a.status == 200 && a.text() == "whole")
    });
}
