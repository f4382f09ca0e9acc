//! The descriptions at `/openapi.json`, compared with the listeners that they describe, and requests that a tool made of
//! them.

use std::collections::BTreeSet;

use harness::http::{self, Response};
use serde_json::{Value, json};

use super::checkout::rehearsal::{Rehearsal, hold, pay};
use super::document::Document;
use super::stand::{Node, body, kind, text};
use crate::stack::DEADLINE;

/// A job of this kind is taken by requests.
const JOBS: &str = "\n[jobs.export]\nclass = \"low\"\n";

fn shop() -> Rehearsal {
    let mut shop = Rehearsal::start();
    shop.stand.more += JOBS;
    shop
}

fn documents(node: &Node) -> [Document; 3] {
    [node.sale, node.data, node.admin].map(Document::read)
}

/// Writes names into the places of a path's parameters: of an unknown hold, order or job.
fn filled(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    for part in &mut parts {
        *part = match *part {
            "{hold}" | "{order}" | "{checkout}" => "00000000000000000000000000000000",
            "{job}" => "1",
            "{contract}" => "product_price",
            "{id}" => "42",
            "{provider}" => "card",
            other if other.starts_with('{') => "A",
            other => other,
        };
    }
    parts.join("/")
}

#[test]
fn described_paths_have_the_described_methods() {
    let shop = shop();
    let (node, _) = shop.node();
    for document in documents(&node) {
        assert!(document.paths().len() >= 3);
        for path in document.paths().keys() {
            let patch = http::request(document.at, "PATCH", &filled(path), &[], b"", DEADLINE);
            let patch = patch.expect("an answer");
            assert_eq!((patch.status, &*kind(&patch)), (405, "method-not-allowed"), "{path}");
            let allow = patch.header("allow").unwrap_or_else(|| panic!("{path}: {patch:?}"));
            let allow: BTreeSet<String> =
                allow.split(',').map(|method| method.trim().to_owned()).collect();
            assert_eq!(allow, document.allowed(path), "{path}");
        }
        let other = http::get(document.at, "/v2", DEADLINE).expect("an answer");
        assert_eq!(other.status, 404);
        assert!(kind(&other).ends_with("not-found") || kind(&other) == "unknown-path");
    }
}

/// The parser of each body names the members that it knows when it is given another one.
#[test]
fn described_members_are_those_of_the_parsers() {
    let shop = shop();
    let (node, _) = shop.node();
    let mut compared = 0;
    for document in documents(&node) {
        for (method, path, operation) in document.operations() {
            if let Some(schema) = document.body(operation) {
                compared += compare_members(&document, (method, path), schema, &|body| body);
            }
        }
    }
    assert!(compared >= 15, "{compared}");
}

/// Compares the members of an object, and of those in it; `around`: puts it in its place in the body.
fn compare_members(
    document: &Document,
    (method, path): (&str, &str),
    schema: &Value,
    around: &dyn Fn(Value) -> Value,
) -> usize {
    let Some(properties) = schema["properties"].as_object() else { return 0 };
    let sent = around(json!({ "?": 1 }));
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let sent = sent.to_string();
    let method_sent = method.to_ascii_uppercase();
    let path_sent = filled(path);
    let answer =
        http::request(document.at, &method_sent, &path_sent, &headers, sent.as_bytes(), DEADLINE);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 400, "{method} {path} {sent}: {answer:?}");
    document.check(method, path, &answer);
    let detail = text(&body(&answer), "detail");
    let known: BTreeSet<&str> = detail.split('`').skip(1).step_by(2).skip(1).collect();
    let described: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
    assert_eq!(known, described, "{method} {path} {sent}: {detail}");
    let mut compared = 1;
    for (name, schema) in properties {
        let schema = document.followed(schema);
        let (inner, is_list) = match schema["type"] == "array" {
            true => (document.followed(&schema["items"]), true),
            false => (schema, false),
        };
        let place = |value: Value| {
            let value = if is_list { json!([value]) } else { value };
            around(json!({ name: value }))
        };
        // The kinds of policies are parsed as one object.
        if name != "policy" {
            compared += compare_members(document, (method, path), inner, &place);
        }
    }
    compared
}

#[test]
fn answers_are_as_described() {
    let shop = shop();
    let (node, client) = shop.node();
    let [sale, data, admin] = documents(&node);
    let check = |method: &str, path: &str, answer: &Response| sale.check(method, path, answer);
    check("get", "/v1/stock/{sku}", &client.get("/v1/stock/A"));
    check("get", "/v1/stock/{sku}", &client.get("/v1/stock/none"));
    check("get", "/v1/stock/{sku}", &client.get("/v1/stock/%ff"));
    check(
        "put",
        "/v1/stock/{sku}",
        &client.put("B", &json!({ "on_hand": 3, "customer_limit": 1 })),
    );
    check("put", "/v1/stock/{sku}", &client.put("A", &json!({ "on_hand": -1 })));
    let held = client.hold("h", "c", &[("A", 1)]);
    check("post", "/v1/holds", &held);
    check("post", "/v1/holds", &client.hold("h", "c", &[("A", 2)]));
    check("post", "/v1/holds", &client.hold("h2", "c", &[("A", 2_000)]));
    check("post", "/v1/holds", &client.hold("h3", "c", &[("B", 2)]));
    let name = text(&body(&held), "hold");
    check("get", "/v1/holds/{hold}", &client.get(&format!("/v1/holds/{name}")));
    let extend = format!("/v1/holds/{name}/extend");
    check("post", "/v1/holds/{hold}/extend", &client.post(&extend, "e", &Value::Null));
    check("post", "/v1/holds/{hold}/extend", &client.post(&extend, "e2", &Value::Null));
    let paid_hold = hold(&client, "c1");
    check("post", "/v1/checkouts", &pay(&client, "p0", &paid_hold, "pm_declined"));
    let paid = pay(&client, "p1", &paid_hold, "pm_card");
    check("post", "/v1/checkouts", &paid);
    let order = format!("/v1/orders/{}", text(&body(&paid), "order"));
    check("get", "/v1/orders/{order}", &client.get(&order));
    let refund = client.post(&format!("{order}/refund"), "r", &json!({ "amount": 1 }));
    check("post", "/v1/orders/{order}/refund", &refund);
    let much = client.post(&format!("{order}/refund"), "r2", &json!({ "amount": 9_999 }));
    check("post", "/v1/orders/{order}/refund", &much);
    check("get", "/v1/events", &client.get("/v1/events"));
    for query in ["limit=0", "limit=5000", "limit=x", "other=1", "after=-", "after=7"] {
        let answer = client.get(&format!("/v1/events?{query}"));
        assert_eq!(kind(&answer), "invalid-request", "{query}");
        check("get", "/v1/events", &answer);
    }
    check("get", "/v1/jobs", &client.get("/v1/jobs"));
    let read = |document: &Document, path: &str, template: &str| {
        let answer = http::get(document.at, path, DEADLINE).expect("an answer");
        document.check("get", template, &answer);
    };
    for path in
        ["/data/product_price/42", "/data/product_price/0", "/data/product_price/x", "/data/none/1"]
    {
        read(&data, path, "/data/{contract}/{id}");
    }
    for query in ["get=product_price/42&get=none/1&atomic", "", "get=%ff"] {
        read(&data, &format!("/data/batch?{query}"), "/data/batch");
    }
    for (path, template) in [
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/metrics", "/metrics"),
        ("/api/v1/status", "/api/v1/status"),
        ("/api/v1/audit", "/api/v1/audit"),
        ("/api/v1/inspect?contract=product_price&id=42", "/api/v1/inspect"),
        ("/api/v1/inspect?contract=product_price", "/api/v1/inspect"),
        ("/api/v1/inspect?contract=%ff&id=1", "/api/v1/inspect"),
        ("/api/v1/invalidations?limit=-1", "/api/v1/invalidations"),
        ("/api/v1/invalidations", "/api/v1/invalidations"),
    ] {
        read(&admin, path, template);
    }
    let purge = |sent: &str| {
        let headers = [("content-type", "application/json")];
        let path = "/api/v1/purge";
        let answer = http::request(admin.at, "POST", path, &headers, sent.as_bytes(), DEADLINE);
        let answer = answer.expect("an answer");
        admin.check("post", path, &answer);
        answer.status
    };
    assert_eq!(purge(r#"{"tags":["product-42"]}"#), 200);
    assert_eq!(purge(r#"{"tags":["product-42"],"dry_run":true}"#), 200);
    assert_eq!(purge("{}"), 400);
    assert_eq!(purge(r#"[["product-42"]]"#), 400, "an array is no object");
    shop.check();
}

/// serde reads a struct from an array, by the order of its fields.
#[test]
fn arrays_are_no_requests() {
    let shop = shop();
    let (node, client) = shop.node();
    let held = hold(&client, "c1");
    let payment = json!([null, "pm_card", 1_999, "EUR", "now"]);
    for (path, sent) in [
        ("/v1/holds", json!(["c", [["A", null, 1]], null])),
        ("/v1/holds", json!({ "customer": "c", "lines": [["A", null, 1]] })),
        ("/v1/checkouts", json!([held, payment])),
        ("/v1/checkouts", json!({ "hold": held, "payment": payment })),
        ("/v1/jobs", json!(["export", 1, null])),
    ] {
        let answer = client.post(path, "k", &sent);
        assert_eq!(
            (answer.status, &*kind(&answer)),
            (400, "invalid-request"),
            "{sent}: {answer:?}"
        );
        let detail = text(&body(&answer), "detail");
        assert!(detail.contains("expected an object"), "{detail}");
    }
    let stock = client.put("A", &json!([5]));
    assert_eq!((stock.status, &*kind(&stock)), (400, "invalid-request"));
    assert_eq!(client.stock("A"), [100, 1, 0, 99]);
    drop(node);
}

/// A worker gets the content of a job as the shop has written it.
#[test]
fn numbers_of_jobs_keep_their_digits() {
    let shop = shop();
    let (node, client) = shop.node();
    let content = r#"{"id":123456789012345678901234567890,"price":0.10,"big":9007199254740993}"#;
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let sent = format!(r#"{{"kind":"export","content":{content}}}"#);
    let sent = http::request(node.sale, "POST", "/v1/jobs", &headers, sent.as_bytes(), DEADLINE);
    assert_eq!(sent.expect("an answer").status, 201);
    let claimed = client.post("/v1/jobs/claim", "c", &json!({ "kind": "export" }));
    assert!(claimed.text().contains(content), "{}", claimed.text());
    Document::read(node.sale).check("post", "/v1/jobs/claim", &claimed);
}

/// Tools read the description before they have a token's rights to anything else; strangers do not.
#[test]
fn description_needs_a_token() {
    let shop = shop();
    let node = shop.stand.guarded_node();
    let viewer = format!("Bearer {}", shop.stand.token("tools", "viewer"));
    for at in [node.sale, node.data, node.admin] {
        let get = |headers: &[(&str, &str)]| {
            http::request(at, "GET", "/openapi.json", headers, b"", DEADLINE).expect("an answer")
        };
        let stranger = get(&[]);
        assert_eq!((stranger.status, &*kind(&stranger)), (401, "unauthenticated"));
        assert_eq!(stranger.header("www-authenticate"), Some("Bearer"));
        harness::until("the new token", DEADLINE, || {
            Ok((get(&[("authorization", &viewer)]).status == 200).then_some(()))
        })
        .expect("known");
    }
}
