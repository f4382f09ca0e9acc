//! The query of a page: parameters that select none, and their order.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::echo::Echo;
use crate::stack::{DEADLINE, Node, gateway_of};

const ROUTES: &str = "[[edge.route]]\npath = \"/p/\"\nignore_query = [\"utm_*\", \"gclid\"]\n\
                      [[edge.route]]\npath = \"/list/\"\nignore_query = [\"utm_*\"]\nsort_query = true\n\
                      [[edge.route]]\npath = \"/p/cart\"\nstore = false\nignore_query = [\"utm_*\"]\n";

fn get(node: &Node, target: &str) -> String {
    send(node, "GET", target, "")
}

fn send(node: &Node, method: &str, target: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(node.gateway).expect("connects");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request =
        format!("{method} {target} HTTP/1.1\r\nhost: shop\r\n{headers}connection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("writes");
    let mut all = String::new();
    socket.read_to_string(&mut all).expect("an answer");
    all
}

fn is_hit(answer: &str) -> bool {
    answer.contains("cache-status: tidegate; hit")
}

/// The upstream's page has the target that it has received: none of another visitor's parameters.
#[test]
fn ignored_parameters_neither_key_nor_sent() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    let first = get(&node, "/p/42?utm_source=%3Cscript%3E&size=1&gclid=a;size=2");
    assert!(first.contains("\nGET /p/42?size=1 HTTP/1.1\r\n"), "{first}");
    assert!(!first.contains("script"), "{first}");
    for same in [
        "/p/42?size=1",
        "/p/42?size=1&utm_campaign=b",
        "/p/42?gclid&size=1",
        "/p/42?%75tm_source=c&&size=1",
        "/p/%34%32?utm%5Fid=1&size=1",
    ] {
        let answer = get(&node, same);
        assert!(is_hit(&answer) && !answer.contains("utm"), "{same}: {answer}");
    }
    for other in ["/p/42", "/p/42?size=2", "/p/42?UTM_source=a&size=1", "/p%2F42?size=1"] {
        let answer = get(&node, other);
        assert!(answer.contains("cache-status: tidegate; fwd=miss"), "{other}: {answer}");
    }
    assert!(is_hit(&get(&node, "/p/42?utm_source=x")), "no query remains");
}

#[test]
fn order_ignored_where_route_sorts() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    let first = get(&node, "/list/tea?size=2&colour=red&size=1&utm_source=x");
    assert!(first.contains("\nGET /list/tea?colour=red&size=2&size=1 HTTP/1.1\r\n"), "{first}");
    assert!(is_hit(&get(&node, "/list/tea?colour=red&size=2&size=1")));
    assert!(is_hit(&get(&node, "/list/tea?size=2&size=1&colour=red")));
    let list = get(&node, "/list/tea?size=1&size=2&colour=red");
    assert!(list.contains("fwd=miss"), "an application may read a list: {list}");
    // Another route, and the default: the order selects.
    assert!(get(&node, "/p/1?a=1&b=2").contains("fwd=miss"));
    assert!(get(&node, "/p/1?b=2&a=1").contains("fwd=miss"));
}

/// A signed callback, a cart and a search with a body keep their queries.
#[test]
fn other_requests_keep_their_query() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    let target = "/list/tea?utm_source=x&b=1&a=2";
    let posted = send(&node, "POST", target, "content-length: 0\r\n");
    assert!(posted.contains(&format!("\nPOST {target} HTTP/1.1\r\n")), "{posted}");
    let private = send(&node, "GET", target, "authorization: Bearer a\r\n");
    assert!(private.contains(&format!("\nGET {target} HTTP/1.1\r\n")), "{private}");
    let cart = get(&node, "/p/cart?utm_source=x");
    assert!(cart.contains("\nGET /p/cart?utm_source=x HTTP/1.1\r\n"), "{cart}");
}

#[test]
fn write_with_ignored_parameter_evicts_page() {
    let echo = Echo::start();
    let (node, _folder) = gateway_of(echo.address, ROUTES);
    assert!(get(&node, "/list/tea?a=1&b=2").contains("fwd=miss; stored"));
    assert!(is_hit(&get(&node, "/list/tea?b=2&a=1&utm_id=1")));
    send(&node, "POST", "/list/tea?b=2&utm_source=form&a=1", "content-length: 0\r\n");
    assert!(get(&node, "/list/tea?a=1&b=2").contains("fwd=miss; stored"));
}

#[test]
fn invalid_ignored_name_refuses_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.toml");
    for name in ["utm_source=x", "a*", ""] {
        let text = format!(
            "[source.shop]\nurl = \"sqlite:a.db\"\n[[edge.route]]\npath = \"/\"\nignore_query = [{name:?}]\n"
        );
        std::fs::write(&config, text).expect("written");
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("check")
            .arg(&config)
            .output()
            .expect("the binary runs");
        assert_eq!(check.status.code(), Some(3), "{check:?}");
        let text = String::from_utf8_lossy(&check.stderr);
        assert!(text.contains("edge.route[0]") && text.contains("ignore_query"), "{text}");
    }
}
