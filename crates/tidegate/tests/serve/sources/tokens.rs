//! Read-your-writes over two databases.

use harness::http::{self, Response};
use serde_json::Value;

use super::stand::Stand;
use crate::stack::{DEADLINE, Node, tier};

fn token(node: &Node, query: &str) -> (u16, Value) {
    let path = format!("/api/v1/token{query}");
    let answer = http::request(node.admin, "POST", &path, &[], b"", DEADLINE).expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

fn get(node: &Node, face: std::net::SocketAddr, path: &str, token: &str) -> Response {
    let headers = [("tidegate-after", token)];
    let answer = http::request(face, "GET", path, &headers, b"", DEADLINE).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}\n{:#}", node.status());
    answer
}

#[test]
fn token_covers_writes_to_both_databases() {
    let stand = Stand::start();
    let (writer, reader) = (stand.node(), stand.node());
    stand.page("row-42", "0");
    for round in 1..=20_u32 {
        reader.wait_price_cached(42);
        reader.wait_stock_cached(42);
        stand.page("row-42", &round.to_string());
        stand.shop.price(42, round);
        stand.level(42, round);
        let (status, issued) = token(&writer, "");
        assert_eq!(status, 200, "{issued:#}");
        assert_eq!(issued["positions"].as_object().map(serde_json::Map::len), Some(2));
        let token = issued["token"].as_str().expect("a token");
        let page = get(&reader, reader.gateway, "/p/42", token);
        assert_eq!(page.text(), round.to_string(), "{page:?}");
        let price = get(&reader, reader.data, "/data/product_price/42", token);
        let price: Value = serde_json::from_slice(&price.body).expect("JSON");
        assert_eq!(price["price_cents"], round, "{price:#}");
        let batch =
            get(&reader, reader.data, "/data/batch?get=stock_level/42&get=product_price/42", token);
        let body: Value = serde_json::from_slice(&batch.body).expect("JSON");
        assert_eq!(body["items"][0]["value"]["level"], round, "{body:#}");
        assert_eq!(body["items"][1]["value"]["price_cents"], round, "{body:#}");
    }
}

#[test]
fn token_of_one_database_leaves_the_other_cached() {
    let mut stand = Stand::start();
    let node = stand.node();
    node.wait_price_cached(42);
    stand.level(42, 3);
    let (status, issued) = token(&node, "?source=stock");
    assert_eq!(status, 200, "{issued:#}");
    let of_stock = issued["token"].as_str().expect("a token").to_owned();
    assert!(!of_stock.contains('~'), "{of_stock}");
    let price = get(&node, node.data, "/data/product_price/42", &of_stock);
    assert_eq!(tier(&price), Some("local"), "no write to its database");
    let level = get(&node, node.data, "/data/stock_level/42", &of_stock);
    assert!(level.text().contains('3'), "{level:?}");
    let (status, problem) = token(&node, "?source=stok");
    assert_eq!(status, 404, "{problem:#}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("shop, stock")));
    stand.stop_stock();
    let (status, problem) = token(&node, "");
    assert_eq!(status, 503, "{problem:#}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("[source.stock]")));
    assert_eq!(token(&node, "?source=shop").0, 200);
}
