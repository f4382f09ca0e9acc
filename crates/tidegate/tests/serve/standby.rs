//! Nodes that load from a standby that lags, dies, is promoted or belongs to another server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Postgres, http};

use crate::faults::watch;
use crate::stack::{DEADLINE, Node, Stack, tier};

/// Starts a shop with a standby of its database.
fn shop() -> (Stack, Postgres) {
    let stack = Stack::start();
    stack.postgres.psql("grant pg_read_all_stats to shop").expect("granted");
    stack.sql("insert into products select n, 'thing', 1, 5, 'GBP' from generate_series(1000000, 1020000) n");
    let standby = stack.postgres.standby().expect("a standby starts");
    standby.catch_up(&stack.postgres).expect("it follows");
    (stack, standby)
}

impl Stack {
    fn launch_with_standby(&self, standby: &Postgres) -> Node {
        self.launch(|config| {
            let url = format!("url = \"postgres://shop@{}/shop\"", self.postgres.addr());
            assert!(config.contains(&url), "{config}");
            let replicas = format!("{url}\nreplicas = [\"{}\"]", standby.url_as("shop", "shop"));
            // Otherwise commits renew the entries, and nothing is loaded.
            config.replace(&url, &replicas).replace("staleness", "write_through = false\nstaleness")
        })
    }

    /// Starts a node that loads from the standby, and waits until its answers have a proven bound.
    fn node_with_standby(&self, standby: &Postgres) -> Node {
        let node = self.launch_with_standby(standby).ready();
        node.wait_standby_usable(true);
        node
    }
}

impl Node {
    fn wait_standby_usable(&self, usable: bool) {
        let usable = f64::from(u8::from(usable));
        let now = |node: &Self| node.metric("tidegate_standby_usable");
        self.wait("a probe of the standby", |node| (now(node) - usable).abs() < 0.1);
    }

    /// Returns the number of loads from the standby that were used.
    fn standby_loads(&self) -> f64 {
        self.metric_with("tidegate_standby_loads_total", "result=\"used\"")
    }

    /// Returns the id of a product that was not read yet, so that it has to be loaded.
    fn cold_id(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1_000_000);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    fn readiness(&self) -> u16 {
        http::get(self.admin, "/readyz", DEADLINE).expect("an answer").status
    }

    fn wait_standby_load(&self) {
        let before = self.standby_loads();
        self.wait("a load from the standby", |node| {
            assert_eq!(node.cents(node.cold_id()), Some(5));
            node.standby_loads() > before
        });
    }
}

/// While prices change, the standby stops replaying for several times the contract's budget, and resumes. No
/// answer is older than its shown bound or its contract allows, and none fails.
#[test]
fn race_05_stalled_standby_within_bound() {
    let (stack, standby) = shop();
    let node = stack.node_with_standby(&standby);
    node.wait_standby_load();
    let result = watch(
        &stack,
        &node,
        Duration::from_secs(6),
        |_, step| {
            if step == 5 {
                standby.pause_replay().expect("paused");
            }
        },
        || standby.resume_replay().expect("resumed"),
    );
    assert_eq!(result.refused, 0, "the primary was available");
    assert!(result.answered > 100);
    node.wait_standby_load();
    println!(
        "{} answers; {} loads from the standby were used",
        result.answered,
        node.standby_loads()
    );
}

#[test]
fn promoted_standby_not_used() {
    let (stack, standby) = shop();
    let node = stack.node_with_standby(&standby);
    node.wait_standby_load();
    standby.promote().expect("promoted");
    // The promoted server has another timeline than the one that the node follows.
    standby.psql_in("shop", "update products set price_cents = 666").expect("it takes writes");
    for id in 1..100 {
        assert_eq!(node.cents(id), Some(1_000 + id), "from the first load on");
    }
    node.wait_standby_usable(false);
    node.wait("a line in the log", |node| {
        node.process.lines().iter().any(|line| line.contains("promoted"))
    });
    assert_eq!(node.readiness(), 200);
}

#[test]
fn dead_standby_replaced_by_primary() {
    let (stack, mut standby) = shop();
    let node = stack.node_with_standby(&standby);
    node.wait_standby_load();
    standby.crash().expect("killed");
    for id in 1..50 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    node.wait_standby_usable(false);
    assert_eq!(node.readiness(), 200);
    standby.start_again().expect("started");
    node.wait_standby_usable(true);
    node.wait_standby_load();
}

/// A commit that waits for a synchronous standby is in the log but not visible on the primary. A streaming
/// standby shows it already, and answers with the new value and a correct position.
#[test]
fn commit_visible_on_standby_first() {
    let (stack, standby) = shop();
    let node = stack.node_with_standby(&standby);
    node.wait_standby_load();
    stack.postgres.hold_commits().expect("held");
    std::thread::scope(|scope| {
        // Ends the commit, also after a panic below.
        let _release = ReleaseOnDrop(&stack);
        scope.spawn(|| stack.price(42, 7));
        node.wait("the new price", |node| node.cents(42) == Some(7));
        assert_eq!(stack.sql("select price_cents from products where id = 42"), "1042");
        node.wait("a local copy", |node| tier(&node.get(42)) == Some("local"));
        assert_eq!(node.cents(42), Some(7));
    });
    assert_eq!(stack.sql("select price_cents from products where id = 42"), "7");
    assert_eq!(node.cents(42), Some(7));
}

/// Ends waiting commits when it is dropped.
struct ReleaseOnDrop<'a>(&'a Stack);

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        let released = self.0.postgres.release_commits();
        assert!(released.is_ok() || std::thread::panicking(), "{released:?}");
    }
}

#[test]
fn foreign_replica_refused_at_start() {
    let (stack, standby) = shop();
    let foreign = Postgres::builder().own_identity().start().expect("another server");
    foreign.psql("create role shop login; grant pg_read_all_stats to shop").expect("a role");
    foreign.psql("create database shop").expect("a database");
    let foreign = foreign.standby().expect("a standby of another server");
    let refused = |replica: &Postgres, expected: &str| {
        let mut node = stack.launch_with_standby(replica);
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains("[source.shop] replicas") && output.contains(expected), "{output}");
    };
    refused(&foreign, "system identifier");
    stack.postgres.psql("revoke pg_read_all_stats from shop").expect("revoked");
    standby.catch_up(&stack.postgres).expect("it follows");
    refused(&standby, "grant pg_read_all_stats");
}
