//! The auditor finds stale values, and nothing where all values are fresh.

use std::process::Output;
use std::time::Duration;

use harness::http;
use serde_json::Value;

use crate::stack::{DEADLINE, Node, Stack, now, tier};

#[test]
fn planted_stale_value_found() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    let name = "{tg:0}:k:v1:catalog:price:42";
    let old = stack.redis.cli(&["--no-raw", "get", name]).expect("an entry");
    assert!(old.contains("1042"), "{old}");

    // The price in Redis is changed and τ is not: the fence can't detect it.
    let plant = "local raw = redis.call('GET', KEYS[1]) \
                 if not raw then return 0 end \
                 local ttl = redis.call('PTTL', KEYS[1]) \
                 local planted, changed = string.gsub(raw, '\"price_cents\":7', '\"price_cents\":8') \
                 redis.call('SET', KEYS[1], planted, 'PX', ttl) return changed";
    let price = std::cell::Cell::new(700);
    node.wait("a planted value", |node| {
        // A fill of the shared tier may time out on a busy machine; another commit is made then.
        price.set(price.get() + 1);
        stack.price(42, price.get());
        node.wait("new price", |node| node.cents(42) == Some(price.get()));
        stack.redis.cli(&["eval", plant, "1", name]).is_ok_and(|changed| changed.contains('1'))
    });

    node.wait("a finding", |node| report(node)["broken"].as_u64() > Some(0));
    let report = report(&node);
    let findings = report["findings"].as_array().expect("a list");
    let finding = findings.iter().find(|finding| finding["tier"] == "shared").expect("a finding");
    assert_eq!(finding["key"], "v1:catalog:price:42", "{finding:#}");
    assert_eq!(finding["contract"], "product_price", "{finding:#}");
    assert_eq!(finding["event"]["cause"], "commit", "{finding:#}");
    // Reported as soon as the answer is older than its shown bound, before the contract's second is over.
    assert!(finding["bound_broken"] == true || finding["beyond_contract"] == true, "{finding:#}");
    assert!(finding["behind_ms"].as_f64() > finding["bound_ms"].as_f64(), "{finding:#}");
    let story = finding["story"].to_string();
    assert!(story.contains("offered to the shared tier: accepted"), "{finding:#}");
    assert!(story.contains("it removed a copy"), "{finding:#}");
    assert!(node.metric("tidegate_audit_stale_total") >= 1.0);
    assert!(node.metric("tidegate_audit_broken_total") >= 1.0);

    let output = tidegate_audit(&node, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("v1:catalog:price:42 in the shared tier"), "{text}");
    assert!(text.contains("BROKEN"), "{text}");
}

#[test]
fn no_stale_entry_one_second_after_commit() {
    let stack = Stack::start();
    let node =
        stack.launch(|config| format!("{config}\n[audit]\nreads_per_second = 200\nsample = 1.0\n"));
    node.wait("a proven bound", |node| {
        http::get(node.admin, "/readyz", DEADLINE).is_ok_and(|answer| answer.status == 200)
            && node.status()["bound_ms"].as_f64().is_some()
    });
    let begun = now();
    let mut cents = 10_000;
    while begun.elapsed() < Duration::from_secs(4) {
        cents += 1;
        for id in 1..=5 {
            node.get(id);
            node.get(id);
        }
        stack.price(1 + cents % 5, cents);
    }
    node.wait("checks after a second", |node| {
        let report = report(node);
        report["after"][1]["checked"].as_u64() > Some(10)
            && report["samples"]["compared"].as_u64() > Some(10)
    });
    let output = tidegate_audit(&node, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let second = &report["after"][1];
    assert_eq!(second["seconds"], 1.0);
    assert_eq!(second["stale"], 0, "{report:#}");
    assert!(second["local"]["answering"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["samples"]["stale"], 0, "{report:#}");
    assert_eq!(report["broken"], 0, "{report:#}");

    let watched = tidegate_audit(&node, &["--for", "100ms"]);
    assert_eq!(watched.status.code(), Some(0), "{watched:?}");
    assert!(String::from_utf8_lossy(&watched.stdout).contains("C(T)"), "{watched:?}");
}

#[test]
fn unwatched_column_change_found() {
    let stack = Stack::start();
    // The log then proves that an update leaves the watched columns as they are.
    stack.sql("alter table products replica identity full");
    // The database does not analyse the body of such a function, so a start can't see the column that it reads.
    stack.sql(
        "create function price_of(product int) returns int language plpgsql stable as \
         'begin return (select price_cents from products where id = product); end'",
    );
    let node = stack.node_with(|config| {
        config
            .replace("select price_cents,", "select price_of(id) as price_cents,")
            .replace("[\"price_cents\", \"currency\"]", "[\"currency\"]")
    });
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    stack.price(42, 7);
    node.wait("a finding", |node| report(node)["broken"].as_u64() > Some(0));
    let report = report(&node);
    let finding = &report["findings"][0];
    assert_eq!(finding["key"], "v1:catalog:price:42", "{finding:#}");
    assert_eq!(finding["contract"], "product_price", "{finding:#}");
    assert_eq!(finding["fields"], serde_json::json!(["price_cents"]), "{finding:#}");
    assert_eq!(finding["bound_broken"], true, "{finding:#}");
    assert!(
        finding["rule"].as_str().is_some_and(|rule| rule.starts_with("mapping:")),
        "{finding:#}"
    );
    let output = tidegate_audit(&node, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("differs in: price_cents"), "{text}");
}

#[test]
fn audit_without_node_exits_3() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["audit", "--admin", "127.0.0.1:1"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

pub(crate) fn report(node: &Node) -> Value {
    let answer = http::get(node.admin, "/api/v1/audit", DEADLINE).expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

pub(crate) fn tidegate_audit(node: &Node, more: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["audit", "--admin", &node.admin.to_string()])
        .args(more)
        .output()
        .expect("it runs")
}
