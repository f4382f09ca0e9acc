//! The API.

use serde_json::{Value, json};

use super::stand::{Stand, body, kind, text};
use crate::stack::DEADLINE;

#[test]
fn hold_to_sale() {
    let stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    let put = body(&client.put("A", &json!({ "on_hand": 100, "location": "main" })));
    assert_eq!(put["policy"], json!({ "kind": "strict" }));
    assert_eq!(client.stock("A"), [100, 0, 0, 100]);
    let held = client.hold("key 1", "c1", &[("A", 2)]);
    assert_eq!(held.status, 201, "{held:?}");
    let hold = text(&body(&held), "hold");
    assert_eq!(held.header("location"), Some(&*format!("/v1/holds/{hold}")));
    assert_eq!(body(&held)["lines"], json!([{ "sku": "A", "location": "main", "quantity": 2 }]));
    let repeated = client.hold("key 1", "c1", &[("A", 2)]);
    assert_eq!((repeated.status, &repeated.body), (201, &held.body));
    let shown = body(&client.get(&format!("/v1/holds/{hold}")));
    assert_eq!((&shown["state"], &shown["extended"]), (&json!("active"), &json!(false)));
    let extend = format!("/v1/holds/{hold}/extend");
    let extended = client.post(&extend, "key 2", &json!({ "ttl_seconds": 60 }));
    assert_eq!(extended.status, 200, "{extended:?}");
    assert!(text(&body(&extended), "expires_at") > text(&body(&held), "expires_at"));
    assert_eq!(kind(&client.post(&extend, "key 3", &Value::Null)), "extended-before");
    let confirmed = client.confirm(&hold, "key 4");
    assert_eq!((confirmed.status, &body(&confirmed)["state"]), (200, &json!("confirmed")));
    assert_eq!(client.confirm(&hold, "key 4").body, confirmed.body);
    let again = client.confirm(&hold, "key 5");
    assert_eq!((again.status, kind(&again)), (409, "hold-ended".to_owned()));
    assert_eq!(body(&again)["state"], "confirmed");
    let cancel = client.send("DELETE", &format!("/v1/holds/{hold}"), None, &Value::Null);
    assert_eq!(cancel.expect("an answer").status, 409);
    assert_eq!(client.stock("A"), [100, 0, 2, 98]);
    let adjusted =
        client.post("/v1/stock/A/adjust", "key 6", &json!({ "by": -3, "reason": "broken" }));
    assert_eq!((adjusted.status, &body(&adjusted)["on_hand"]), (200, &json!(97)));
    stand.audit();
}

#[test]
fn refusals_have_stable_types() {
    let stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    client.put("A", &json!({ "on_hand": 3, "customer_limit": 2 }));
    client.put_units("B", 1);
    let holds = |key, lines: Value| {
        client.post("/v1/holds", key, &json!({ "customer": "c", "lines": lines }))
    };
    let line = |sku: &str, quantity: i64| json!([{ "sku": sku, "quantity": quantity }]);
    for (answer, status, expected) in [
        (holds("1", line("B", 2)), 409, "sold-out"),
        (holds("2", line("A", 3)), 409, "customer-limit"),
        (holds("3", line("C", 1)), 404, "unknown-stock"),
        (holds("4", line("A", 0)), 400, "invalid-request"),
        (holds("5", line("A", i64::MAX)), 400, "invalid-request"),
        (holds("6", json!([])), 400, "invalid-request"),
        (holds("7", json!([{ "sku": "A", "quantity": 1, "price": 1 }])), 400, "invalid-request"),
        (
            client.send("POST", "/v1/holds", None, &json!({})).expect("an answer"),
            400,
            "idempotency-key-missing",
        ),
        (client.get("/v1/holds/none"), 404, "unknown-hold"),
        (client.get("/v1/holds/0123456789abcdef0123456789abcdef"), 404, "unknown-hold"),
        (client.get("/v1/stock/C"), 404, "unknown-stock"),
        (client.get("/v2"), 404, "not-found"),
        (client.get("/v1/holds"), 405, "method-not-allowed"),
        (client.put("A", &json!({ "on_hand": -1 })), 400, "invalid-request"),
        (
            client.put("A", &json!({ "on_hand": 1, "policy": { "kind": "bounded-oversell" } })),
            400,
            "invalid-request",
        ),
    ] {
        assert_eq!((answer.status, &*kind(&answer)), (status, expected), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let sold_out = body(&holds("1", line("B", 2)));
    let shown = json!([{ "sku": "B", "location": "main", "requested": 2, "available": 1 }]);
    assert_eq!(sold_out["lines"], shown);
    assert_eq!(client.hold("k", "c", &[("A", 1)]).status, 201);
    let reused = client.hold("k", "c", &[("A", 2)]);
    assert_eq!((reused.status, &*kind(&reused)), (422, "idempotency-key-reused"));
    let committed = client.put("A", &json!({ "on_hand": 0 }));
    assert_eq!((committed.status, &*kind(&committed)), (409, "stock-committed"));
    assert_eq!(body(&committed)["free"], 2);
    stand.audit();
}

/// A time that is absent is the default, not none.
#[test]
fn hold_without_time_lasts_ten_minutes() {
    let stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    client.put_units("A", 1);
    let wanted = json!({ "customer": "c", "lines": [{ "sku": "A", "quantity": 1 }] });
    assert_eq!(client.post("/v1/holds", "k", &wanted).status, 201);
    let seconds = "select extract(epoch from expires_at - created_at)::int from tidegate.hold";
    assert_eq!(stand.count(seconds), 600);
    stand.audit();
}

/// Bytes that no client should send: each gets a problem, and the node lives.
#[test]
fn malformed_requests_get_problems() {
    let stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    client.put_units("A", 1);
    let json_type = ("content-type", "application/json");
    let send = |headers: &[(&str, &str)], bytes: &[u8]| {
        let answer =
            harness::http::request(node.sale, "POST", "/v1/holds", headers, bytes, DEADLINE);
        answer.expect("an answer")
    };
    let key = ("idempotency-key", "k");
    for (headers, bytes, status) in [
        (&[key, json_type][..], &b"{"[..], 400),
        (&[key, json_type], b"\xff\xfe", 400),
        (&[key, json_type], b"null", 400),
        (
            &[key, json_type],
            b"{\"customer\":\"a\\u0000b\",\"lines\":[{\"sku\":\"A\",\"quantity\":1}]}",
            400,
        ),
        (
            &[key, json_type],
            b"{\"customer\":\"c\",\"lines\":[{\"sku\":\"A\",\"quantity\":1.5}]}",
            400,
        ),
        (
            &[key, json_type],
            b"{\"customer\":\"c\",\"lines\":[{\"sku\":\"A\",\"quantity\":99999999999999999999}]}",
            400,
        ),
        (&[key, ("content-type", "text/plain")], b"{}", 415),
        (&[("idempotency-key", "\t"), json_type], b"{}", 400),
        (&[key, key, json_type], b"{}", 400),
        (&[key, json_type], &[b' '; 100_000], 413),
    ] {
        let answer = send(headers, bytes);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(!kind(&answer).is_empty());
    }
    assert_eq!(client.stock("A"), [1, 0, 0, 1]);
    assert_eq!(client.hold("k", "c", &[("A", 1)]).status, 201);
    stand.audit();
}

#[test]
fn expired_stock_sold_again() {
    let stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    client.put_units("A", 1);
    let held = client.try_hold("1", "c1", &[("A", 1)], 1).expect("an answer");
    let hold = text(&body(&held), "hold");
    assert_eq!(client.hold("2", "c2", &[("A", 1)]).status, 409);
    let expired = || {
        let shown = body(&client.get(&format!("/v1/holds/{hold}")));
        Ok((shown["state"] == "expired").then_some(()))
    };
    harness::until("the expiry", DEADLINE, expired).expect("expired");
    assert_eq!(client.stock("A"), [1, 0, 0, 1], "at once");
    // A refusal that was remembered is one for up to a second.
    let sold = || Ok((client.hold("2", "c2", &[("A", 1)]).status == 201).then_some(()));
    harness::until("a hold of the expired unit", DEADLINE, sold).expect("held");
    let late = client.confirm(&hold, "3");
    assert_eq!((late.status, body(&late)["state"].clone()), (409, json!("expired")));
    stand.audit();
}
