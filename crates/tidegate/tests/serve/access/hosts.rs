//! DNS rebinding and pages of other sites, against a node without tokens.

use harness::http::{self, Response};

use crate::stack::{DEADLINE, Node, Stack};

fn send(node: &Node, data: bool, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let address = if data { node.data } else { node.admin };
    let json = [headers, &[("content-type", "application/json")]].concat();
    let body: &[u8] = if method == "POST" { br#"{"all":true}"# } else { b"" };
    http::request(address, method, path, &json, body, DEADLINE).expect("an answer")
}

#[test]
fn rebound_page_refused_and_program_served() {
    let stack = Stack::start();
    let node = stack.node();
    let price = "/data/product_price/42";
    let requests = [
        (false, "POST", "/api/v1/purge"),
        (false, "POST", "/api/v1/invalidate"),
        (false, "POST", "/api/v1/token"),
        (false, "GET", "/api/v1/status"),
        (false, "GET", "/metrics"),
        (true, "GET", price),
        (true, "GET", "/data/batch?get=product_price/42"),
    ];
    for (data, method, path) in requests {
        let status = |headers: &[(&str, &str)]| send(&node, data, method, path, headers).status;
        assert_eq!(status(&[("host", "evil.example")]), 421, "{path}");
        assert_eq!(status(&[("host", "127.0.0.1.evil.example:9180")]), 421, "{path}");
        assert_eq!(status(&[("origin", "http://evil.example")]), 403, "{path}");
        assert_eq!(status(&[("origin", "null")]), 403, "{path}");
        // A page can't change the host that its browser sends, but it can send other headers.
        let forwarded = [("host", "evil.example"), ("x-forwarded-host", "localhost")];
        assert_eq!(status(&forwarded), 421, "{path}");
        assert_eq!(status(&[]), 200, "{path}: a program sends no Origin");
        assert_eq!(status(&[("host", "localhost:9180")]), 200, "{path}");
    }
    let refused = send(&node, false, "POST", "/api/v1/purge", &[("host", "evil.example")]);
    assert!(refused.text().contains("[access] hosts"), "{}", refused.text());
    assert!(node.metric_with("tidegate_access_refused_total", "reason=\"host\"") > 0.0);
}

#[test]
fn health_is_open_without_details() {
    let stack = Stack::start();
    let node = stack.node();
    for path in ["/healthz", "/readyz"] {
        let probe = send(&node, false, "GET", path, &[("host", "balancer.example")]);
        assert_eq!(probe.status, 200, "{path}");
        assert!(!probe.text().contains("detail"), "{}", probe.text());
    }
    assert!(send(&node, false, "GET", "/readyz", &[]).text().contains("detail"));
}

#[test]
fn configured_names_are_own_names() {
    let stack = Stack::start();
    let node = stack.node_with(|config| {
        format!("[access]\nhosts = [\"tidegate.internal\", \"*.svc\"]\n\n{config}")
    });
    for (host, status) in
        [("tidegate.internal:9180", 200), ("a.b.svc", 200), ("internal", 421), ("svc", 421)]
    {
        let answer = send(&node, false, "GET", "/api/v1/status", &[("host", host)]);
        assert_eq!(answer.status, status, "{host}");
    }
}
