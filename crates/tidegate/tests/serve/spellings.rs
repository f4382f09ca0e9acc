//! Spellings of one path: none of them is less safe than another.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::echo::Echo;
use crate::stack::{DEADLINE, Node, gateway_of};

const ROUTES: &str = "[[edge.route]]\npath = \"/account\"\nstore = false\n\
                      [[edge.route]]\npath = \"/static/\"\n";

fn get(node: &Node, target: &str) -> String {
    send(node, "GET", target)
}

/// Sends the target as it is written, and returns the answer.
fn send(node: &Node, method: &str, target: &str) -> String {
    let mut socket = TcpStream::connect(node.gateway).expect("connects");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!("{method} {target} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("writes");
    let mut all = String::new();
    socket.read_to_string(&mut all).expect("an answer");
    all
}

#[test]
fn page_not_stored_in_any_spelling() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    for target in [
        "/account",
        "//account",
        "/./account",
        "/%61ccount",
        "/%2E/account",
        "/static/../account",
        "/static/%2e%2e/account",
        "/static/..%2faccount",
        "/static/..%2Faccount",
        "/static/..%5caccount",
        "/static/..%252faccount",
        "/static/..;/account",
        "/static/..;v=1/account",
        "/static%2f..%2faccount",
        "/ACCOUNT",
        "/;v=1/account",
        "http://shop//account",
    ] {
        for _ in 0..2 {
            let answer = get(&node, target);
            assert!(answer.contains("fwd=bypass; detail=route"), "{target}: {answer}");
        }
    }
    assert_eq!(echo.requests(), 34, "each was sent");
    for target in ["/static/..\\account", "/account%00.css", "/static/..%00/account"] {
        let answer = get(&node, target);
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
    }
    assert_eq!(echo.requests(), 34);
}

#[test]
fn equal_spellings_share_page() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    let first = get(&node, "/p/a/../%34%32?q=%c3%a4");
    assert!(first.contains("\nGET /p/42?q=%C3%A4 HTTP/1.1\r\n"), "{first}");
    for same in ["/p/42?q=%C3%A4", "/./p/%34%32?q=%C3%A4", "/x/%2e%2e/p/42?q=%c3%A4"] {
        assert!(get(&node, same).contains("cache-status: tidegate; hit"), "{same}");
    }
    // Applications tell these apart.
    for other in ["//p/42?q=%C3%A4", "/p%2F42?q=%C3%A4", "/P/42?q=%C3%A4", "/p/42?q=%C3%A4&"] {
        let answer = get(&node, other);
        assert!(answer.contains("cache-status: tidegate; fwd=miss"), "{other}: {answer}");
        assert!(answer.contains(&format!("\nGET {other} HTTP/1.1\r\n")), "{other}: {answer}");
    }
}

#[test]
fn write_evicts_page_of_every_spelling() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    assert!(get(&node, "/p/42").contains("fwd=miss; stored"));
    assert!(get(&node, "/p/42").contains("tidegate; hit"));
    let target = "/p/x/../%34%32";
    let answer = send(&node, "POST", target);
    assert!(answer.contains("\nPOST /p/42 HTTP/1.1\r\n"), "{answer}");
    assert!(get(&node, "/p/42").contains("fwd=miss; stored"));
}
