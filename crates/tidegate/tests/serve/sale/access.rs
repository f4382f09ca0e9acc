//! Who may read and change stock.

use std::net::SocketAddr;

use harness::http::{self, Response};
use serde_json::Value;

use super::stand::{Stand, kind};
use crate::stack::DEADLINE;

fn send(at: SocketAddr, method: &str, headers: &[(&str, &str)]) -> Response {
    let json = [("content-type", "application/json")];
    let body: &[u8] = if method == "PUT" { br#"{"on_hand":5}"# } else { b"" };
    http::request(at, method, "/v1/stock/A", &[&json, headers].concat(), body, DEADLINE)
        .expect("an answer")
}

#[test]
fn role_decides_on_reads_and_changes() {
    let stand = Stand::start();
    let node = stand.guarded_node();
    let [shop, display] = [("shop", "operator"), ("display", "viewer")]
        .map(|(name, role)| format!("Bearer {}", stand.token(name, role)));
    let with = |method: &str, token: &str| send(node.sale, method, &[("authorization", token)]);
    harness::until("the new tokens", DEADLINE, || {
        Ok((with("GET", &display).status != 401).then_some(()))
    })
    .expect("known");
    assert_eq!(with("PUT", &display).status, 403);
    assert_eq!(kind(&with("PUT", &display)), "not-permitted");
    assert_eq!(with("PUT", &shop).status, 200);
    assert_eq!(with("GET", &display).status, 200);
    let stranger = send(node.sale, "PUT", &[]);
    assert_eq!((stranger.status, &*kind(&stranger)), (401, "unauthenticated"));
    assert_eq!(stranger.header("www-authenticate"), Some("Bearer"));
    stand.audit();
}

#[test]
fn rebound_page_changes_no_stock() {
    let stand = Stand::start();
    let node = stand.node();
    let rebound = send(node.sale, "PUT", &[("host", "evil.example")]);
    assert_eq!((rebound.status, &*kind(&rebound)), (421, "wrong-host"));
    let foreign = send(node.sale, "PUT", &[("origin", "https://evil.example")]);
    assert_eq!((foreign.status, &*kind(&foreign)), (403, "not-permitted"));
    assert_eq!(send(node.sale, "GET", &[]).status, 404, "no stock was set");
    assert_eq!(send(node.sale, "PUT", &[]).status, 200);
}

#[test]
fn stock_changes_on_record() {
    let stand = Stand::start();
    let node = stand.guarded_node();
    let shop = format!("Bearer {}", stand.token("shop", "operator"));
    let headers = [("authorization", shop.as_str()), ("content-type", "application/json")];
    let put = |body: &str| {
        http::request(node.sale, "PUT", "/v1/stock/A", &headers, body.as_bytes(), DEADLINE)
            .expect("an answer")
    };
    harness::until("the new token", DEADLINE, || Ok((put("{}").status != 401).then_some(())))
        .expect("known");
    assert_eq!(put(r#"{"on_hand":5}"#).status, 200);
    let headers = [&headers[..], &[("idempotency-key", "d-1")]].concat();
    let adjust = |body: &str| {
        let path = "/v1/stock/A/adjust";
        http::request(node.sale, "POST", path, &headers, body.as_bytes(), DEADLINE)
            .expect("an answer")
    };
    assert_eq!(adjust(r#"{"by":-2,"reason":"breakage"}"#).status, 200);
    let log = std::fs::read_to_string(stand.folder().join("audit.log")).expect("readable");
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|record: &Value| {
            record["action"].as_str().is_some_and(|it| it.starts_with("stock"))
        })
        .collect();
    let shown: Vec<&str> = records.iter().filter_map(|record| record["action"].as_str()).collect();
    assert_eq!(shown, ["stock.set", "stock.set.result", "stock.adjust", "stock.adjust.result"]);
    assert!(records.iter().all(|record| record["by"] == "shop" && record["from"] == "127.0.0.1"));
    assert_eq!(records[0]["detail"]["sku"], "A");
    assert_eq!(records[0]["detail"]["on_hand"], 5);
    assert_eq!(records[1]["detail"]["record"], records[0]["number"]);
    assert_eq!(records[2]["detail"]["by"], -2);
    assert_eq!(records[2]["detail"]["reason"], "breakage");

    // A change that can't be recorded does not happen.
    let path = stand.folder().join("audit.log");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("made");
    let refused = put(r#"{"on_hand":9}"#);
    assert_eq!((refused.status, &*kind(&refused)), (503, "not-recorded"));
    assert!(refused.text().contains("nothing was changed"), "{}", refused.text());
    let stock = http::get(node.sale, "/v1/stock/A", DEADLINE);
    assert_eq!(stock.expect("an answer").status, 401);
    let stock = http::request(node.sale, "GET", "/v1/stock/A", &headers, b"", DEADLINE);
    let stock: Value = serde_json::from_slice(&stock.expect("an answer").body).expect("JSON");
    assert_eq!(stock["on_hand"], 3);
}
