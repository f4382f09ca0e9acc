//! Who may read and change stock.

use std::net::SocketAddr;

use harness::http::{self, Response};

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
