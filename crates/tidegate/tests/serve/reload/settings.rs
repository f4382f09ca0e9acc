//! Settings other than contracts: routes, tokens, limits, access.

use std::fs;

use harness::http;

use super::load::{Kept, Load};
use super::unchanged;
use crate::stack::{DEADLINE, Stack, tier};

#[test]
fn route_that_stores_nothing_at_once() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("a stored page", |node| tier(&node.page()) == Some("edge"));
    let mut kept = Kept::connect(node.gateway);
    assert_eq!(kept.get("/p/42").0, 200);
    let load = Load::on(&node);
    let private = |config: String| config + "\n[[edge.route]]\npath = \"/p\"\nstore = false\n";
    let reloaded = stack.reload(&node, private);
    assert_eq!(reloaded["changed"], serde_json::json!(["edge.route"]));
    load.end();
    for _ in 0..5 {
        let requests = stack.upstream.requests();
        assert_eq!(kept.get("/p/42").0, 200);
        assert!(stack.upstream.requests() > requests, "asked on a connection of before");
        assert_ne!(tier(&node.page()), Some("edge"));
    }
    stack.reload(&node, unchanged);
    node.wait("a stored page", |node| tier(&node.page()) == Some("edge"));
}

#[test]
fn revoked_token_refused_at_once() {
    let stack = Stack::start();
    let folder = tempfile::tempdir().expect("a folder");
    let create = |file: &str, name: &str| {
        let config = folder.path().join(format!("{file}-config.toml"));
        fs::write(
            &config,
            format!("[access]\ntokens = \"{file}\"\n[source.a]\nurl = \"sqlite:a.db\"\n"),
        )
        .expect("written");
        let made = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["token", "create", name, "--role", "admin", "--read", "*", "--config"])
            .arg(&config)
            .output()
            .expect("the binary runs");
        assert!(made.status.success(), "{}", super::text(&made));
        String::from_utf8(made.stdout).expect("text").trim().to_owned()
    };
    let old = create("old.toml", "old");
    let new = create("new.toml", "new");
    let with = |file: &'static str| {
        let path = folder.path().join(file);
        move |config: String| format!("[access]\ntokens = \"{}\"\n{config}", path.display())
    };
    let mut node = stack.launch(with("old.toml"));
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    let get = |token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        http::request(node.data, "GET", "/data/product_price/42", &headers, b"", DEADLINE)
            .expect("an answer")
            .status
    };
    node.wait("an answer", |_| get(&old) == 200);
    assert_eq!(get(&new), 401);
    let mut kept = Kept::with_header(node.data, &format!("authorization: Bearer {old}\r\n"));
    assert_eq!(kept.get("/data/product_price/42").0, 200);
    stack.write(&node, with("new.toml"));
    let bearer = format!("Bearer {old}");
    let headers = [("authorization", bearer.as_str())];
    let reloaded = http::request(node.admin, "POST", "/api/v1/reload", &headers, b"", DEADLINE)
        .expect("an answer");
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(kept.get("/data/product_price/42").0, 401, "on a connection of before");
    assert_eq!((get(&old), get(&new)), (401, 200));
}

/// Only admins reload, and each reload is on record.
#[test]
fn reload_needs_the_role_and_is_recorded() {
    let stack = Stack::start();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit.log");
    let audited = |config: String| {
        format!("[access]\naudit_log = {{ file = \"{}\" }}\n{config}", log.display())
    };
    let node = stack.node_with(audited);
    stack.write(&node, |config| super::with_names(audited(config)));
    node.reloaded();
    node.hangup();
    node.wait("the second reload", |node| node.configuration()["number"] == 3);
    node.wait("its record", |_| {
        let text = fs::read_to_string(&log).expect("readable");
        text.matches("\"reload.result\"").count() == 2
    });
    let text = fs::read_to_string(&log).expect("readable");
    assert_eq!(text.matches("\"reload\"").count(), 2, "{text}");
    assert!(text.contains("SIGHUP") && text.contains("data.product_name"), "{text}");
}

/// A response that takes its time goes on under the configuration that has begun it.
#[test]
fn response_in_flight_goes_on() {
    let stack = Stack::start();
    let node = stack.node_with(|config| config + "\n[edge]\nmax_tags = 7\n");
    stack.upstream.reply_with(crate::upstream::Reply::Never);
    let mut stream = std::net::TcpStream::connect(node.gateway).expect("connects");
    let request = format!("GET /slow HTTP/1.1\r\nhost: {}\r\n\r\n", node.gateway);
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
    let requests = stack.upstream.requests();
    node.wait("the request", |_| stack.upstream.requests() > requests || requests > 0);
    stack.upstream.reply_with(crate::upstream::Reply::Page("first".into()));
    stack.reload(&node, super::with_edge);
    assert_eq!(node.page().text(), "first");
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("set");
    let mut byte = [0];
    let read = std::io::Read::read(&mut stream, &mut byte);
    assert!(read.is_err(), "the request still waits for its response: {read:?}");
}
