//! Nodes that load from a MariaDB replica that lags, dies, is promoted or follows another server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{MariaDb, http};

use crate::mariadb::{Stack, set_up};
use crate::stack::{DEADLINE, Node, bound_ms, now, tier};

/// Starts a shop with a replica of its database.
fn shop() -> (Stack, MariaDb) {
    let stack = Stack::start();
    stack.sql("grant replica monitor on *.* to shop");
    stack.sql("insert into products select seq, 'thing', 1, 5, 'GBP' from seq_1000000_to_1020000");
    let replica = stack.mariadb.replica().expect("a replica starts");
    replica.catch_up(&stack.mariadb).expect("it follows");
    (stack, replica)
}

impl Stack {
    fn launch_with_replica(&self, replica: &MariaDb, staleness: &str) -> Node {
        self.launch_with(|config| {
            let url = self.mariadb.url_as("shop:secret", "shop");
            let replica = replica.url_as("shop:secret", "shop");
            let (url, replicas) =
                (format!("{url}\""), format!("{url}\"\nreplicas = [\"{replica}\"]"));
            // Otherwise commits renew the entries, and nothing is loaded.
            let option = format!("write_through = false\nstaleness = \"{staleness}\"");
            config.replace(&url, &replicas).replace("staleness = \"1s\"", &option)
        })
    }

    fn node_with_replica(&self, replica: &MariaDb, staleness: &str) -> Node {
        let node = self.launch_with_replica(replica, staleness).ready();
        wait_usable(&node, true);
        node
    }
}

fn wait_usable(node: &Node, usable: bool) {
    let usable = f64::from(u8::from(usable));
    let now = |node: &Node| node.metric("tidegate_standby_usable");
    node.wait("a probe of the replica", |node| (now(node) - usable).abs() < 0.1);
}

/// Returns the number of loads from the replica that were used.
fn replica_loads(node: &Node) -> f64 {
    node.metric_with("tidegate_standby_loads_total", "result=\"used\"")
}

/// Returns the id of a product that was not read yet, so that it has to be loaded.
fn cold_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn wait_replica_load(node: &Node, cents: u32) {
    let before = replica_loads(node);
    node.wait("a load from the replica", |node| {
        assert_eq!(node.cents(cold_id()), Some(cents));
        replica_loads(node) > before
    });
}

/// The replica applies each change a second late. Answers from it are older than the primary's, and show it.
#[test]
fn mariadb_race_05_delayed_replica_within_bound() {
    let (stack, replica) = shop();
    replica.sql("stop slave; change master to master_delay = 1; start slave").expect("delayed");
    // It reports its position from its next transaction on.
    stack.sql("update products set name = 'other' where id = 1");
    replica.catch_up(&stack.mariadb).expect("it follows");
    let node = stack.node_with_replica(&replica, "30s");
    wait_replica_load(&node, 5);
    let started = now();
    let (mut commits, mut older) = (Vec::new(), 0);
    while started.elapsed() < Duration::from_secs(8) {
        let cents = 100 + u32::try_from(commits.len()).expect("small");
        stack.sql(&format!("update products set price_cents = {cents} where id >= 1000000"));
        // An answer without this commit has missed it for this time at least.
        commits.push((cents, now()));
        for _ in 0..5 {
            let asked = now();
            let answer = node.get(cold_id());
            assert_eq!(answer.status, 200, "{answer:?}");
            let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            let found = body["price_cents"].as_u64().expect("a price");
            let missed = commits.iter().find(|(cents, _)| u64::from(*cents) > found);
            let Some((_, committed)) = missed else { continue };
            older += 1;
            let age = asked.saturating_duration_since(*committed);
            let bound = bound_ms(&answer).expect("a bound");
            assert!(age.as_secs_f64() * 1e3 <= bound + 1.0, "{age:?}: {answer:?}");
        }
    }
    println!("{older} answers were older; {} loads from the replica", replica_loads(&node));
    assert!(replica_loads(&node) > 5.0, "the replica was used");

    // A reader with a token gets its own write.
    let token = http::request(node.admin, "POST", "/api/v1/token", &[], b"", DEADLINE);
    let token: serde_json::Value =
        serde_json::from_slice(&token.expect("an answer").body).expect("JSON");
    let headers = [("tidegate-after", token["token"].as_str().expect("a token"))];
    let path = format!("/data/product_price/{}", cold_id());
    let answer = http::request(node.data, "GET", &path, &headers, b"", DEADLINE);
    let last = commits.last().expect("commits").0;
    assert!(answer.expect("an answer").text().contains(&format!("\"price_cents\":{last},")));
}

#[test]
fn mariadb_promoted_replica_not_used() {
    let (stack, replica) = shop();
    let node = stack.node_with_replica(&replica, "60s");
    wait_replica_load(&node, 5);
    replica.sql("stop slave; reset slave all; set global read_only = 0").expect("promoted");
    replica.sql_in("shop", "update products set price_cents = 666").expect("it takes writes");
    for id in 1..100 {
        assert_eq!(node.cents(id), Some(1_000 + id), "from the first load on");
    }
    wait_usable(&node, false);
    node.wait("a line in the log", |node| {
        node.process.lines().iter().any(|line| line.contains("promoted"))
    });
    assert_eq!(http::get(node.admin, "/readyz", DEADLINE).expect("an answer").status, 200);
}

/// A replica that still follows and takes writes of its own shows values that the primary never had.
#[test]
fn mariadb_writable_replica_not_used() {
    let (stack, replica) = shop();
    let node = stack.node_with_replica(&replica, "60s");
    replica.sql("set global read_only = 0").expect("writable");
    replica.sql_in("shop", "update products set price_cents = 666").expect("it takes writes");
    for id in 1..100 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    wait_usable(&node, false);
}

#[test]
fn mariadb_dead_replica_replaced_by_primary() {
    let (stack, mut replica) = shop();
    let node = stack.node_with_replica(&replica, "60s");
    wait_replica_load(&node, 5);
    replica.crash().expect("killed");
    for id in 1..50 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    wait_usable(&node, false);
    stack.price(9);
    replica.start_again().expect("started");
    wait_usable(&node, true);
    wait_replica_load(&node, 5);
}

/// Another server's log has positions beyond the ones of the source, so its replica would seem to be ahead.
#[test]
fn mariadb_replica_of_other_server_not_used() {
    let (stack, _) = shop();
    let foreign = MariaDb::builder().setting("server-id", "7").start().expect("another server");
    set_up(&foreign);
    foreign.sql("grant replica monitor on *.* to shop").expect("granted");
    for _ in 0..20 {
        foreign
            .sql_in("shop", "update products set price_cents = price_cents + 1")
            .expect("updated");
        foreign.sql("flush binary logs").expect("another file");
    }
    let foreign_replica = foreign.replica().expect("its replica");
    foreign_replica.catch_up(&foreign).expect("it follows");
    let node = stack.launch_with_replica(&foreign_replica, "60s").ready();
    wait_usable(&node, false);
    node.wait("the reason", |node| {
        node.process.lines().iter().any(|line| line.contains("follows another log"))
    });
    for id in 1..50 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    assert_eq!(replica_loads(&node), 0.0);
}

/// The primary's log begins again, and so do its positions; the replica is pointed at the new one.
#[test]
fn mariadb_replica_used_again_after_reset_of_log() {
    let (stack, replica) = shop();
    let node = stack.node_with_replica(&replica, "60s");
    wait_replica_load(&node, 5);
    replica.sql("stop slave").expect("stopped");
    stack.sql("reset master; update products set price_cents = 6 where id >= 1000000");
    replica.sql("set global gtid_slave_pos = ''").expect("at the beginning");
    for _ in 0..20 {
        assert_eq!(node.cents(cold_id()), Some(6));
    }
    replica.follow(&stack.mariadb).expect("it follows");
    replica.catch_up(&stack.mariadb).expect("it has caught up");
    wait_usable(&node, true);
    wait_replica_load(&node, 6);
    node.wait("a local copy", |node| tier(&node.get(42)) == Some("local"));
}

#[test]
fn mariadb_unsuitable_replica_refused_at_start() {
    let (stack, replica) = shop();
    for (sql, says, undo) in [
        (
            "stop slave; set global replicate_ignore_table = 'shop.products'; start slave",
            "Replicate_Ignore_Table = shop.products",
            "stop slave; set global replicate_ignore_table = ''; start slave",
        ),
        (
            "stop slave; set global slave_parallel_threads = 4; start slave",
            "set global slave_parallel_threads = 0",
            "stop slave; set global slave_parallel_threads = 0; start slave",
        ),
        (
            "revoke replica monitor on *.* from shop",
            "grant replica monitor on *.* to",
            "grant replica monitor on *.* to shop",
        ),
    ] {
        replica.sql(sql).expect(sql);
        let mut node = stack.launch_with_replica(&replica, "60s");
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains("[source.shop] replicas") && output.contains(says), "{output}");
        assert!(!output.contains("secret"), "{output}");
        replica.sql(undo).expect(undo);
    }
}
