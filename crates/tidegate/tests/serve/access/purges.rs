//! Purge requests that are larger than a message of the log.

use harness::http;
use serde_json::{Value, json};

use crate::stack::{DEADLINE, Stack, tier};

#[test]
fn thousand_long_subjects_are_fenced() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    let mut tags: Vec<String> = (0..999).map(|n| format!("{n}-{}", "x".repeat(200))).collect();
    tags.push("product-42".to_owned());
    let body = json!({ "tags": tags }).to_string();
    let headers = [("content-type", "application/json")];
    let path = "/api/v1/purge";
    let purged = http::request(node.admin, "POST", path, &headers, body.as_bytes(), DEADLINE);
    let purged = purged.expect("an answer");
    assert_eq!(purged.status, 200, "{}", purged.text());
    let receipt: Value = serde_json::from_slice(&purged.body).expect("JSON");
    assert_eq!(receipt["subjects"], 1_000);
    let (key, value) = ("tidegate-after", receipt["token"].as_str().expect("a token"));
    let read =
        http::request(node.data, "GET", "/data/product_price/42", &[(key, value)], b"", DEADLINE);
    assert_eq!(read.expect("an answer").status, 200);
    let parts = || -> Vec<u64> {
        let path = "/api/v1/invalidations?limit=50";
        let journal = http::get(node.admin, path, DEADLINE).expect("an answer").body;
        let journal: Value = serde_json::from_slice(&journal).expect("JSON");
        let entries = journal.as_array().expect("a list").iter();
        let purges = entries.filter(|entry| entry["cause"] == "purge");
        purges.filter_map(|entry| entry["subjects_total"].as_u64()).collect()
    };
    node.wait("all parts in the journal", |_| parts().iter().sum::<u64>() == 1_000);
    assert!(parts().len() > 1, "{:?}", parts());
}

/// Without the statement any role can purge; afterwards only the roles that it names.
#[test]
fn printed_statement_closes_the_log() {
    let stack = Stack::start();
    let node = stack.node();
    stack.postgres.psql("create role stranger login").expect("a role");
    let purge = |role: &str| {
        let message = r#"{"cause":"purge","subjects":["t:product-1"]}"#;
        let emit = format!("select pg_logical_emit_message(false, 'tidegate', '{message}')");
        stack.postgres.psql_as(role, "shop", &emit).is_ok()
    };
    assert!(purge("stranger"), "any role");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    let ports = [(); 3].map(|()| harness::Port::reserve().expect("a free port"));
    std::fs::write(&path, stack.config(ports.each_ref())).expect("written");
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = check.arg("check").arg(&path).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let statement = text.split_once("superuser:\n").expect("a statement").1;
    stack.postgres.psql_in("shop", statement).expect("the statement runs");
    assert!(!purge("stranger"), "no right any more");
    assert!(purge("shop"));
    let body = br#"{"tags":["product-1"]}"#;
    let headers = [("content-type", "application/json")];
    let purged = http::request(node.admin, "POST", "/api/v1/purge", &headers, body, DEADLINE);
    assert_eq!(purged.expect("an answer").status, 200);
}
