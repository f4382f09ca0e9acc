//! A Redis whose memory is used up: invalidations go on.

use std::process::Command;

use harness::http;

use crate::stack::{DEADLINE, Node, Stack, tier};
use crate::upstream::Reply;

/// Starts a node on a Redis with little memory.
fn small(policy: &str) -> (Stack, Node) {
    let stack = Stack::start();
    let set = |name: &str, value: &str| {
        stack.redis.cli(&["config", "set", name, value]).expect("set");
    };
    set("maxmemory-policy", policy);
    set("maxmemory", "6mb");
    stack.upstream.reply_with(Reply::Tagged("banner", "x".repeat(200_000)));
    let node = stack.node_with(|config| {
        config
            .replace("staleness = \"1s\"", "staleness = \"10m\"")
            .replace("[upstream]", "timeout = \"10s\"\n\n[upstream]")
    });
    (stack, node)
}

/// Reads more pages than Redis can keep, and uses up the rest of its memory too.
fn fill(stack: &Stack, node: &Node) {
    for n in 0..100 {
        let page = http::get(node.gateway, &format!("/big/{n}"), DEADLINE).expect("an answer");
        assert_eq!((page.status, page.body.len()), (200, 200_000));
    }
    // The limit is checked when a script begins, so that this one goes beyond it; unless it is reached already.
    let copies = "local v = redis.call('GET', KEYS[1]) or string.rep('x', 200) for n = 1, 40000 do \
                  redis.call('SET', '{tg:0}:k:v1:catalog:price:' .. (1000 + n), v, 'PX', 600000) end";
    let price = "{tg:0}:k:v1:catalog:price:42";
    let _ = stack.redis.cli(&["eval", copies, "1", price]);
}

/// Invalidations by a commit and by a purge of everything have their effect and their proof.
fn invalidates(stack: &Stack, node: &Node, cents: u32) {
    stack.price(42, cents);
    node.wait("the new price", |node| node.cents(42) == Some(cents));
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    let purge = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["purge", "--all", "--admin", &node.admin.to_string()])
        .output()
        .expect("it runs");
    assert!(purge.status.success(), "{purge:?}");
    assert_eq!(node.cents(42), Some(cents));
}

#[test]
fn full_redis_without_eviction_takes_invalidations() {
    let (stack, node) = small("noeviction");
    assert!(
        node.process.lines().iter().any(|line| line.contains("maxmemory-policy volatile-lru")),
        "the remedy is shown at the start"
    );
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    let epochs = node.metric("tidegate_incarnations_total");
    for cents in [7, 8, 9] {
        fill(&stack, &node);
        invalidates(&stack, &node, cents);
    }
    assert!(node.metric("tidegate_shared_entries_freed_total") > 0.0);
    assert_eq!(node.metric("tidegate_incarnations_total"), epochs, "no epoch reset");
}

#[test]
fn evicting_redis_takes_invalidations() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        let (stack, node) = small(policy);
        fill(&stack, &node);
        invalidates(&stack, &node, 7);
        assert_eq!(node.metric("tidegate_shared_entries_freed_total"), 0.0, "{policy}");
    }
}

/// Memory that others use can't be freed: the error names it, and answers come from the origin.
#[test]
fn redis_full_of_other_values_named() {
    let (stack, node) = small("noeviction");
    let hog = "for n = 1, 300 do redis.call('SET', 'other:' .. n, string.rep('x', 100000)) end";
    // The limit is checked when a script begins.
    stack.redis.cli(&["eval", hog, "0"]).expect("filled");
    stack.price(42, 7);
    node.wait("the new price", |node| node.cents(42) == Some(7));
    node.wait("the reason", |node| {
        node.process.lines().iter().any(|line| line.contains("raise maxmemory"))
    });
    stack
        .redis
        .cli(&[
            "eval",
            &hog.replace("'SET'", "'DEL'").replace(", string.rep('x', 100000)", ""),
            "0",
        ])
        .expect("freed");
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    invalidates(&stack, &node, 8);
}

#[test]
fn policy_changed_while_running_named() {
    let (stack, node) = small("volatile-lru");
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    for policy in ["allkeys-lru", "allkeys-random"] {
        stack.redis.cli(&["config", "set", "maxmemory-policy", policy]).expect("set");
        let named = format!("maxmemory-policy {policy} may evict keys without an expiry");
        node.wait("the reason", |node| {
            node.process.lines().iter().any(|line| line.contains(&named))
        });
        stack.price(42, 7);
        node.wait("the new price", |node| node.cents(42) == Some(7));
        stack.redis.cli(&["config", "set", "maxmemory-policy", "volatile-lru"]).expect("set");
        node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
        invalidates(&stack, &node, 8);
    }
    stack.redis.cli(&["config", "set", "maxmemory-policy", "noeviction"]).expect("set");
    node.wait("the warning", |node| {
        node.process.lines().iter().any(|line| line.contains("maxmemory-policy noeviction"))
    });
    fill(&stack, &node);
    invalidates(&stack, &node, 9);
}
