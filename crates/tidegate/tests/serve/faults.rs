//! Faults that must hold from the first day: no wrong answer, no panic, recovery by itself, and
//! the bound shows the truth meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use harness::{Fault, FaultProxy, Redis, http};

use crate::stack::{Node, SOON, Stack, bound_ms, now, tier};
use crate::upstream::Says;

/// Reads one key for `span` while the price changes and `meanwhile` breaks things (it is told how
/// many prices there have been), then lets `heal` mend them and waits for the last price. Checks
/// every answer against the truth, and that each that shows a bound keeps it.
///
/// The price only rises. An answer is wrong if it shows a price that was replaced, by a commit
/// already acknowledged, longer ago than the bound it shows (or than its contract, one second).
pub(crate) fn watch(
    stack: &Stack,
    node: &Node,
    span: Duration,
    meanwhile: impl FnMut(&Stack, u32),
    heal: impl FnOnce(),
) -> Watched {
    watch_all(stack, &[node], span, meanwhile, heal)
}

/// As [`watch`], on several nodes at once.
pub(crate) fn watch_all(
    stack: &Stack,
    nodes: &[&Node],
    span: Duration,
    mut meanwhile: impl FnMut(&Stack, u32),
    heal: impl FnOnce(),
) -> Watched {
    let stop = AtomicBool::new(false);
    let history = parking_lot::Mutex::new(vec![(now(), 1042_u32)]);
    let answered = AtomicU32::new(0);
    let refused = AtomicU32::new(0);
    std::thread::scope(|scope| {
        // Also when something below panics: the scope waits for its readers.
        let _stop = Stop(&stop);
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
            meanwhile(stack, cents - 1042);
            if stack
                .postgres
                .psql_as(
                    "shop",
                    "shop",
                    &format!("update products set price_cents = {cents} where id = 42"),
                )
                .is_ok()
            {
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
    Watched { answered: answered.into_inner(), refused: refused.into_inner() }
}

/// Ends the readers when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct Watched {
    pub(crate) answered: u32,
    pub(crate) refused: u32,
}

pub(crate) fn cached_again(node: &Node) {
    node.wait("answers from memory again", |node| {
        node.get(42);
        tier(&node.get(42)) == Some("local")
    });
}

#[test]
fn redis_flushed_mid_load() {
    let stack = Stack::start();
    let node = stack.node();
    let seen = watch(
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
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0, "the origin was there all the time");
    assert!(node.metric("tidegate_incarnations_total") >= 1.0);
    cached_again(&node);
}

#[test]
fn redis_stopped_and_started_again() {
    let mut stack = Stack::start();
    let node = stack.node();
    let redis = Arc::new(parking_lot::Mutex::new(std::mem::replace(
        &mut stack.redis,
        Redis::start().expect("a stand-in that nobody talks to"),
    )));
    let stop = |_: &Stack, step| {
        if step == 10 {
            redis.lock().stop().expect("stopped");
        }
    };
    let start = || redis.lock().start_again().expect("started");
    let seen = watch(&stack, &node, Duration::from_secs(6), stop, start);
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0, "the contract says read-origin, and the origin was there");
    cached_again(&node);
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
    let seen = watch(&stack, &node, Duration::from_secs(6), slow, || proxy.heal());
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0);
    cached_again(&node);
}

/// Puts a hash of rubbish in the place of whatever is there.
const HASH: &str = r"redis.call('del', KEYS[1])
redis.call('hset', KEYS[1], 'v', '\1\2', 'tau', 'x', 'epoch', '-')";

#[test]
fn malformed_values_under_our_keys() {
    let stack = Stack::start();
    let node = stack.node();
    node.get(42);
    let keys = stack.redis.cli(&["--raw", "keys", "*"]).expect("listed");
    let keys: Vec<&str> = keys.lines().collect();
    assert!(!keys.is_empty());
    let seen = watch(
        &stack,
        &node,
        Duration::from_secs(4),
        |stack, step| {
            let key = keys[step as usize % keys.len()];
            match step % 4 {
                0 => drop(stack.redis.cli(&["set", key, "rubbish"]).expect("set")),
                // In one step: the node may write under the key between two.
                1 => drop(stack.redis.cli(&["eval", HASH, "1", key]).expect("set")),
                2 => drop(stack.redis.cli(&["append", key, "more"])),
                _ => {}
            }
        },
        || (),
    );
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0);
    stack.redis.flushall().expect("flushed");
    cached_again(&node);
}

#[test]
fn postgres_restarted_and_crashed() {
    let mut stack = Stack::start();
    let node = stack.node();
    cached_again(&node);
    stack.postgres.restart().expect("restarted");
    stack.price(42, 2_000);
    node.wait("new price", |node| node.cents(42) == Some(2_000));
    assert!(node.metric("tidegate_incarnations_total") >= 1.0, "what was cached before is void");
    cached_again(&node);
    stack.postgres.crash().expect("crashed");
    let meanwhile = node.get(42);
    if meanwhile.status == 200 {
        assert!(bound_ms(&meanwhile).is_some_and(|bound| bound <= 1_000.0), "{meanwhile:?}");
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let unproven = node.get(42);
    assert!(
        unproven.status >= 500,
        "the bound is past the budget and nobody is left to ask: {unproven:?}"
    );
    stack.postgres.start_again().expect("started");
    stack.price(42, 3_000);
    node.wait("new price", |node| node.cents(42) == Some(3_000));
    cached_again(&node);
}

#[test]
fn a_slot_dropped_by_hand_begins_a_new_epoch() {
    let stack = Stack::start();
    let node = stack.node();
    cached_again(&node);
    let before = node.status()["epoch"].clone();
    // What an administrator does to a consumer that is in the way.
    stack
        .postgres
        .psql_in("shop", "select pg_terminate_backend(active_pid) from pg_replication_slots")
        .expect("ended");
    let dropped = harness::until("a new epoch", SOON, || {
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
    cached_again(&node);
}

#[test]
fn an_upstream_that_answers_rubbish_half_or_never() {
    let stack = Stack::start();
    let node = stack.launch(|config| config.replace("[data.", "timeout = \"1s\"\n\n[data."));
    node.wait("readiness", |node| {
        http::get(node.admin, "/readyz", SOON).is_ok_and(|a| a.status == 200)
    });
    for says in [Says::Rubbish, Says::Never, Says::Half] {
        stack.upstream.says(says.clone());
        let half = matches!(says, Says::Half);
        match http::get(node.gateway, "/p/42", SOON) {
            Ok(answer) => assert!(matches!(answer.status, 502 | 504), "{says:?}: {answer:?}"),
            Err(_) => assert!(half, "{says:?}: only a body that broke off may break off"),
        }
    }
    stack.upstream.says(Says::Page("whole".into()));
    node.wait("a whole page", |node| {
        http::get(node.gateway, "/p/42", SOON).is_ok_and(|a| a.status == 200 && a.text() == "whole")
    });
}
