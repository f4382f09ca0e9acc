//! Contracts that a reload adds, changes and removes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::load::{Kept, Load};
use super::{unchanged, with_names};
use crate::stack::{Node, Stack, tier};

fn wait_cached(node: &Node, contract: &str, id: u32) {
    node.wait("a cached answer", |node| tier(&node.value(contract, id).0) == Some("local"));
}

#[test]
fn added_contract_served_then_proven() {
    let stack = Stack::start();
    let node = stack.node();
    wait_cached(&node, "product_price", 42);
    let epoch = node.status()["epoch"].clone();
    let load = Load::on(&node);
    assert_eq!(node.value("product_name", 42).0.status, 404);
    let reloaded = stack.reload(&node, with_names);
    assert_eq!(reloaded["changed"], serde_json::json!(["data.product_name"]));
    assert_eq!(reloaded["number"], 2);
    for step in 0..10 {
        stack.sql(&format!("update products set name = 'name {step}' where id = 42"));
        let name = format!("name {step}");
        node.wait("the new name", |node| node.value("product_name", 42).1["name"] == name);
    }
    // The contracts of the new leader are proven, and no entry was voided for it.
    wait_cached(&node, "product_name", 42);
    wait_cached(&node, "product_price", 42);
    stack.sql("update products set name = 'last' where id = 42");
    node.wait("the last name", |node| node.value("product_name", 42).1["name"] == "last");
    assert_eq!(node.status()["epoch"], epoch, "the epoch goes on");
    load.goes_on(&node);
    load.end();
}

#[test]
fn removed_contract_unknown_at_once() {
    let stack = Stack::start();
    let node = stack.node_with(with_names);
    wait_cached(&node, "product_name", 42);
    let load = Load::on(&node);
    let mut kept = Kept::connect(node.data);
    assert_eq!(kept.get("/data/product_name/42").0, 200);
    stack.reload(&node, unchanged);
    assert_eq!(kept.get("/data/product_name/42").0, 404, "on a connection of before");
    assert_eq!(node.value("product_name", 42).0.status, 404);
    stack.price(42, 9);
    node.wait("the new price", |node| node.cents(42) == Some(9));
    load.end();
}

/// Clients on connections of before ask all the time. A request that begins after the acknowledgement gets the new
/// form, also of an entry that the old configuration has filled a moment ago.
#[test]
fn old_form_never_answered_after_acknowledgement() {
    const ROUNDS: usize = 12;
    let stack = Stack::start();
    let node = stack.node();
    wait_cached(&node, "product_price", 42);
    let (acknowledged, data) = (AtomicUsize::new(0), node.data);
    let round_of = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        body["round"].as_u64().unwrap_or_default() as usize
    };
    thread::scope(|scope| {
        let client = || {
            let (mut kept, mut checked) = (Kept::connect(data), 0);
            loop {
                let before = acknowledged.load(Ordering::SeqCst);
                let (status, body) = kept.get("/data/product_price/42");
                assert_eq!(status, 200, "{body}");
                assert!(round_of(&body) >= before, "an old form after {before}: {body}");
                checked += 1;
                thread::sleep(std::time::Duration::from_millis(2));
                if before == ROUNDS {
                    return checked;
                }
            }
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(client)).collect();
        for round in 1..=ROUNDS {
            stack.price(42, 1_000 + u32::try_from(round).expect("small"));
            let shown = format!("select price_cents, currency, {round} as round from");
            stack.reload(&node, |config| {
                config.replace("select price_cents, currency from", &shown)
            });
            acknowledged.store(round, Ordering::SeqCst);
        }
        let checked: usize =
            clients.into_iter().map(|client| client.join().expect("it ends")).sum();
        assert!(checked > 50, "{checked}");
    });
}

/// A reload costs the entries in the process. Those in the shared tier stay, of contracts that have not changed.
#[test]
fn shared_entries_of_unchanged_contracts_kept() {
    let stack = Stack::start();
    let lasting = |config: String| {
        config.replace("staleness = \"1s\"", "staleness = \"1s\"\nttl       = \"5min\"")
    };
    let node = stack.node_with(lasting);
    for id in 1..=20 {
        wait_cached(&node, "product_price", id);
    }
    stack.reload(&node, |config| with_names(lasting(config)));
    for id in 1..=20 {
        let answer = node.get(id);
        assert_ne!(tier(&answer), Some("origin"), "{id}: {answer:?}");
    }
}

/// SQLite has no election, and the shared tier is in the process: the followers of two configurations must not meet.
#[test]
fn embedded_node_reloads_under_load() {
    let echo = crate::echo::Echo::start();
    let (node, folder) = crate::stack::gateway_of(echo.address, "");
    let file = folder.path().join("tidegate.toml");
    let before = std::fs::read_to_string(&file).expect("readable");
    let shop = rusqlite::Connection::open(folder.path().join("shop.db")).expect("a database");
    shop.execute_batch("insert into products values (1)").expect("inserted");
    let contract = "\n[data.product]\nkey = \"v1:shop:product:{id}\"\nvalue = \"select id from products where id = $id\"\n\
                    from = { source = \"shop\", table = \"products\", key = \"id\" }\nstaleness = \"5s\"\n\
                    unproven = \"read-origin\"\nowner = \"a\"\napproved = { by = [\"a\"], on = 2026-11-02 }\n";
    let epoch = node.status()["epoch"].clone();
    let mut kept = Kept::connect(node.data);
    for round in 0..6 {
        let text = if round % 2 == 0 { format!("{before}{contract}") } else { before.clone() };
        std::fs::write(&file, text).expect("written");
        node.reloaded();
        let (status, _) = kept.get("/data/product/1");
        assert_eq!(status, if round % 2 == 0 { 200 } else { 404 });
    }
    std::fs::write(&file, format!("{before}{contract}")).expect("written");
    node.reloaded();
    wait_cached(&node, "product", 1);
    shop.execute_batch("delete from products").expect("deleted");
    node.wait("the deletion", |node| node.value("product", 1).0.status == 404);
    assert_eq!(node.status()["epoch"], epoch, "the epoch goes on");
}
