//! Pages that all clients share: no client's own headers shape them.

use std::thread;

use harness::http::{self, Response};

use crate::echo::Echo;
use crate::stack::{DEADLINE, Node, gateway_of};

fn send(node: &Node, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    http::request(node.gateway, method, path, headers, b"", DEADLINE).expect("a response")
}

fn get(node: &Node, path: &str, headers: &[(&str, &str)]) -> Response {
    send(node, "GET", path, headers)
}

fn status(response: &Response) -> &str {
    response.header("cache-status").expect("a status")
}

/// Names that some framework takes for another target, method, address or user.
const UNKEYED: [&str; 16] = [
    "x_forwarded_host",
    "x-forwarded_proto",
    "x-forwarded-server",
    "x-host",
    "x-backend-host",
    "x-wap-profile",
    "x-original-url",
    "x-http-method-override",
    "x-middleware-prefetch",
    "x-nextjs-data",
    "x-forwarded-prefix",
    "x-amz-website-redirect-location",
    "x-oneagent-js-injection",
    "x-arbitrary",
    "origin",
    "referer",
];

#[test]
fn unkeyed_header_never_reaches_shared_page() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, "");
    for name in UNKEYED {
        let path = format!("/page/{name}");
        for _ in 0..2 {
            get(&node, &path, &[(name, "evil-1")]);
        }
        let others = get(&node, &path, &[]);
        assert_eq!(status(&others), "tidegate; hit", "{name}");
        assert!(!others.text().contains("evil-1"), "{name}: {}", others.text());
    }
}

#[test]
fn client_with_own_headers_gets_own_answer() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, "");
    // Nothing is known of a page: the client's own answer shows that others may share such pages.
    let key = [("x-api-key", "secret-1")];
    let first = get(&node, "/page", &key);
    assert_eq!(status(&first), "tidegate; fwd=miss; detail=headers");
    assert!(first.text().contains("x-api-key: secret-1\r\n"));
    let second = get(&node, "/page", &key);
    assert_eq!(status(&second), "tidegate; fwd=miss; stored");
    assert!(!second.text().contains("secret-1"));
    assert_eq!(status(&get(&node, "/page", &key)), "tidegate; hit");
    // A page that no one may share is never loaded without them.
    for path in ["/private", "/private/2", "/private"] {
        let text = get(&node, path, &key).text();
        assert!(text.contains("x-api-key: secret-1\r\n"), "{path}: {text}");
    }
    assert_eq!(echo.requests(), 5, "and asked for once");
}

#[test]
fn answer_that_varies_by_dropped_header_asked_again() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, "");
    for _ in 0..2 {
        let text = get(&node, "/vary-referer", &[("referer", "https://shop/")]).text();
        assert!(text.contains("referer: https://shop/\r\n"), "{text}");
    }
}

#[test]
fn header_in_key_selects_page() {
    let echo = Echo::start();
    let routes =
        "[[edge.route]]\npath = \"/\"\nkey_headers = [\"X-Currency\", \"Accept-Language\"]\n";
    let (node, _folder) = gateway_of(echo.address, routes);
    let path = "/vary-x-currency";
    let by = |currency| get(&node, path, &[("x-currency", currency)]);
    for currency in ["EUR", "USD"] {
        let first = by(currency);
        assert_eq!(status(&first), "tidegate; fwd=miss; stored", "{currency}");
        assert!(first.text().contains(&format!("x-currency: {currency}\r\n")));
    }
    for currency in ["EUR", "USD"] {
        let second = by(currency);
        assert_eq!(status(&second), "tidegate; hit");
        assert!(second.text().contains(&format!("x-currency: {currency}\r\n")));
    }
    assert_eq!(status(&get(&node, path, &[])), "tidegate; fwd=miss; stored");
    // A client can't have the header removed on the way.
    let hop = [("x-currency", "GBP"), ("connection", "x-currency")];
    assert!(get(&node, path, &hop).text().contains("x-currency: GBP\r\n"));
    // A write evicts all of them.
    assert_eq!(send(&node, "POST", path, &[]).status, 200);
    for currency in ["EUR", "USD"] {
        assert_eq!(status(&by(currency)), "tidegate; fwd=miss; stored", "{currency}");
    }
}

#[test]
fn joined_readers_get_status_of_failing_page() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, "");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let read = || get(&node, "/failing", &[]).status;
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
        readers.into_iter().map(|reader| reader.join().expect("no panic")).collect()
    });
    assert_eq!(statuses, [503; 8]);
    assert!(echo.requests() < 8, "some joined the load of another");
}

#[test]
fn places_of_upstream_in_metrics() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, "concurrency = 3\n");
    thread::scope(|scope| {
        for nth in 0..6 {
            let (node, path) = (&node, format!("/failing/{nth}"));
            scope.spawn(move || send(node, "POST", &path, &[]));
        }
        let requests = |state| node.metric_with("tidegate_origin_requests", state);
        node.wait("running requests", |_| requests("what=\"upstream\",state=\"running\"") > 0.0);
        node.wait("queued requests", |_| requests("what=\"upstream\",state=\"queued\"") > 0.0);
    });
    assert_eq!(node.metric_with("tidegate_origin_limit", "upstream"), 3.0);
}
