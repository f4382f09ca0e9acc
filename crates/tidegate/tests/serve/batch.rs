//! Batches on the data API, and race 16: two keys read together, of which one is new and one is old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::http::{self, Response};
use serde_json::Value;
use tokio_postgres::NoTls;

use crate::stack::{DEADLINE, Node, Stack, bound_ms, now, tier};

/// The duration of the writes.
const WRITING: Duration = Duration::from_secs(6);
/// The rows that are written to.
const ROWS: u32 = 4;
/// In every row, stock equals price modulo this.
const MODULUS: u64 = 1_000;

/// A contract for the stock beside the price. Commits renew the price in the tiers; the stock has to be
/// loaded.
const STOCK: &str = r#"
[data.product_stock]
key           = "v1:catalog:stock:{id}"
value         = "select stock from products where id = $id"
from          = { source = "shop", table = "products", key = "id", columns = ["stock"] }
tags          = ["product-{id}"]
staleness     = "1s"
unproven      = "read-origin"
write_through = false
owner         = "pricing"
approved      = { by = ["product", "finance"], on = 2026-11-02 }
"#;

fn stack() -> Stack {
    let stack = Stack::start();
    stack.sql("alter table products add column stock int");
    stack.sql(&format!("update products set stock = price_cents % {MODULUS}, category_id = id"));
    stack
}

fn node(stack: &Stack) -> Node {
    stack.node_with(|config| config + STOCK)
}

impl Node {
    fn batch(&self, query: &str) -> Response {
        http::get(self.data, &format!("/data/batch?{query}"), DEADLINE).expect("an answer")
    }

    fn items(&self, query: &str) -> Value {
        let answer = self.batch(query);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Returns price and stock of one row, and the tier that answered an atomic batch.
    fn row(&self, id: u32, atomic: bool) -> (u64, u64, Option<String>) {
        let atomic = if atomic { "&atomic" } else { "" };
        let reply = self.items(&format!("get=product_price/{id}&get=product_stock/{id}{atomic}"));
        let number = |at: usize, name: &str| {
            reply["items"][at]["value"][name].as_u64().unwrap_or_else(|| panic!("{reply}"))
        };
        let by = reply["by"].as_str().map(str::to_owned);
        (number(0, "price_cents"), number(1, "stock"), by)
    }
}

/// Changes price and stock together, in a tight loop with short pauses.
fn writer(stack: &Stack, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let url = format!("postgres://shop@{}/shop", stack.postgres.addr());
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&url, NoTls).await.expect("connects");
            tokio::spawn(connection);
            let sql = "update products set price_cents = $2, stock = $2 % 1000 where id = $1";
            let update = client.prepare(sql).await.expect("a statement");
            let mut written = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let id = i32::try_from(written % u64::from(ROWS)).expect("small") + 1;
                let price = i32::try_from(written % 1_000_000).expect("small");
                client.execute(&update, &[&id, &price]).await.expect("updated");
                written += 1;
                if written.is_multiple_of(200) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            written
        })
    })
}

#[test]
fn race_16_price_and_stock_from_one_snapshot() {
    let stack = stack();
    let nodes = Arc::new([node(&stack), node(&stack)]);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(&stack, &stop);
    let readers: Vec<JoinHandle<[u64; 4]>> = (0..4_usize)
        .map(|reader| {
            let (nodes, stop) = (Arc::clone(&nodes), Arc::clone(&stop));
            std::thread::spawn(move || {
                let node = &nodes[reader % 2];
                let [mut by_tiers, mut by_origin, mut plain, mut torn] = [0; 4];
                for round in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = round % ROWS + 1;
                    // Three quarters atomic, the rest not, for comparison.
                    let atomic = !(round / ROWS).is_multiple_of(4);
                    let (price, stock, by) = node.row(id, atomic);
                    let consistent = price % MODULUS == stock;
                    assert!(
                        consistent || !atomic,
                        "row {id}: price {price}, stock {stock}, by {by:?}"
                    );
                    match by.as_deref() {
                        Some("origin") => by_origin += 1,
                        Some(_) => by_tiers += 1,
                        None => {
                            plain += 1;
                            torn += u64::from(!consistent);
                        }
                    }
                }
                [by_tiers, by_origin, plain, torn]
            })
        })
        .collect();
    let began = now();
    while began.elapsed() < WRITING {
        std::thread::sleep(Duration::from_millis(50));
        assert!(!writing.is_finished() && !readers.iter().any(JoinHandle::is_finished));
    }
    stop.store(true, Ordering::Relaxed);
    let written = writing.join().expect("no panic");
    let counts = readers.into_iter().map(|reader| reader.join().expect("no panic"));
    let [by_tiers, by_origin, plain, torn] =
        counts.fold([0; 4], |sum, count| std::array::from_fn(|at| sum[at] + count[at]));
    println!(
        "{written} updates; atomic: {by_tiers} by tiers, {by_origin} by the origin, none torn; \
         not atomic: {torn} of {plain} torn, as their contracts allow"
    );
    assert!(by_tiers + by_origin > 100 && by_origin > 0 && written > 100);
    for node in nodes.iter() {
        node.wait("an atomic batch from tiers", |node| {
            (1..=ROWS).all(|id| {
                let (price, stock, by) = node.row(id, true);
                assert_eq!(price % MODULUS, stock);
                by.as_deref() == Some("local")
            })
        });
        assert!(node.metric("tidegate_atomic_batches_total") > 0.0);
    }
}

#[test]
fn batch_items_answered_like_single_reads() {
    let stack = stack();
    let node = node(&stack);
    let query = "get=product_price/42&get=product_stock%2F42&get=product_price/777\
                 &get=product_prize/1&get=product_price/042&get=product_price";
    let statuses = |reply: &Value| {
        let items = reply["items"].as_array().expect("a list").iter();
        items.map(|item| item["status"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    for (query, atomic) in [(query.to_owned(), false), (format!("{query}&atomic=true"), true)] {
        let reply = node.items(&query);
        assert_eq!(reply["atomic"], atomic);
        assert_eq!(statuses(&reply), [200, 200, 404, 404, 400, 400], "{reply}");
        let items = &reply["items"];
        assert_eq!(items[0]["value"].to_string(), r#"{"price_cents":1042,"currency":"GBP"}"#);
        assert_eq!(items[1]["get"], "product_stock/42");
        assert_eq!(items[1]["value"].to_string(), r#"{"stock":42}"#);
        assert_eq!(items[2]["title"], "Row not found");
        assert!(items[2]["freshness"]["bound_ms"].is_u64(), "{reply}");
        for (at, expected) in [
            (3, "product_stock"),
            (4, "in the form in which the database writes it"),
            (5, "contract/id"),
        ] {
            let detail = items[at]["detail"].as_str().expect("a text");
            assert!(detail.contains(expected), "{reply}");
        }
    }
    node.wait("cached answers", |node| {
        let answer = node.batch("get=product_price/42&get=product_stock/42");
        assert!(bound_ms(&answer).is_some_and(|bound| bound <= 1_000.0), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        tier(&answer) == Some("local")
    });
    assert!(node.metric("tidegate_batches_total") >= 3.0);

    for (query, expected) in [
        ("", "get={contract}/{id}"),
        ("get=product_price/1&atomic=maybe", "true or false"),
        ("got=product_price/1", "got"),
        (&vec!["get=product_price/1"; 101].join("&"), "at most 100"),
    ] {
        let answer = node.batch(query);
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        assert!(answer.text().contains(expected), "{query}: {}", answer.text());
    }
    let after = [("tidegate-after", "invalid")];
    let path = "/data/batch?get=product_price/1";
    let answer = http::request(node.data, "GET", path, &after, b"", DEADLINE).expect("an answer");
    assert_eq!(answer.status, 400);
}

#[test]
fn cold_batch_costs_two_round_trips() {
    let stack = stack();
    let node = node(&stack);
    let gets: Vec<String> = (1..=50).map(|id| format!("get=product_price/{id}")).collect();
    let reply = node.items(&gets.join("&"));
    for (at, item) in reply["items"].as_array().expect("a list").iter().enumerate() {
        assert_eq!(item["value"]["price_cents"], 1_001 + at, "{item}");
    }
    assert_eq!(node.metric("tidegate_batch_round_trips_total"), 2.0);
    assert_eq!(node.metric("tidegate_batch_items_total"), 50.0);
}

#[test]
fn race_15_batch_with_token_includes_write() {
    let stack = stack();
    let (one, two) = (node(&stack), node(&stack));
    for node in [&one, &two] {
        node.wait("cached answers", |node| node.row(42, true).2.as_deref() == Some("local"));
    }
    for round in 0..50_u64 {
        stack.sql(&format!(
            "update products set price_cents = {round}, stock = {round} where id = 42"
        ));
        let answer = http::request(one.admin, "POST", "/api/v1/token", &[], b"", DEADLINE);
        let answer: Value = serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
        let token = [("tidegate-after", answer["token"].as_str().expect("a token"))];
        for (node, atomic) in [(&two, ""), (&two, "&atomic"), (&one, "&atomic")] {
            let path = format!("/data/batch?get=product_price/42&get=product_stock/42{atomic}");
            let answer = http::request(node.data, "GET", &path, &token, b"", DEADLINE);
            let reply: Value =
                serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
            assert_eq!(reply["items"][0]["value"]["price_cents"], round, "{reply}");
            assert_eq!(reply["items"][1]["value"]["stock"], round, "{reply}");
        }
    }
}
