//! Reads of ids that do not exist on MariaDB are answered by the key filter, without the database.

use harness::http;

use crate::mariadb::Stack;
use crate::stack::{DEADLINE, Node, bound_ms, tier};

const LOADS: &str = "tidegate_load_seconds_count";
const STATE: &str = "tidegate_absent_filter_state";
const READINGS: &str = "tidegate_absent_filter_readings_total";

/// Starts a node with a complete filter of the products' ids, whose key column is `key`.
fn node(stack: &Stack, key: &str) -> Node {
    let node = launch(stack, key);
    node.wait("a filter", |node| node.metric(STATE) == 2.0);
    node
}

fn launch(stack: &Stack, key: &str) -> Node {
    let edit = |config: String| {
        let edit = "absent_filter = true\nstaleness = \"60s\"";
        let config = config.replacen("staleness = \"1s\"", edit, 1);
        config
            .replace("where id = $id", &format!("where `{key}` = $id"))
            .replace("key = \"id\"", &format!("key = \"{key}\""))
            .replace("product-{id}", &format!("product-{{{key}}}"))
    };
    stack.launch_with(edit).ready()
}

fn get(node: &Node, id: &str) -> http::Response {
    http::get(node.data, &format!("/data/product_price/{id}"), DEADLINE).expect("an answer")
}

/// Returns whether the node answers 404 from its own tier, with a bound.
fn is_known_absent(node: &Node, id: &str) -> bool {
    let answer = get(node, id);
    answer.status == 404 && tier(&answer) == Some("local") && bound_ms(&answer).is_some()
}

/// Ids that the filter takes for others are not counted.
fn is_nearly(keys: u64) -> impl Fn(u64) -> bool {
    move |counted| (keys * 99 / 100..=keys).contains(&counted)
}

#[test]
fn mariadb_absent_id_walk_costs_no_loads() {
    let stack = Stack::start();
    // More than two pages of a scan.
    stack.sql("insert into products select seq, 'thing', 1, 5, 'GBP' from seq_1000_to_3500");
    let nodes = [node(&stack, "id"), node(&stack, "id")];
    for node in &nodes {
        node.wait("a local 404", |node| is_known_absent(node, "900000000"));
        let loads = node.metric(LOADS);
        for id in 900_000_001..900_001_001 {
            assert_eq!(node.get(id).status, 404);
        }
        let loaded = node.metric(LOADS) - loads;
        assert!(loaded <= 30.0, "{loaded} of 1,000 were loaded");
        for id in [1, 100, 1_000, 1_999, 2_000, 2_001, 3_500] {
            assert!(node.cents(id).is_some(), "{id}");
        }
    }
    let filter = &nodes[0].status()["absent_filters"]["product_price"];
    assert_eq!(filter["state"].as_str(), Some("standing"));
    assert!(filter["keys"].as_u64().is_some_and(is_nearly(2_601)), "{filter}");
}

#[test]
fn mariadb_inserted_row_ends_absence_on_every_node() {
    let stack = Stack::start();
    let nodes = [node(&stack, "id"), node(&stack, "id")];
    for id in 1_001..1_011 {
        for node in &nodes {
            assert_eq!(node.get(id).status, 404, "{id}");
        }
        stack.sql(&format!("insert into products values ({id}, 'new', 1, {id}, 'GBP')"));
        for node in &nodes {
            node.wait("the new row", |node| node.cents(id) == Some(id));
        }
    }
    stack
        .sql("update products set id = 2001 where id = 1001; delete from products where id = 1002");
    for node in &nodes {
        node.wait("the renamed row", |node| node.cents(2001) == Some(1001));
        node.wait("no row", |node| node.get(1001).status == 404 && node.get(1002).status == 404);
    }
}

#[test]
fn mariadb_key_filter_rebuilt_after_bulk_change() {
    let stack = Stack::start();
    let node = node(&stack, "id");
    stack.sql("create table other like products; insert into other values (8, 'y', 1, 8, 'GBP')");
    stack.sql("create table parts like products; insert into parts values (9, 'z', 1, 9, 'GBP')");
    for (name, sql, id) in [
        ("a truncate", "truncate products; insert into products values (7, 'x', 1, 7, 'GBP')", 7),
        ("another table of that name", "rename table products to old, other to products", 8),
        (
            "an exchanged partition",
            "alter table products partition by range (id) (partition p values less than (1000000)); \
             alter table products exchange partition p with table parts",
            9,
        ),
    ] {
        node.wait("a local 404", |node| is_known_absent(node, "900000000"));
        let before = node.metric(READINGS);
        stack.sql(sql);
        node.wait("another key scan", |node| node.metric(READINGS) > before);
        node.wait(name, |node| node.cents(id) == Some(id) && is_known_absent(node, "900000001"));
    }
}

#[test]
fn mariadb_texts_and_labels_scanned_in_order_of_index() {
    let stack = Stack::start();
    stack.sql(
        "alter table products add sku varchar(20) collate utf8mb4_bin unique, \
         add size enum('zebra', 'apple', 'it''s') unique; \
         update products set sku = concat(if(id % 2, 'É', 'a'), id), size = if(id < 4, id, null); \
         insert into products select seq, 'thing', 1, 5, 'GBP', concat('🛒', seq), null \
           from seq_1000_to_3500",
    );
    let by_sku = node(&stack, "sku");
    for (id, status) in [
        ("a42", 200),
        ("%C3%89", 404),
        ("%C3%8941", 200),
        ("A42", 404),
        ("%F0%9F%9B%923500", 200),
        ("%F0%9F%9B%921000", 200),
        ("%F0%9F%9B%923501", 404),
    ] {
        assert_eq!(get(&by_sku, id).status, status, "{id}");
    }
    let keys = |node: &Node| node.status()["absent_filters"]["product_price"]["keys"].as_u64();
    assert!(keys(&by_sku).is_some_and(is_nearly(2_601)), "{:?}", keys(&by_sku));
    by_sku.wait("a local 404", |node| is_known_absent(node, "nothing"));
    // Nodes of one tier have one definition of a contract.
    drop(by_sku);
    let by_label = node(&stack, "size");
    for (id, status) in [("zebra", 200), ("apple", 200), ("it's", 200)] {
        assert_eq!(get(&by_label, id).status, status, "{id}");
    }
    assert_eq!(keys(&by_label), Some(3));
}

#[test]
fn mariadb_key_without_unique_index_disables_filter() {
    let stack = Stack::start();
    stack.sql("alter table products drop primary key, add unique (id, currency)");
    let node = launch(&stack, "id");
    node.wait("a refused filter", |node| {
        node.metric_with(READINGS, "result=\"unfit\"") > 0.0
            && node.process.lines().iter().any(|line| line.contains("no unique index"))
    });
    assert_eq!((node.get(42).status, node.get(4_200).status), (200, 404));
}
