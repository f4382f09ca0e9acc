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

/// A contract of pages only, whose tags are texts.
const BRANDS: &str = r#"
[data.brand]
key       = "v1:catalog:brand:{id}"
from      = { source = "shop", table = "brand", key = "id" }
page_tags = ["brand-{name}"]
staleness = "1s"
owner     = "catalogue"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

/// As a tag alone, `brand-nike,` would be of a brand with a comma in its name.
#[test]
fn tags_in_a_list_reach_the_page() {
    let stack = Stack::start();
    stack.sql(
        "create table brand(id int primary key, name text, v int); \
         alter table brand replica identity full; insert into brand values (1, 'nike', 1), (2, 'puma', 1)",
    );
    let node = stack.node_with(|config| config + BRANDS);
    for (number, tags) in
        [(2, "brand-nike, brand-puma"), (3, "brand-nike,brand-puma"), (4, "brand-nike;brand-puma")]
    {
        page(&stack, tags, &format!("v{}", number - 1));
        let get = || {
            let path = format!("/p/{number}");
            harness::http::get(node.gateway, &path, crate::stack::DEADLINE).expect("a page")
        };
        node.wait("a cached page", |_| tier(&get()) == Some("edge"));
        page(&stack, tags, &format!("v{number}"));
        stack.sql(&format!("update brand set v = {number} where name = 'nike'"));
        let committed = crate::stack::now();
        node.wait("the new page", |_| {
            let asked = committed.elapsed().as_secs_f64() * 1e3;
            let answer = get();
            let is_new = answer.text().contains(&format!("v{number}"));
            let admits = bound_ms(&answer).is_none_or(|bound| asked <= bound + 1.0);
            assert!(is_new || admits, "{asked} ms after the commit: {answer:?}");
            is_new
        });
    }
}

/// A contract of pages only, whose tags are made of columns of several types.
const TYPED: &str = r#"
[data.typed]
key       = "v1:catalog:typed:{id}"
from      = { source = "shop", table = "typed", key = "id" }
page_tags = ["typed-{id}", "open-{open}", "code-{code}", "rate-{rate}", "day-{day}", "name-{name}"]
staleness = "1s"
owner     = "catalogue"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

#[test]
fn tag_in_another_text_is_no_proof() {
    let stack = Stack::start();
    stack.sql(
        "create table typed(id int primary key, open boolean, code uuid, rate numeric, day date, name text); \
         alter table typed replica identity full; insert into typed values (42, true, \
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1.50, '2026-11-30', 'é x')",
    );
    let node = stack.node_with(|config| config + TYPED);
    let get = |at: usize| {
        harness::http::get(node.gateway, &format!("/p/{at}"), crate::stack::DEADLINE)
            .expect("a page")
    };
    let cases = [
        ("typed-42", true),
        ("open-t", true),
        ("code-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", true),
        ("rate-1.5", true),
        ("day-2026-11-30", true),
        ("name-%C3%A9%20x", true),
        ("typed-042", false),
        ("typed-+42", false),
        ("typed-%34%32", false),
        ("open-true", false),
        ("open-1", false),
        ("code-A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", false),
        ("rate-1.50", false),
        ("day-30.11.2026", false),
        ("name-%c3%a9%20x", false),
        ("typed-42 open-true", false),
    ];
    for (at, (tags, by_log)) in cases.into_iter().enumerate() {
        page(&stack, tags, "first");
        node.wait("a cached page", |_| tier(&get(at)) == Some("edge"));
        let freshness = get(at).header("tidegate-freshness").expect("a proof").to_owned();
        assert_eq!(!freshness.ends_with(", proof=age"), by_log, "{tags:?}: {freshness}");
    }
    // A page that is proven by the log is invalidated by the row.
    stack.upstream.reply_with(Reply::Tagged("typed-42", "second".into()));
    stack.sql(
        "update typed set rate = rate + 1, open = false, day = day + 1, code = null, name = ''",
    );
    for (at, (tags, _)) in cases.into_iter().enumerate().filter(|(_, (_, by_log))| *by_log) {
        node.wait(&format!("the page with {tags}"), |_| get(at).text() == "second");
    }
    assert!(node.metric("tidegate_gateway_misspelt_tags_total") >= 10.0);
    let lines = node.process.lines().join("\n");
    assert_eq!(lines.matches("another text than the log writes").count(), 6, "{lines}");
}

/// The role's search path leads to a table outside `public`: pages name it as contracts do.
#[test]
fn page_of_table_in_search_path_proven() {
    let stack = Stack::start();
    stack.sql(
        "create schema app; alter table products set schema app; \
         alter table app.products replica identity full; \
         alter role shop set search_path = app, public",
    );
    page(&stack, "row-42", "first");
    let node = stack.node();
    node.wait("a page that the log proves", |node| {
        tier(&node.page()) == Some("edge") && !freshness(node).contains("proof=")
    });
    page(&stack, "row-42", "second");
    stack.sql("update app.products set name = 'another' where id = 42");
    node.wait("the new page", |node| node.page().text() == "second");
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
