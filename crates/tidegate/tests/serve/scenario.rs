//! The basic promises, step by step.

use harness::http;

use crate::stack::{DEADLINE, Stack, bound_ms, tier};
use crate::upstream::Reply;

#[test]
fn psql_update_in_next_answer() {
    let stack = Stack::start();
    let node = stack.node();
    let first = node.get(42);
    assert_eq!(first.text(), r#"{"price_cents":1042,"currency":"GBP"}"#);
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert!(
        first.header("cache-status").is_some_and(|s| s.starts_with("tidegate; fwd=")),
        "{first:?}"
    );
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    let cached = node.get(42);
    assert!(
        cached.header("cache-status").is_some_and(|s| s.starts_with("tidegate; hit")),
        "{cached:?}"
    );
    assert!(bound_ms(&cached).is_some_and(|bound| bound <= 1_000.0), "{cached:?}");
    assert!(
        cached
            .header("tidegate-freshness")
            .is_some_and(|f| f.contains("contract=\"product_price\"")),
        "{cached:?}"
    );

    // By a role that Tidegate does not know.
    stack
        .postgres
        .psql_in("shop", "update products set price_cents = 1 where id = 42")
        .expect("updated");
    node.wait("new price", |node| node.cents(42) == Some(1));
    // Counted once every tier has applied it; the answer above may come from the first of them.
    node.wait("one invalidation", |node| node.metric("tidegate_invalidations_total") == 1.0);
}

#[test]
fn row_change_refetches_tagged_page() {
    let stack = Stack::start();
    let node = stack.node();
    assert_eq!(node.page().text(), "first");
    node.wait("a cached page", |node| tier(&node.page()) == Some("edge"));
    let requests = stack.upstream.requests();
    assert_eq!(node.page().text(), "first");
    assert_eq!(stack.upstream.requests(), requests, "answered without the upstream");
    assert_eq!(node.page().header("surrogate-key"), None, "the header is removed for clients");

    stack.upstream.reply_with(Reply::Page("second".into()));
    assert_eq!(node.page().text(), "first", "the database has not changed yet");
    stack.price(42, 7);
    node.wait("the new page", |node| node.page().text() == "second");
}

#[test]
fn missing_row_served_after_insert() {
    let stack = Stack::start();
    let node = stack.node();
    assert_eq!(node.get(777).status, 404);
    node.wait("remembered absence", |node| {
        let answer = node.get(777);
        answer.status == 404 && tier(&answer) == Some("local")
    });
    stack.sql("insert into products values (777, 'new', 7, 5, 'GBP')");
    node.wait("the new row", |node| node.cents(777) == Some(5));
    stack.sql("delete from products where id = 777");
    node.wait("absence again", |node| node.get(777).status == 404);
}

#[test]
fn truncate_invalidates_rollback_does_not() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    stack.sql("begin; update products set price_cents = 9 where id = 42; rollback");
    assert_eq!(node.cents(42), Some(1042));
    stack.sql("truncate products");
    node.wait("absence", |node| node.get(42).status == 404);
}

#[test]
fn invalid_requests_name_remedy() {
    let stack = Stack::start();
    let node = stack.node();
    for (path, status, detail) in [
        ("/data/product_price/042", 400, "in the form in which the database writes it"),
        ("/data/product_price/abc", 400, "abc"),
        ("/data/product_prize/42", 404, "product_price"),
        ("/data/product_price", 404, "/data/{contract}/{id}"),
        ("/data/product_price/someone@example.com", 400, "e-mail"),
        ("/elsewhere", 404, "/data/{contract}/{id}"),
    ] {
        let answer = http::get(node.data, path, DEADLINE).expect("an answer");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(detail), "{path}: {}", answer.text());
    }
    let answer = http::request(node.data, "DELETE", "/data/product_price/42", &[], b"", DEADLINE);
    assert_eq!(answer.expect("an answer").status, 405);
}

#[test]
fn race_02_delete_before_commit_refilled() {
    let stack = Stack::start();
    let (one, two) = (stack.node(), stack.node());
    for node in [&one, &two] {
        node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    }
    // The shop writes and sends a purge request; a reader refills the entry before the commit.
    let shop = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            stack.sql(
                "begin; update products set price_cents = 7 where id = 42; select pg_sleep(1.5); \
                 commit",
            )
        });
        let body = br#"{"tags":["product-42"]}"#;
        let json = [("content-type", "application/json")];
        let answer = http::request(one.admin, "POST", "/api/v1/invalidate", &json, body, DEADLINE);
        assert_eq!(answer.expect("an answer").status, 200);
        for node in [&one, &two] {
            node.wait("a refill", |node| tier(&node.get(42)) == Some("local"));
        }
        writer.join()
    });
    shop.expect("committed");
    for node in [&one, &two] {
        node.wait("the new price", |node| node.cents(42) == Some(7));
        assert_eq!(node.cents(42), Some(7), "the new value stays");
    }
}

#[test]
fn purge_request_reaches_every_node() {
    let stack = Stack::start();
    let (one, two) = (stack.node(), stack.node());
    for node in [&one, &two] {
        node.wait("a cached page", |node| tier(&node.page()) == Some("edge"));
    }
    stack.upstream.reply_with(Reply::Page("second".into()));
    let body = br#"{"tags":["product-42"]}"#;
    let json = [("content-type", "application/json")];
    let answer = http::request(one.admin, "POST", "/api/v1/invalidate", &json, body, DEADLINE)
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(one.page().text(), "second", "applied here before the response");
    two.wait("the new page", |node| node.page().text() == "second");

    let plain =
        http::request(one.admin, "POST", "/api/v1/purge", &[], body, DEADLINE).expect("an answer");
    assert_eq!(plain.status, 415, "a form on another origin can't purge");
    let empty = http::request(one.admin, "POST", "/api/v1/purge", &json, b"{}", DEADLINE)
        .expect("an answer");
    assert_eq!(empty.status, 400);

    stack.upstream.reply_with(Reply::Page("third".into()));
    let purge = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["purge", "--tag", "product-42", "--admin", &two.admin.to_string()])
        .output()
        .expect("it runs");
    assert!(purge.status.success(), "{purge:?}");
    assert!(String::from_utf8_lossy(&purge.stdout).starts_with("purged 1 subject"), "{purge:?}");
    assert_eq!(two.page().text(), "third");
    let journal = http::get(one.admin, "/api/v1/invalidations?subject=t:product-42", DEADLINE);
    let journal = journal.expect("an answer").text();
    assert!(
        journal.contains("\"cause\":\"purge\"") || journal_contains(&two, "\"cause\":\"purge\""),
        "{journal}"
    );
}

fn journal_contains(node: &crate::stack::Node, part: &str) -> bool {
    let journal = http::get(node.admin, "/api/v1/invalidations", DEADLINE);
    journal.expect("an answer").text().contains(part)
}

#[test]
fn gateway_without_contracts_purged() {
    let stack = Stack::start();
    let node = stack
        .launch(|config| config.split_once("[data.product_price]").expect("present").0.to_owned());
    node.wait("a cached page", |node| {
        http::get(node.gateway, "/p/42", DEADLINE).is_ok_and(|page| tier(&page) == Some("edge"))
    });
    stack.upstream.reply_with(Reply::Page("second".into()));
    let json = [("content-type", "application/json")];
    let body = br#"{"tags":["product-42"]}"#;
    let answer = http::request(node.admin, "POST", "/api/v1/purge", &json, body, DEADLINE);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(node.page().text(), "second");
}
