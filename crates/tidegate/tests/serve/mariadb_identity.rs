//! Nodes whose address of MariaDB comes to lead to another server.

use harness::MariaDb;

use crate::forwarder::Forwarder;
use crate::mariadb::{Stack, set_up, wait_cached};
use crate::stack::{DEADLINE, Node, bound_ms, tier};

/// A server that is promoted in place of the stack's one.
fn promoted() -> MariaDb {
    let server = MariaDb::builder().setting("server-id", "2").start().expect("MariaDB starts");
    set_up(&server);
    server.sql_in("shop", "update products set price_cents = 5").expect("updated");
    server
}

/// Starts a node that reaches the database through `address`, with a budget longer than the test.
fn node_through(stack: &Stack, address: &Forwarder) -> Node {
    let direct = stack.mariadb.addr().to_string();
    let through = |config: String| {
        config
            .replace(&direct, &address.at.to_string())
            .replace(r#"staleness = "1s""#, r#"staleness = "5min""#)
    };
    stack.launch_with(through).ready()
}

/// Waits until the node answers from the promoted server, stores its values and proves them.
fn wait_followed(node: &Node, server: &MariaDb) {
    node.wait("an answer of the promoted server", |node| node.cents(42) == Some(5));
    node.wait("a proven cached answer", |node| {
        let answer = node.get(42);
        tier(&answer) == Some("local") && bound_ms(&answer).is_some()
    });
    for id in 1..=100 {
        assert_eq!(node.cents(id), Some(5), "{:?}", node.get(id));
    }
    wait_cached(node);
    server.sql_in("shop", "update products set price_cents = 6").expect("updated");
    node.wait("a change of the promoted server", |node| node.cents(42) == Some(6));
}

/// Connections to the demoted server stay open, as they do behind a proxy or a virtual address, and it goes on answering.
#[test]
fn moved_address_followed_while_old_server_answers() {
    let stack = Stack::start();
    let address = Forwarder::start(stack.mariadb.addr());
    let node = node_through(&stack, &address);
    for id in 1..=20 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    wait_cached(&node);
    let server = promoted();
    stack.mariadb.sql("set global read_only = 1").expect("demoted");
    address.lead_to(server.addr());
    wait_followed(&node, &server);
}

/// All connections but the stream of the log break. The stream of the old server proves nothing, and is replaced.
#[test]
fn stream_of_old_server_is_replaced() {
    let stack = Stack::start();
    let address = Forwarder::start(stack.mariadb.addr());
    let node = node_through(&stack, &address);
    wait_cached(&node);
    let server = promoted();
    address.lead_to(server.addr());
    let idle = "select group_concat(concat('kill ', id) separator '; ') \
                from information_schema.processlist where user = 'shop' and command = 'Sleep'";
    let kill = stack.mariadb.sql(idle).expect("sessions");
    for kill in kill.split("; ") {
        // The node itself may have closed it meanwhile.
        let killed = stack.mariadb.sql(kill);
        assert!(killed.is_ok() || format!("{killed:?}").contains("Unknown thread"), "{killed:?}");
    }
    wait_followed(&node, &server);
}

/// Makes the stack's server a replica of `server` that does not log the changes it receives, and waits until it is one.
fn demote(stack: &Stack, server: &MariaDb) {
    let status = server.sql("show master status").expect("a position");
    let position: Vec<&str> = status.split_whitespace().collect();
    let demote = format!(
        "set global read_only = 1; change master to master_host = '127.0.0.1', master_port = {}, \
         master_user = 'root', master_log_file = '{}', master_log_pos = {}; start slave",
        server.addr().port(),
        position[0],
        position[1]
    );
    stack.mariadb.sql(&demote).expect("demoted");
    server.sql_in("shop", "update products set price_cents = 7").expect("updated");
    harness::until("the replica has the change", DEADLINE, || {
        let cents = stack.sql("select price_cents from products where id = 42");
        Ok((cents.trim() == "7").then_some(()))
    })
    .unwrap_or_else(|err| panic!("{err}: {}", stack.sql("show slave status")));
}

#[test]
fn nothing_stored_from_server_demoted_in_place() {
    let stack = Stack::start();
    let node = stack.node();
    wait_cached(&node);
    let server = promoted();
    demote(&stack, &server);
    node.wait("a change that the server does not log", |node| node.cents(42) == Some(7));
    for _ in 0..100 {
        assert_eq!(tier(&node.get(42)), Some("origin"));
    }
    let is_named = |line: &String| line.contains("name the primary in the url");
    node.wait("the reason", |node| node.process.lines().iter().any(is_named));
}

#[test]
fn replica_refused_at_start() {
    let stack = Stack::start();
    let server = promoted();
    demote(&stack, &server);
    let mut node = stack.launch();
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("name the primary in the url"), "{output}");
}
