//! The bounds of pages, and their audit.

use serde_json::{Value, json};

use crate::audit::{report, tidegate_audit};
use crate::stack::{Node, Stack, bound_ms, tier};
use crate::upstream::Reply;

/// A second table, so that its changes are in the log.
const STOCK: &str = r#"
[data.product_stock]
key       = "v1:catalog:stock:{id}"
value     = "select level from stock where id = $id"
from      = { source = "shop", table = "stock", key = "id" }
tags      = ["stock-{id}"]
staleness = "1s"
owner     = "warehouse"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

fn page(stack: &Stack, tags: &'static str, text: &str) {
    stack.upstream.reply_with(Reply::Tagged(tags, text.into()));
}

/// Returns the `Tidegate-Freshness` of the stored page.
fn freshness(node: &Node) -> String {
    node.wait("a cached page", |node| tier(&node.page()) == Some("edge"));
    node.page().header("tidegate-freshness").expect("a proof").to_owned()
}

#[test]
fn page_bound_follows_its_tags() {
    let stack = Stack::start();
    for (tags, by_log) in [
        // The contract watches the price alone, and the page may show the name.
        ("product-42", false),
        ("", false),
        ("banner-7", false),
        ("row-42 banner-7", false),
        ("row-42", true),
    ] {
        page(&stack, tags, "first");
        let node = stack.node();
        let freshness = freshness(&node);
        assert_eq!(!freshness.ends_with(", proof=age"), by_log, "{tags:?}: {freshness}");
    }
}

#[test]
fn every_column_invalidates_row_pages() {
    let stack = Stack::start();
    // The log then proves which columns an update has changed.
    stack.sql("alter table products replica identity full");
    page(&stack, "row-42", "first");
    let node = stack.node();
    assert!(!freshness(&node).contains("proof="));
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    page(&stack, "row-42", "second");
    stack.sql("update products set name = 'another' where id = 42");
    node.wait("the new page", |node| node.page().text() == "second");
    assert_eq!(tier(&node.get(42)), Some("local"), "the price has not changed");
}

#[test]
fn page_proven_by_age_shows_its_age() {
    let stack = Stack::start();
    page(&stack, "", "body {}");
    let node = stack.node();
    assert!(freshness(&node).ends_with("proof=age"));
    // The bound of the log is of some hundred milliseconds.
    node.wait("an older page", |node| bound_ms(&node.page()).is_some_and(|bound| bound > 1_500.0));
    assert_eq!(node.page().text(), "body {}");
}

#[test]
fn unknown_contract_in_shows_refuses_start() {
    let stack = Stack::start();
    let mut node = stack.launch(|config| {
        format!("{config}\n[[edge.route]]\npath = \"/p/\"\nshows = [\"product_prize\"]\n")
    });
    let status = node.process.wait(crate::stack::DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("did you mean \"product_price\"?"), "{output}");
}

#[test]
fn page_of_untagged_table_found() {
    let stack = Stack::start();
    stack
        .sql("create table stock(id int primary key, level int); insert into stock values (42, 3)");
    page(&stack, "row-42", "stock 3");
    let node =
        stack.node_with(|config| format!("{config}{STOCK}\n[audit]\npages_per_second = 50.0\n"));
    node.wait("an audited page", |node| {
        node.page();
        pages(node)["agreed"].as_u64() > Some(0)
    });
    stack.sql("update stock set level = 2 where id = 42");
    page(&stack, "row-42", "stock 2");
    node.wait("a finding", |node| {
        assert_eq!(node.page().text(), "stock 3", "no tag of the page is raised");
        pages(node)["changed"].as_u64() > Some(0)
    });
    let pages = pages(&node);
    let finding = &pages["findings"][0];
    let status = &node.status()["page_audit"];
    assert!(status["changed"].as_u64() > Some(0) && status["findings"].is_null(), "{status:#}");
    assert_eq!(finding["tags"], json!(["row-42"]), "{finding:#}");
    assert_eq!(finding["tables"], json!(["public.stock"]), "{finding:#}");
    assert_eq!(finding["broken"], true, "{finding:#}");
    let output = tidegate_audit(&node, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("`public.stock` changed since, and no tag of the page covers it"),
        "{text}"
    );
    assert!(node.metric("tidegate_audit_pages_broken_total") >= 1.0);
}

fn pages(node: &Node) -> Value {
    report(node)["pages"].take()
}
