//! Nodes with different contracts on one shared tier, as during a rolling deploy in either order.

use std::time::Duration;

use harness::http;
use harness::http::Response;

use crate::stack::{DEADLINE, Node, Stack, tier};

/// A contract that only the newer nodes have.
const NAMES: &str = r#"
[data.product_name]
key       = "v1:catalog:name:{id}"
value     = "select name from products where id = $id"
from      = { source = "shop", table = "products", key = "id", columns = ["name"] }
staleness = "1s"
ttl       = "60s"
unproven  = "read-origin"
owner     = "catalogue"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

fn with_names(config: String) -> String {
    config + NAMES
}

/// The same key with a value that shows the name too; its changes are watched.
fn with_name_in_price(config: String) -> String {
    let newer = config
        .replace("select price_cents, currency from", "select price_cents, currency, name from")
        .replace(
            "columns = [\"price_cents\", \"currency\"]",
            "columns = [\"price_cents\", \"currency\", \"name\"]",
        );
    assert_eq!(newer.matches("name").count(), config.matches("name").count() + 2, "{newer}");
    newer
}

/// The same key and the same watched columns with another form of the value.
fn in_euros(config: String) -> String {
    let newer = config.replace(
        "select price_cents, currency from",
        "select price_cents / 100.0 as price, currency from",
    );
    assert_ne!(newer, config);
    newer
}

impl Node {
    fn read(&self, contract: &str, id: u32) -> (Response, serde_json::Value) {
        let path = format!("/data/{contract}/{id}");
        let answer = http::get(self.data, &path, DEADLINE).expect("an answer");
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer, body)
    }

    fn leads(&self) -> bool {
        self.metric("tidegate_feed_leader") == 1.0
    }

    fn wait_cached(&self, contract: &str, id: u32) {
        self.wait("a cached answer", |node| tier(&node.read(contract, id).0) == Some("local"));
    }
}

#[test]
fn contract_unknown_to_leader_not_cached() {
    let stack = Stack::start();
    let mut old = stack.node();
    old.wait_cached("product_price", 42);
    let new = stack.node_with(with_names);
    assert!(old.leads());
    // The contract that both have is cached; the other one is answered by the database each time.
    new.wait_cached("product_price", 42);
    for step in 0..20 {
        stack.sql(&format!("update products set name = 'name {step}' where id = 42"));
        let (answer, body) = new.read("product_name", 42);
        assert_eq!(body["name"], format!("name {step}"), "{answer:?}");
        assert_eq!(tier(&answer), Some("origin"), "{answer:?}");
    }
    let readiness = http::get(new.admin, "/readyz", DEADLINE).expect("an answer");
    assert_eq!(readiness.status, 200);
    assert!(readiness.text().contains("the leader has other contracts"), "{}", readiness.text());

    // The newer node leads: its contracts are proven from then on.
    old.process.kill9().expect("killed");
    new.wait_cached("product_name", 42);
    assert!(new.leads());
    assert_eq!(new.metric("tidegate_incarnations_total"), 0.0, "no other entry was voided");
    stack.sql("update products set name = 'last' where id = 42");
    new.wait("the new name", |node| node.read("product_name", 42).1["name"] == "last");
    new.wait_cached("product_name", 42);
}

/// A newer node led, filled entries and died; an older one leads and maps no name; then a newer one leads again.
#[test]
fn entries_void_after_unmapped_changes() {
    let stack = Stack::start();
    let mut first = stack.node_with(with_names);
    first.wait_cached("product_name", 42);
    let mut old = stack.node();
    first.process.kill9().expect("killed");
    old.wait("leadership", Node::leads);
    old.wait_cached("product_price", 42);
    stack.sql("update products set name = 'unmapped' where id = 42");
    stack.price(41, 1);
    old.wait("a later commit", |node| node.cents(41) == Some(1));
    let new = stack.node_with(with_names);
    for _ in 0..20 {
        assert_eq!(new.read("product_name", 42).1["name"], "unmapped");
    }
    old.process.kill9().expect("killed");
    new.wait("a proven answer", |node| {
        let (answer, body) = node.read("product_name", 42);
        assert_eq!(body["name"], "unmapped", "{answer:?}");
        tier(&answer) == Some("local")
    });
}

#[test]
fn columns_unknown_to_leader_not_cached() {
    let stack = Stack::start();
    let mut old = stack.node();
    old.wait_cached("product_price", 42);
    let new = stack.node_with(with_name_in_price);
    assert!(old.leads());
    for step in 0..20 {
        stack.sql(&format!("update products set name = 'name {step}' where id = 42"));
        let (answer, body) = new.read("product_price", 42);
        assert_eq!(body["name"], format!("name {step}"), "{answer:?}");
        assert!(old.read("product_price", 42).1.get("name").is_none(), "the older shape");
    }
    old.process.kill9().expect("killed");
    new.wait_cached("product_price", 42);
    stack.sql("update products set name = 'last' where id = 42");
    new.wait("the new name", |node| node.read("product_price", 42).1["name"] == "last");
}

/// The newer node leads, and an older one is left whose columns it maps no more.
#[test]
fn older_node_under_newer_leader_not_stale() {
    let stack = Stack::start();
    let new = stack.node_with(with_name_in_price);
    new.wait_cached("product_price", 42);
    let old = stack.node();
    assert!(new.leads());
    for step in 0..20 {
        stack.price(42, 2_000 + step);
        assert_eq!(old.cents(42), Some(2_000 + step));
        assert!(old.read("product_price", 42).1.get("name").is_none(), "the older shape");
        new.wait("the new price", |node| node.cents(42) == Some(2_000 + step));
        assert_eq!(new.read("product_price", 42).1["name"], "thing 42");
    }
}

/// The same changes invalidate both, so both are cached; each node serves its own shape only, also after the leader
/// has renewed the entry from the log.
#[test]
fn changed_value_under_one_key_not_mixed() {
    let stack = Stack::start();
    let old = stack.node();
    old.wait_cached("product_price", 42);
    let new = stack.node_with(in_euros);
    assert!(old.leads());
    for step in 0_u32..20 {
        let cents = 4_200 + step * 100;
        stack.price(42, cents);
        old.wait("the new price", |node| node.cents(42) == Some(cents));
        new.wait("the new price", |node| {
            let (answer, body) = node.read("product_price", 42);
            assert!(body.get("price_cents").is_none(), "the older shape: {answer:?}");
            body["price"].as_f64() == Some(f64::from(cents) / 100.0)
        });
        assert!(old.read("product_price", 42).1.get("price").is_none(), "the newer shape");
    }
    new.wait_cached("product_price", 42);
    std::thread::sleep(Duration::from_millis(300));
    assert!(new.read("product_price", 42).1.get("price").is_some());
}

/// A tag whose rows only the newer contracts map: entries that carry it are not proven by an older leader.
#[test]
fn tag_raised_by_unknown_contract_not_cached() {
    let stack = Stack::start();
    stack.sql("create table reviews(id int primary key, product_id int, stars int)");
    stack.sql("insert into reviews values (1, 42, 3)");
    let mut old = stack.node();
    old.wait_cached("product_price", 42);
    let rated = |config: String| {
        let shown = "select price_cents, currency, (select avg(stars) from reviews r \
                     where r.product_id = $id)::float as stars from";
        let config = config.replace("select price_cents, currency from", shown);
        config
            + r#"
[data.review]
key       = "v1:catalog:review:{id}"
value     = "select stars from reviews where id = $id"
from      = { source = "shop", table = "reviews", key = "id" }
tags      = ["product-{product_id}"]
staleness = "1s"
unproven  = "read-origin"
owner     = "reviews"
approved  = { by = ["product"], on = 2026-11-02 }
"#
    };
    stack.sql("alter table reviews replica identity full");
    let new = stack.node_with(rated);
    assert!(old.leads());
    for stars in [1, 2, 4, 5] {
        stack.sql(&format!("update reviews set stars = {stars} where id = 1"));
        let (answer, body) = new.read("product_price", 42);
        assert_eq!(body["stars"].as_f64(), Some(f64::from(stars)), "{answer:?}");
    }
    old.process.kill9().expect("killed");
    new.wait_cached("product_price", 42);
    stack.sql("update reviews set stars = 1 where id = 1");
    new.wait("the new rating", |node| {
        node.read("product_price", 42).1["stars"].as_f64() == Some(1.0)
    });
}
