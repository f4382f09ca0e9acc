//! Several nodes: differing settings, and restarts one by one behind nginx.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use harness::Nginx;
use harness::http;

use super::{unchanged, with_edge, with_names};
use crate::stack::{DEADLINE, Node, Stack, start};

fn differing(node: &Node) -> Vec<String> {
    let configuration = node.configuration();
    let nodes = configuration["differing_nodes"].as_array().cloned().unwrap_or_default();
    let keys = nodes.iter().flat_map(|node| node["keys"].as_array().cloned().unwrap_or_default());
    keys.map(|key| key.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn differing_nodes_named_until_they_agree() {
    let stack = Stack::start();
    let first = stack.node();
    let second = stack.node_with(|config| with_edge(with_names(config)));
    for node in [&first, &second] {
        node.wait("the difference", |node| {
            differing(node) == ["data.product_name", "edge.max_tags"]
        });
        node.wait("its metric", |node| {
            node.metric("tidegate_configuration_differing_nodes") == 1.0
        });
        let readiness = node.components();
        assert_eq!(readiness["ready"], true, "no reason to take it out of traffic: {readiness}");
        let component = &readiness["components"]["configuration"];
        assert_eq!(component["ok"], false, "{readiness}");
        assert!(
            component["detail"].as_str().is_some_and(|it| it.contains("edge.max_tags")),
            "{component}"
        );
    }
    let other = second.admin.port().to_string();
    let nodes = first.configuration()["differing_nodes"].clone();
    assert!(nodes[0]["node"].as_str().is_some_and(|name| name.ends_with(&other)), "{nodes}");
    let logged =
        |line: &String| line.contains("other settings") && line.contains("data.product_name");
    assert!(first.process.lines().iter().any(logged));

    stack.reload(&second, unchanged);
    for node in [&first, &second] {
        node.wait("agreement", |node| {
            node.configuration()["differing_nodes"].as_array().is_some_and(Vec::is_empty)
        });
        node.wait("its metric", |node| {
            node.metric("tidegate_configuration_differing_nodes") == 0.0
        });
    }
    assert_eq!(first.configuration()["fingerprint"], second.configuration()["fingerprint"]);
}

/// Foreign values under the key of the announcements harm nothing.
#[test]
fn planted_announcement_is_harmless() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("the nodes", |node| node.configuration()["differing_nodes"].is_array());
    stack.redis.cli(&["ZADD", "{tg:0}:nodes", "99999999999999", "nonsense"]).expect("planted");
    node.wait("the finding", |node| differing(node) == ["an announcement that can't be read"]);
    stack.redis.cli(&["DEL", "{tg:0}:nodes"]).expect("removed");
    stack.redis.cli(&["SET", "{tg:0}:nodes", "a string"]).expect("planted");
    assert_eq!(node.get(42).status, 200);
    stack.price(42, 3);
    node.wait("the new price", |node| node.cents(42) == Some(3));
    node.wait("the nodes", |node| {
        node.configuration()["differing_nodes"].as_array().is_some_and(Vec::is_empty)
    });
}

/// Restarts each of two nodes behind nginx while clients go on.
#[test]
fn rolling_restart_fails_no_request() {
    let stack = Stack::start();
    let delayed = |config: String| format!("[node]\nstop_delay = \"1s\"\n{config}");
    let mut nodes = [stack.node_with(delayed), stack.node_with(delayed)];
    let [first, second] = nodes.each_ref().map(|node| node.data);
    let nginx = Nginx::start(2, |site| {
        format!(
            "upstream nodes {{ server {first} max_fails=1 fail_timeout=1s; server {second} max_fails=1 fail_timeout=1s; keepalive 16; }}\n\
             server {{ listen {} backlog=512; location / {{ proxy_pass http://nodes; proxy_http_version 1.1; \
             proxy_set_header Host localhost; proxy_set_header Connection \"\"; proxy_next_upstream error timeout; }} }}",
            site.listen
        )
    })
    .expect("nginx starts");
    let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..4).map(|_| client(nginx.addr(), &stop, &served)).collect();
    for node in &mut nodes {
        let so_far = served.load(Ordering::Relaxed);
        harness::until("further answers", DEADLINE, || {
            Ok((served.load(Ordering::Relaxed) > so_far + 50).then_some(()))
        })
        .expect("answers");
        let status = node.process.terminate(DEADLINE).expect("ended");
        assert!(status.success(), "{status}");
        node.process = start(&stack.file_of(node), &[]);
        node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
        node.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every request was answered");
    }
    stack.price(42, 8);
    for node in &nodes {
        node.wait("the new price", |node| node.cents(42) == Some(8));
    }
}

fn client(
    to: SocketAddr,
    stop: &Arc<AtomicBool>,
    served: &Arc<AtomicUsize>,
) -> thread::JoinHandle<()> {
    let (stop, served) = (Arc::clone(stop), Arc::clone(served));
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let answer = http::get(to, "/data/product_price/42", DEADLINE).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            served.fetch_add(1, Ordering::Relaxed);
            thread::sleep(std::time::Duration::from_millis(4));
        }
    })
}

/// A node that stops gives its leases back: another one need not wait until they expire.
#[test]
fn load_in_flight_ends_before_the_stop() {
    let stack = Stack::start();
    let mut node = stack.node();
    stack.sql("create or replace function slow(int) returns int language sql as 'select $1 from pg_sleep(case when $1 = 1008 then 3 else 1 end)'");
    let data = node.data;
    let answer = thread::scope(|scope| {
        stack.write(&node, |config| {
            config.replace(
                "select price_cents, currency",
                "select slow(price_cents) as price_cents, currency",
            )
        });
        node.reloaded();
        // The client of this load is gone before it ends.
        let mut gone = std::net::TcpStream::connect(data).expect("connects");
        let request = format!("GET /data/product_price/8 HTTP/1.1\r\nhost: {data}\r\n\r\n");
        std::io::Write::write_all(&mut gone, request.as_bytes()).expect("sent");
        let reader = scope.spawn(move || http::get(data, "/data/product_price/7", DEADLINE));
        thread::sleep(std::time::Duration::from_millis(300));
        drop(gone);
        assert!(node.process.terminate(DEADLINE).expect("ended").success());
        reader.join().expect("joined")
    });
    assert_eq!(answer.expect("an answer").status, 200);
    let leases = stack.redis.cli(&["--scan", "--pattern", "*:l:*"]).expect("a list");
    assert_eq!(leases.trim(), "", "no lease is left");
}
