//! A node whose loads go to a standby, which lags, dies, is promoted or is the wrong one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Postgres, http};

use crate::faults::watch;
use crate::stack::{Node, SOON, Stack, tier};

/// A shop with a standby of its database.
fn shop() -> (Stack, Postgres) {
    let stack = Stack::start();
    stack.postgres.psql("grant pg_read_all_stats to shop").expect("granted");
    stack.sql("insert into products select n, 'thing', 1, 5, 'GBP' from generate_series(1000000, 1020000) n");
    let standby = stack.postgres.standby().expect("a standby starts");
    standby.catch_up(&stack.postgres).expect("it follows");
    (stack, standby)
}

impl Stack {
    fn launch_with(&self, standby: &Postgres) -> Node {
        self.launch(|config| {
            let url = format!("url = \"postgres://shop@{}/shop\"", self.postgres.addr());
            assert!(config.contains(&url), "{config}");
            let replicas = format!("{url}\nreplicas = [\"{}\"]", standby.url_as("shop", "shop"));
            // Otherwise commits renew what is held, and nothing is ever loaded.
            config.replace(&url, &replicas).replace("staleness", "write_through = false\nstaleness")
        })
    }

    /// A node that loads from the standby, and serves proven answers.
    fn node_from(&self, standby: &Postgres) -> Node {
        let node = self.launch_with(standby).ready();
        node.uses(true);
        node
    }
}

impl Node {
    fn uses(&self, usable: bool) {
        let usable = f64::from(u8::from(usable));
        let now = |node: &Self| node.metric("tidegate_standby_usable");
        self.wait("a look at the standby", |node| (now(node) - usable).abs() < 0.1);
    }

    /// Answers of the standby that were used.
    fn used(&self) -> f64 {
        self.metric_with("tidegate_standby_loads_total", "result=\"used\"")
    }

    /// The id of a product that nobody has asked for, so that it has to be loaded.
    fn cold(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1_000_000);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    fn readiness(&self) -> u16 {
        http::get(self.admin, "/readyz", SOON).expect("an answer").status
    }

    fn loads_from_the_standby(&self) {
        let before = self.used();
        self.wait("a load from the standby", |node| {
            assert_eq!(node.cents(node.cold()), Some(5));
            node.used() > before
        });
    }
}

/// While prices change all the time, the standby stops replaying for several times as long as the
/// contract allows, and goes on. No answer is older than it shows or than its contract, and none fails.
#[test]
fn race_05_a_standby_that_stands_still_makes_no_answer_older_than_it_shows() {
    let (stack, standby) = shop();
    let node = stack.node_from(&standby);
    node.loads_from_the_standby();
    let seen = watch(
        &stack,
        &node,
        Duration::from_secs(6),
        |_, step| {
            if step == 5 {
                standby.pause_replay().expect("paused");
            }
        },
        // However many steps there were.
        || standby.resume_replay().expect("goes on"),
    );
    assert_eq!(seen.refused, 0, "the primary was there all the time");
    assert!(seen.answered > 100);
    node.loads_from_the_standby();
    println!("{} answers; of the standby's {} were used", seen.answered, node.used());
}

#[test]
fn a_standby_that_is_promoted_answers_nothing_any_more() {
    let (stack, standby) = shop();
    let node = stack.node_from(&standby);
    node.loads_from_the_standby();
    standby.promote().expect("promoted");
    // A history of its own, which is not the one that the node follows.
    standby.psql_in("shop", "update products set price_cents = 666").expect("it takes writes");
    for id in 1..100 {
        assert_eq!(node.cents(id), Some(1_000 + id), "at once, and not only when it is noticed");
    }
    node.uses(false);
    node.wait("a line in the log", |node| {
        node.process.lines().iter().any(|line| line.contains("promoted"))
    });
    assert_eq!(node.readiness(), 200);
}

#[test]
fn a_standby_that_dies_costs_no_answer_and_is_used_again_when_it_is_back() {
    let (stack, mut standby) = shop();
    let node = stack.node_from(&standby);
    node.loads_from_the_standby();
    standby.crash().expect("killed");
    for id in 1..50 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    node.uses(false);
    assert_eq!(node.readiness(), 200);
    standby.start_again().expect("started");
    node.uses(true);
    node.loads_from_the_standby();
}

/// A commit that waits for a synchronous standby is in the log, and no reader of the primary sees it.
/// One that streams shows it: it answers with the new value, under a position that is true.
#[test]
fn a_commit_that_waits_for_nobody_is_seen_on_the_standby_first() {
    let (stack, standby) = shop();
    let node = stack.node_from(&standby);
    node.loads_from_the_standby();
    stack
        .postgres
        .psql("alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()")
        .expect("set");
    std::thread::scope(|scope| {
        // It ends when the setting does, also where something below panics.
        let _again = Again(&stack);
        scope.spawn(|| stack.price(42, 7));
        node.wait("the new price", |node| node.cents(42) == Some(7));
        assert_eq!(stack.sql("select price_cents from products where id = 42"), "1042");
        node.wait("a copy of it", |node| tier(&node.get(42)) == Some("local"));
        assert_eq!(node.cents(42), Some(7));
    });
    assert_eq!(stack.sql("select price_cents from products where id = 42"), "7");
    assert_eq!(node.cents(42), Some(7));
}

/// Lets waiting commits go when it goes.
struct Again<'a>(&'a Stack);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        let reset = "alter system reset synchronous_standby_names; select pg_reload_conf()";
        let reset = self.0.postgres.psql(reset);
        assert!(reset.is_ok() || std::thread::panicking(), "{reset:?}");
    }
}

#[test]
fn a_replica_that_is_none_is_refused_at_the_start() {
    let (stack, standby) = shop();
    let stranger = Postgres::builder().own_identity().start().expect("another server");
    stranger.psql("create role shop login; grant pg_read_all_stats to shop").expect("a role");
    stranger.psql("create database shop").expect("a database");
    let stranger = stranger.standby().expect("a standby of another server");
    let refused = |replica: &Postgres, says: &str| {
        let mut node = stack.launch_with(replica);
        let status = node.process.wait(SOON).expect("it ends");
        let said = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{said}");
        assert!(said.contains("[source.shop] replicas") && said.contains(says), "{said}");
    };
    refused(&stranger, "system identifier");
    stack.postgres.psql("revoke pg_read_all_stats from shop").expect("revoked");
    standby.catch_up(&stack.postgres).expect("it follows");
    refused(&standby, "grant pg_read_all_stats");
}
