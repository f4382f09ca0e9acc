//! Somebody walks over ids that do not exist, and the database has no part in it.

use crate::stack::{Node, SOON, Stack, bound_ms, tier};

const LOADS: &str = "tidegate_load_seconds_count";
const STATE: &str = "tidegate_absent_filter_state";

/// A node that keeps a filter of the products' ids, which stands.
fn node(stack: &Stack) -> Node {
    node_within(stack, "1s")
}

fn node_within(stack: &Stack, staleness: &str) -> Node {
    let mut node = launch(stack, staleness);
    node.process.wait_for_http(node.admin, "/readyz", SOON).expect("ready");
    node.wait("a filter", |node| node.metric(STATE) == 2.0);
    node
}

fn launch(stack: &Stack, staleness: &str) -> Node {
    stack.launch(|config| {
        let asks = format!("absent_filter = true\nstaleness = \"{staleness}\"");
        config.replacen("staleness = \"1s\"", &asks, 1)
    })
}

/// A 404 of this process's own, with a bound.
fn is_known_absent(node: &Node, id: u32) -> bool {
    let answer = node.get(id);
    answer.status == 404 && tier(&answer) == Some("local") && bound_ms(&answer).is_some()
}

#[test]
fn whoever_walks_over_absent_ids_costs_no_load_and_fills_no_tier() {
    let stack = Stack::start();
    // A machine that stands still for a moment proves nothing within a second.
    let nodes = [node_within(&stack, "60s"), node_within(&stack, "60s")];
    for node in &nodes {
        node.wait("an answer of its own", |node| is_known_absent(node, 900_000_000));
        let (loads, entries) = (node.metric(LOADS), node.metric("tidegate_local_entries"));
        for id in 900_000_001..900_002_001 {
            assert_eq!(node.get(id).status, 404);
        }
        // False positives: one in a hundred once the filter is full, which it is not.
        let loaded = node.metric(LOADS) - loads;
        assert!(loaded <= 20.0, "{loaded} of 2,000 were loaded");
        let stored = node.metric("tidegate_local_entries") - entries;
        assert!(stored <= loaded, "{stored} entries of {loaded} loads");
        // What there is is answered as ever.
        for id in 1..=100 {
            assert_eq!(node.cents(id), Some(1000 + id));
        }
    }
    let status = nodes[0].status();
    let filter = &status["absent_filters"]["product_price"];
    assert_eq!((filter["state"].as_str(), filter["keys"].as_u64()), (Some("standing"), Some(100)));
}

#[test]
fn race_13_inserted_rows_are_served_by_every_node() {
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
    // By another name, and gone.
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
fn race_13_no_row_is_denied_longer_than_the_contract_allows() {
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
            // An answer that shows a bound is true to it: the row was there before.
            let bound = bound_ms(&answer).expect("a bound");
            assert!(asked.as_secs_f64() * 1e3 <= bound + 1.0, "{id}: {asked:?}, {answer:?}");
        }
    }
}

#[test]
fn what_the_log_does_not_tell_row_by_row_makes_it_anew() {
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
        node.wait("an answer of its own", |node| is_known_absent(node, 900_000_000));
        let before = node.metric(readings);
        match sql {
            Some(sql) => drop(stack.sql(sql)),
            None => stack.redis.flushall().expect("flushed"),
        }
        node.wait("another reading", |node| node.metric(readings) > before);
        node.wait(what, |node| node.cents(7) == Some(7) && is_known_absent(node, 900_000_001));
    }
}

#[test]
fn a_table_whose_rows_may_come_unseen_has_no_filter() {
    let stack = Stack::start();
    stack.sql("alter table products enable row level security");
    let mut node = launch(&stack, "1s");
    node.process.wait_for_http(node.admin, "/readyz", SOON).expect("ready");
    let readings = "tidegate_absent_filter_readings_total";
    node.wait("a look at the table", |node| node.metric(readings) > 0.0);
    assert_eq!(node.metric(STATE), 0.0);
    assert_eq!(node.get(900_000_000).status, 404);
    assert!(node.metric(LOADS) > 0.0);
    let told = node.process.lines().join("\n");
    assert!(told.contains("row security"), "{told}");
}
