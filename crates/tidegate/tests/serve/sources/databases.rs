//! The data API over two databases.

use harness::http;
use serde_json::Value;

use super::stand::{BUDGET_MS, Stand, is_proven};
use crate::stack::{DEADLINE, Node, bound_ms, tier};

#[test]
fn each_contract_follows_its_database() {
    let stand = Stand::start();
    let node = stand.node();
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    stand.shop.price(42, 7);
    node.wait("the new price", |node| node.cents(42) == Some(7));
    assert_eq!(node.stock_level(42), Some(42));
    stand.level(42, 8);
    node.wait("the new level", |node| node.stock_level(42) == Some(8));
    assert_eq!(node.cents(42), Some(7));
    let lines = http::get(node.admin, "/metrics", DEADLINE).expect("metrics").text();
    for source in ["shop", "stock"] {
        assert!(node.source_bound_ms(source).is_some_and(|bound| bound < BUDGET_MS), "{source}");
        let leader = format!("source=\"{source}\"");
        assert_eq!(node.metric_with("tidegate_feed_leader", &leader), 1.0, "{source}");
    }
    let described = lines.lines().filter(|line| line.starts_with("# TYPE tidegate_bound_seconds "));
    assert_eq!(described.count(), 1, "the text format allows one description");
    let (_, both) = ready(&node);
    assert!(both["components"]["feed:shop"]["ok"] == true, "{both:#}");
    assert!(both["components"]["feed:stock"]["ok"] == true, "{both:#}");
}

#[test]
fn mariadb_beside_postgres() {
    let mut stand = Stand::with_mariadb();
    let node = stand.node();
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    stand.level(42, 8);
    node.wait("the new level", |node| node.stock_level(42) == Some(8));
    stand.shop.price(42, 7);
    node.wait("the new price", |node| node.cents(42) == Some(7));
    stand.page("row-42", "first");
    node.wait_page_cached();
    stand.page("row-42", "second");
    stand.level(42, 9);
    node.wait("the new page", |node| node.page().text() == "second");
    node.wait_page_cached();
    stand.stop_stock();
    node.wait_price_cached(42);
    stand.start_stock();
    node.wait_stock_cached(42);
}

#[test]
fn same_ids_of_two_databases_not_mixed() {
    let stand = Stand::start();
    stand.stock_sql("create table products(id int primary key, price_cents int, currency text)");
    stand.stock_sql("insert into products values (42, 1, 'EUR')");
    let twin = "\n[data.stock_price]\nkey = \"v1:stock:price:{id}\"\n\
                value = \"select price_cents, currency from products where id = $id\"\n\
                from = { source = \"stock\", table = \"products\", key = \"id\" }\n\
                tags = [\"product-{id}\"]\nstaleness = \"5s\"\nowner = \"warehouse\"\n\
                approved = { by = [\"product\"], on = 2026-11-02 }\n";
    let node = stand.shop.node_with(|config| stand.config(&config) + twin);
    let cost = |node: &Node| {
        let answer = http::get(node.data, "/data/stock_price/42", DEADLINE).expect("an answer");
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        (tier(&answer).map(str::to_owned), body["price_cents"].as_u64())
    };
    let cached = (Some("local".to_owned()), Some(1));
    node.wait("a cached cost", |node| cost(node) == cached);
    node.wait_price_cached(42);
    let loads = node.metric_with("tidegate_loads_total", "stock_price");
    stand.shop.price(42, 7);
    node.wait("the new price", |node| node.cents(42) == Some(7));
    assert_eq!(cost(&node), cached, "the tag of the other database's log is not of this entry");
    assert_eq!(node.metric_with("tidegate_loads_total", "stock_price"), loads);
    stand.stock_sql("update products set price_cents = 2 where id = 42");
    node.wait("the new cost", |node| cost(node).1 == Some(2));
    assert_eq!(node.cents(42), Some(7));
}

/// The databases of a PostgreSQL server share its slots.
#[test]
fn two_databases_of_one_server() {
    let stand = Stand::start();
    let server = &stand.shop.postgres;
    server.psql("create database stock owner shop").expect("a database");
    let sql = |sql: &str| server.psql_as("shop", "stock", sql).expect("the statement runs");
    sql("create table stock(id int primary key, level int)");
    sql("insert into stock values (42, 5)");
    let node = stand.shop.node_with(|config| {
        let config = stand.config(&config);
        let (rest, _) = config.split_once("[source.stock]").expect("the source");
        let url = server.url_as("shop", "stock");
        format!("{rest}[source.stock]\nurl = \"{url}\"\n")
    });
    node.wait_stock_cached(42);
    node.wait_price_cached(42);
    sql("update stock set level = 6 where id = 42");
    node.wait("the new level", |node| node.stock_level(42) == Some(6));
    stand.shop.price(42, 7);
    node.wait("the new price", |node| node.cents(42) == Some(7));
    let slots = "select string_agg(slot_name, ' ' order by slot_name) from pg_replication_slots";
    assert_eq!(server.psql(slots).expect("a list").trim(), "tidegate tidegate_stock");
}

#[test]
fn lost_database_leaves_the_other_proven() {
    let mut stand = Stand::start();
    let node = stand.node();
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    stand.stop_stock();
    node.wait("an unproven stock", |node| !is_proven(&node.stock(42)));
    for id in 1..=20 {
        let answer = node.get(id);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    node.wait_price_cached(42);
    stand.shop.price(42, 5);
    node.wait("the new price", |node| node.cents(42) == Some(5));
    node.wait("a component that fails", |node| {
        ready(node).1["components"]["source:stock"]["ok"] == false
    });
    assert_eq!(ready(&node).0, 200, "the shop is served");
    assert!(ready(&node).1["components"]["source:shop"]["ok"] == true);
    stand.start_stock();
    stand.level(42, 3);
    node.wait("the new level", |node| node.stock_level(42) == Some(3));
    node.wait_stock_cached(42);
    assert_eq!(node.cents(42), Some(5));
}

#[test]
fn batch_shows_the_worse_bound() {
    let mut stand = Stand::start();
    let node = stand.node();
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    let path = "/data/batch?get=product_price/42&get=stock_level/42";
    let batch = |path: &str| {
        let answer = http::get(node.data, path, DEADLINE).expect("an answer");
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer, body)
    };
    let (answer, body) = batch(path);
    assert_eq!(body["items"][0]["value"]["price_cents"], 1_042, "{body:#}");
    assert_eq!(body["items"][1]["value"]["level"], 42, "{body:#}");
    let bounds = [0, 1].map(|at| body["items"][at]["freshness"]["bound_ms"].as_f64());
    let worst = bounds.into_iter().flatten().reduce(f64::max);
    assert_eq!(bound_ms(&answer), worst, "{body:#}");
    let (answer, body) = batch(&format!("{path}&atomic"));
    assert_eq!(answer.status, 400, "{body:#}");
    assert!(
        body["detail"].as_str().is_some_and(|text| text.contains("another source")),
        "{body:#}"
    );
    stand.stop_stock();
    node.wait("a batch without the stock", |_| {
        let (_, body) = batch(path);
        body["items"][0]["status"] == 200 && body["items"][1]["status"] != 200
    });
}

#[test]
fn purges_reach_the_logs_that_they_concern() {
    let mut stand = Stand::start();
    let node = stand.node();
    let purge = |body: &str| {
        let json = [("content-type", "application/json")];
        let answer =
            http::request(node.admin, "POST", "/api/v1/purge", &json, body.as_bytes(), DEADLINE);
        let answer = answer.expect("an answer");
        (answer.status, serde_json::from_slice::<Value>(&answer.body).expect("JSON"))
    };
    for (body, sources) in [
        (r#"{"keys":["v1:catalog:price:42"]}"#, &["shop"][..]),
        (r#"{"keys":["v1:stock:level:42"]}"#, &["stock"]),
        (r#"{"contracts":["stock_level"]}"#, &["stock"]),
        (r#"{"tags":["row-42"]}"#, &["shop", "stock"]),
        (r#"{"key_patterns":["v1:s*"]}"#, &["shop", "stock"]),
        (r#"{"all":true}"#, &["shop", "stock"]),
    ] {
        node.wait_price_cached(42);
        node.wait_stock_cached(42);
        let (status, receipt) = purge(body);
        assert_eq!(status, 200, "{body}: {receipt:#}");
        let positions = receipt["positions"].as_object().map_or(1, serde_json::Map::len);
        assert_eq!(positions, sources.len(), "{body}: {receipt:#}");
        let is_here = |answer: &http::Response| tier(answer) == Some("local");
        if sources.contains(&"stock") {
            assert!(!is_here(&node.stock(42)), "{body}");
        }
        if sources.contains(&"shop") && !body.contains("row-") && !body.contains("v1:s") {
            assert!(!is_here(&node.get(42)), "{body}");
        }
    }
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    let (_, counted) = purge(r#"{"all":true,"dry_run":true}"#);
    let kinds = &counted["local"]["contracts"];
    assert!(kinds["product_price"].as_u64() > Some(0), "{counted:#}");
    assert!(kinds["stock_level"].as_u64() > Some(0), "{counted:#}");
    stand.stop_stock();
    assert_eq!(purge(r#"{"keys":["v1:catalog:price:42"]}"#).0, 200, "it needs one log");
    let (status, problem) = purge(r#"{"tags":["row-42"]}"#);
    assert_eq!(status, 503, "{problem:#}");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("[source.stock]"), "{problem:#}");
}

#[test]
fn memory_tier_for_each_source() {
    let stand = Stand::start();
    let node = stand.shop.node_with(|config| {
        let redis = format!("\"redis://{}\"", stand.shop.redis.addr());
        stand.config(&config.replace(&redis, "\"memory:\""))
    });
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    stand.level(42, 8);
    node.wait("the new level", |node| node.stock_level(42) == Some(8));
    stand.page("row-42", "first");
    node.wait_page_cached();
    stand.page("row-42", "second");
    stand.level(42, 9);
    node.wait("the new page", |node| node.page().text() == "second");
}

/// Returns the status of `/readyz`, and its body.
fn ready(node: &Node) -> (u16, Value) {
    let answer = http::get(node.admin, "/readyz", DEADLINE).expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}
