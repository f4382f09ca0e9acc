//! Reads of ids that do not exist are answered by the key filter, without the database.

use crate::stack::{DEADLINE, Node, Stack, bound_ms, tier};

const LOADS: &str = "tidegate_load_seconds_count";
const STATE: &str = "tidegate_absent_filter_state";

/// Starts a node with a complete filter of the products' ids.
fn node(stack: &Stack) -> Node {
    node_within(stack, "1s")
}

fn node_within(stack: &Stack, staleness: &str) -> Node {
    let mut node = launch(stack, staleness);
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    node.wait("a filter", |node| node.metric(STATE) == 2.0);
    node
}

fn launch(stack: &Stack, staleness: &str) -> Node {
    stack.launch(|config| {
        let edit = format!("absent_filter = true\nstaleness = \"{staleness}\"");
        config.replacen("staleness = \"1s\"", &edit, 1)
    })
}

/// Returns whether the node answers 404 from its own tier, with a bound.
fn is_known_absent(node: &Node, id: u32) -> bool {
    let answer = node.get(id);
    answer.status == 404 && tier(&answer) == Some("local") && bound_ms(&answer).is_some()
}

#[test]
fn absent_id_walk_costs_no_loads() {
    let stack = Stack::start();
    // On a busy machine a bound of one second can't always be proven.
    let nodes = [node_within(&stack, "60s"), node_within(&stack, "60s")];
    for node in &nodes {
        node.wait("a local 404", |node| is_known_absent(node, 900_000_000));
        let (loads, entries) = (node.metric(LOADS), node.metric("tidegate_local_entries"));
        for id in 900_000_001..900_002_001 {
            assert_eq!(node.get(id).status, 404);
        }
        // False positives: 1 % of a full filter, and this one is not full.
        let loaded = node.metric(LOADS) - loads;
        assert!(loaded <= 20.0, "{loaded} of 2,000 were loaded");
        let stored = node.metric("tidegate_local_entries") - entries;
        assert!(stored <= loaded, "{stored} entries of {loaded} loads");
        // Existing ids are answered as before.
        for id in 1..=100 {
            assert_eq!(node.cents(id), Some(1000 + id));
        }
    }
    let status = nodes[0].status();
    let filter = &status["absent_filters"]["product_price"];
    assert_eq!((filter["state"].as_str(), filter["keys"].as_u64()), (Some("standing"), Some(100)));
}

#[test]
fn race_13_inserted_row_served_by_every_node() {
    let stack = Stack::start();
    let nodes = [node(&stack), node(&stack)];
    for id in 1_001..1_031 {
        for node in &nodes {
            assert_eq!(node.get(id).status, 404, "{id}");
        }
        stack.sql(&format!("insert into products values ({id}, 'new', 1, {id}, 'GBP')"));
        for node in &nodes {
            node.wait("the new row", |node| node.cents(id) == Some(id));
        }
    }
    // One row gets another id, one is deleted.
    stack
        .sql("update products set id = 2001 where id = 1001; delete from products where id = 1002");
    for node in &nodes {
        node.wait("the renamed row", |node| node.cents(2001) == Some(1001));
        node.wait("no row", |node| node.get(1001).status == 404 && node.get(1002).status == 404);
    }
    stack.sql("insert into products values (1002, 'again', 1, 7, 'GBP')");
    for node in &nodes {
        node.wait("the row again", |node| node.cents(1002) == Some(7));
    }
}

#[test]
fn race_13_absence_ends_within_bound() {
    let stack = Stack::start();
    let node = node(&stack);
    for id in 5_001..5_201 {
        stack.sql(&format!("insert into products values ({id}, 'new', 1, {id}, 'GBP')"));
        let committed = crate::stack::now();
        loop {
            let asked = committed.elapsed();
            let answer = node.get(id);
            if answer.status == 200 {
                break;
            }
            assert_eq!(answer.status, 404, "{answer:?}");
            // The row was committed, so the bound must cover the time since the commit.
            let bound = bound_ms(&answer).expect("a bound");
            assert!(asked.as_secs_f64() * 1e3 <= bound + 1.0, "{id}: {asked:?}, {answer:?}");
        }
    }
}

#[test]
fn key_filter_rebuilt_after_bulk_change() {
    let stack = Stack::start();
    let node = node(&stack);
    let readings = "tidegate_absent_filter_readings_total";
    for (what, sql) in [
        (
            "a truncate",
            Some("truncate products; insert into products values (7, 'x', 1, 7, 'GBP')"),
        ),
        (
            "a new table of that name",
            Some(
                "begin; alter table products rename to old; \
                 create table products (like old including all); \
                 insert into products values (7, 'x', 1, 7, 'GBP'), (8, 'y', 1, 8, 'GBP'); \
                 alter publication tidegate set table products; commit",
            ),
        ),
        ("a flush", None),
    ] {
        node.wait("a local 404", |node| is_known_absent(node, 900_000_000));
        let before = node.metric(readings);
        match sql {
            Some(sql) => drop(stack.sql(sql)),
            None => stack.redis.flushall().expect("flushed"),
        }
        node.wait("another key scan", |node| node.metric(readings) > before);
        node.wait(what, |node| node.cents(7) == Some(7) && is_known_absent(node, 900_000_001));
    }
}

#[test]
fn row_security_disables_key_filter() {
    let stack = Stack::start();
    stack.sql("alter table products enable row level security");
    let mut node = launch(&stack, "1s");
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    let readings = "tidegate_absent_filter_readings_total";
    node.wait("a key scan", |node| node.metric(readings) > 0.0);
    assert_eq!(node.metric(STATE), 0.0);
    assert_eq!(node.get(900_000_000).status, 404);
    assert!(node.metric(LOADS) > 0.0);
    let log = node.process.lines().join("\n");
    assert!(log.contains("row security"), "{log}");
}
