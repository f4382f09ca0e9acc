//! The auditor: it finds what is wrong, and nothing where all is right.

use std::process::Output;
use std::time::Duration;

use harness::http;
use serde_json::Value;

use crate::stack::{Node, SOON, Stack, now, tier};

#[test]
fn a_stale_value_planted_under_a_fresh_token_is_found_and_explained() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    let name = "{tg:0}:k:v1:catalog:price:42";
    let old = stack.redis.cli(&["--no-raw", "get", name]).expect("an entry");
    assert!(old.contains("1042"), "{old}");

    // A foreign hand changes the price and leaves the token as it is: the fence can't know.
    let plant = "local raw = redis.call('GET', KEYS[1]) \
                 if not raw then return 0 end \
                 local ttl = redis.call('PTTL', KEYS[1]) \
                 local planted, changed = string.gsub(raw, '\"price_cents\":7', '\"price_cents\":8') \
                 redis.call('SET', KEYS[1], planted, 'PX', ttl) return changed";
    let price = std::cell::Cell::new(700);
    node.wait("a planted value", |node| {
        // A fill of the shared tier may time out on a busy machine: then there is another commit.
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
    // It is told as soon as the answer is older than the bound it shows, before its second is over.
    assert!(finding["bound_broken"] == true || finding["beyond_contract"] == true, "{finding:#}");
    assert!(finding["behind_ms"].as_f64() > finding["bound_ms"].as_f64(), "{finding:#}");
    let story = finding["story"].to_string();
    assert!(story.contains("offered to the shared tier: accepted"), "{finding:#}");
    assert!(story.contains("it removed a copy"), "{finding:#}");
    assert!(node.metric("tidegate_audit_stale_total") >= 1.0);
    assert!(node.metric("tidegate_audit_broken_total") >= 1.0);

    let said = tidegate_audit(&node, &[]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(text.contains("v1:catalog:price:42 in the shared tier"), "{text}");
    assert!(text.contains("BROKEN"), "{text}");
}

#[test]
fn under_updates_and_reads_nothing_is_stale_a_second_later() {
    let stack = Stack::start();
    let node =
        stack.launch(|config| format!("{config}\n[audit]\nreads_per_second = 200\nsample = 1.0\n"));
    node.wait("a proven bound", |node| {
        http::get(node.admin, "/readyz", SOON).is_ok_and(|answer| answer.status == 200)
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
    let said = tidegate_audit(&node, &["--json"]);
    let report: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(said.status.code(), Some(0), "{report:#}");
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
fn without_a_node_it_says_so_and_exits_3() {
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["audit", "--admin", "127.0.0.1:1"])
        .output()
        .expect("it runs");
    assert_eq!(said.status.code(), Some(3), "{said:?}");
}

pub(crate) fn report(node: &Node) -> Value {
    let answer = http::get(node.admin, "/api/v1/audit", SOON).expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

pub(crate) fn tidegate_audit(node: &Node, more: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["audit", "--admin", &node.admin.to_string()])
        .args(more)
        .output()
        .expect("it runs")
}
