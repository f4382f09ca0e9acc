//! Roles, readers, revocation.

use harness::http;
use serde_json::Value;

use super::{Guarded, SECOND_CONTRACT, get, post, text, wait};
use crate::stack::DEADLINE;

#[test]
fn role_decides_on_the_admin_listener() {
    let (shop, root) = Guarded::start();
    let viewer = shop.token(&["monitoring", "--role", "viewer"]);
    let operator = shop.token(&["deploy", "--role", "operator"]);
    let reader = shop.token(&["web", "--read", "product_price"]);
    wait("the new tokens", || shop.admin("/metrics", &operator) == 200);
    wait("the last token", || shop.admin("/metrics", &reader) == 403);

    for path in ["/metrics", "/api/v1/status", "/api/v1/audit", "/api/v1/invalidations"] {
        let statuses = [&viewer, &operator, &root, &reader].map(|token| shop.admin(path, token));
        assert_eq!(statuses, [200, 200, 200, 403], "{path}");
        let none = http::get(shop.node.admin, path, DEADLINE).expect("an answer");
        assert_eq!(none.status, 401, "{path}");
        assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    }
    let one = r#"{"tags":["product-1"]}"#;
    let all = r#"{"all":true}"#;
    let purge = |body| [&viewer, &operator, &root, &reader].map(|t| shop.purge(t, body).status);
    assert_eq!(purge(one), [403, 200, 200, 403]);
    assert_eq!(purge(all), [403, 403, 200, 403]);
    let dry = r#"{"all":true,"dry_run":true}"#;
    assert_eq!(purge(dry), [403, 200, 200, 403]);
    let invalidate = |token| post(shop.node.admin, "/api/v1/invalidate", token, all).status;
    assert_eq!([&operator, &root].map(|token| invalidate(token)), [403, 200]);
    let causal = |token: &String| post(shop.node.admin, "/api/v1/token", token, "").status;
    assert_eq!([&viewer, &operator, &root, &reader].map(causal), [200; 4], "any token");
    for wrong in ["", "x", &root[..root.len() - 1], &format!("{root}x"), &root.to_uppercase()] {
        assert_eq!(shop.admin("/metrics", wrong), 401, "{wrong}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(shop.node.admin, path, DEADLINE).expect("an answer").status, 200);
    }
    let anonymous = http::get(shop.node.admin, "/readyz", DEADLINE).expect("an answer").text();
    assert!(!anonymous.contains("detail"), "{anonymous}");
    assert!(get(shop.node.admin, "/readyz", &viewer).text().contains("detail"));
}

#[test]
fn reader_gets_its_contracts_only() {
    let (shop, root) = Guarded::start();
    let reader = shop.token(&["web", "--read", "product_price"]);
    let viewer = shop.token(&["monitoring", "--role", "viewer"]);
    let data = |path: &str, token: &str| get(shop.node.data, path, token);
    wait("the new tokens", || data("/data/product_price/42", &viewer).status == 403);

    assert_eq!(data("/data/product_price/42", &reader).status, 200);
    assert_eq!(data("/data/product_name/42", &reader).status, 403);
    assert_eq!(data("/data/product_name/42", &root).status, 200);
    let none = http::get(shop.node.data, "/data/product_price/42", DEADLINE).expect("an answer");
    assert_eq!(none.status, 401);
    let unknown = data("/data/unknown/1", &reader);
    assert_eq!(unknown.status, 403, "as for a contract that exists");
    let unknown = data("/data/unknown/1", &root).text();
    assert!(unknown.contains("product_name"), "{unknown}");

    let batch = data("/data/batch?get=product_price/42&get=product_name/42", &reader);
    let body: Value = serde_json::from_slice(&batch.body).expect("JSON");
    assert_eq!(
        (&body["items"][0]["status"], &body["items"][1]["status"]),
        (&200.into(), &403.into())
    );
    assert!(!batch.text().contains("thing 42"), "{}", batch.text());
    let atomic = "/data/batch?get=product_price/42&get=product_name/42&atomic";
    assert!(!data(atomic, &reader).text().contains("thing 42"));
    assert!(data(atomic, &root).text().contains("thing 42"));
}

#[test]
fn revoked_token_refused_without_a_restart() {
    let (shop, root) = Guarded::start();
    let old = shop.token(&["web-1", "--read", "product_price", "--role", "viewer"]);
    wait("the first token", || shop.admin("/metrics", &old) == 200);
    let new = shop.token(&["web-2", "--read", "product_price", "--role", "viewer"]);
    wait("the second token", || shop.admin("/metrics", &new) == 200);
    assert_eq!(shop.admin("/metrics", &old), 200, "both are valid while clients change");

    let revoked = shop.run(&[], &["token", "revoke", "web-1"]);
    assert_eq!(revoked.status.code(), Some(0), "{}", text(&revoked));
    wait("the refusal", || shop.admin("/metrics", &old) == 401);
    wait("the refusal of data", || {
        get(shop.node.data, "/data/product_price/42", &old).status == 401
    });
    assert_eq!(shop.admin("/metrics", &new), 200);

    let short = shop.token(&["short", "--role", "viewer", "--expires", "3s"]);
    wait("the short token", || shop.admin("/metrics", &short) == 200);
    wait("its end", || shop.admin("/metrics", &short) == 401);
    let expired = get(shop.node.admin, "/metrics", &short).text();
    assert!(expired.contains("has expired"), "{expired}");
    assert_eq!(shop.admin("/metrics", &root), 200);
}

#[test]
fn malformed_file_is_named_and_changes_nothing() {
    let (shop, root) = Guarded::start();
    let path = shop.path("tokens.toml");
    let valid = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, &valid[..valid.len() / 2]).expect("written");
    wait("the report", || get(shop.node.admin, "/readyz", &root).text().contains("tokens.toml: "));
    assert_eq!(shop.admin("/metrics", &root), 200, "a typing error locks no caller out at once");
    let unreadable = get(shop.node.admin, "/metrics", &root).text();
    assert!(unreadable.contains("tidegate_access_tokens_unreadable 1"));
    std::fs::write(&path, &valid).expect("written");
    wait("the report of the end", || {
        get(shop.node.admin, "/metrics", &root)
            .text()
            .contains("tidegate_access_tokens_unreadable 0")
    });
}

#[test]
fn auditor_follows_its_rotated_token() {
    let (shop, root) = Guarded::start();
    let first = shop.token(&["audit-1", "--role", "viewer"]);
    wait("the first token", || shop.admin("/metrics", &first) == 200);
    let file = shop.path("audit.token");
    std::fs::write(&file, format!("{first}\n")).expect("written");
    let auditor = shop.stack.node_with(|config| {
        format!(
            "{config}\n{SECOND_CONTRACT}\n[audit]\nreads_per_second = 200\nsample = 1.0\n\
             peers = [\"http://{}\"]\npeers_token = \"{}\"\n",
            shop.node.admin,
            file.display()
        )
    });
    let answered = || auditor.metric_with("tidegate_audit_peer_looks_total", "\"answered\"");
    let more_than = |count: f64| {
        get(shop.node.data, "/data/product_price/42", &root);
        auditor.get(42);
        answered() > count
    };
    wait("an answer", || more_than(0.0));

    let second = shop.token(&["audit-2", "--role", "viewer"]);
    std::fs::write(&file, &second).expect("written");
    assert_eq!(shop.run(&[], &["token", "revoke", "audit-1"]).status.code(), Some(0));
    wait("the refusal", || shop.admin("/metrics", &first) == 401);
    let before = answered();
    wait("an answer with the new token", || more_than(before));
}
