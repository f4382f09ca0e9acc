//! Nodes of two databases on one shared tier: another cluster, a copy of the files, another database of the same
//! server, the old primary after a promotion, and an address that comes to lead to another server.

use std::thread;
use std::time::Duration;

use harness::{Postgres, http};

use crate::forwarder::Forwarder;
use crate::stack::{DEADLINE, Node, Stack, bound_ms, tier};

/// The time after which a leader that is stopped has lost its claim.
const CLAIM_EXPIRED: Duration = Duration::from_secs(6);

impl Node {
    /// Returns the state of a component in `/readyz`, with the status of the answer.
    fn component(&self, name: &str) -> (u16, Option<bool>, String) {
        let answer = http::get(self.admin, "/readyz", DEADLINE).expect("an answer");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let component = &body["components"][name];
        let detail = component["detail"].as_str().unwrap_or_default().to_owned();
        (answer.status, component["ok"].as_bool(), detail)
    }

    fn wait_component(&self, name: &str, ok: bool) {
        self.wait(name, |node| node.component(name).1 == Some(ok));
    }

    /// Asserts that the start was refused because another database has the tier.
    fn assert_refused(mut self, relation: &str) {
        let status = self.process.wait(DEADLINE).expect("exited");
        let output = self.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        for part in ["the shared tier follows", relation, "slot tidegate", "shared.prefix"] {
            assert!(output.contains(part), "{part} is not in:\n{output}");
        }
    }
}

/// Returns the stack of another shop, whose nodes use the shared tier of `first`.
fn beside(first: &Stack, postgres: Postgres) -> Stack {
    let second = Stack::on_running(postgres).with_redis_at(first.redis.addr());
    second.sql("update products set price_cents = 333333, currency = 'STG'");
    second
}

fn wait_cached(node: &Node) {
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
}

#[test]
fn other_cluster_refused_at_start() {
    let shop = Stack::start();
    let node = shop.node();
    wait_cached(&node);
    let staging = Postgres::builder().own_identity().start().expect("PostgreSQL starts");
    let staging = beside(&shop, staging);
    staging.launch(|config| config).assert_refused("another database");
    assert_eq!(node.cents(42), Some(1_042));
    assert_eq!(node.metric("tidegate_incarnations_total"), 1.0, "the tier was left alone");
}

#[test]
fn disk_copy_refused_at_start() {
    let shop = Stack::start();
    let node = shop.node();
    wait_cached(&node);
    // All servers of the harness are copies of one cluster: system, timeline and OIDs are the same.
    let copy = beside(&shop, Postgres::start().expect("PostgreSQL starts"));
    copy.launch(|config| config).assert_refused("another server with a copy of this database");
    assert_eq!(node.cents(42), Some(1_042));
}

#[test]
fn other_database_of_server_refused_at_start() {
    let shop = Stack::start();
    let node = shop.node();
    wait_cached(&node);
    shop.postgres.psql("create database staging template template1 owner shop").expect("created");
    shop.postgres
        .psql_as(
            "shop",
            "staging",
            "create table products(id int primary key, name text, \
            category_id int, price_cents int, currency text)",
        )
        .expect("a table");
    let staging = shop.launch(|config| {
        let config = config.replace("/shop\"", "/staging\"\nslot = \"tidegate_staging\"");
        assert!(config.contains("tidegate_staging"), "{config}");
        config
    });
    let mut staging = staging;
    let status = staging.process.wait(DEADLINE).expect("exited");
    let output = staging.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("another database: [source.shop]"), "{output}");
    assert_eq!(node.cents(42), Some(1_042));
}

#[test]
fn other_slot_of_database_refused_at_start() {
    let shop = Stack::start();
    let node = shop.node();
    wait_cached(&node);
    let second = shop.launch(|config| config.replace("/shop\"", "/shop\"\nslot = \"second\""));
    second.assert_refused("another slot of this database");
}

/// While the leader of the shop is stopped, a staging system takes its tier. Neither answers with the other's row,
/// both say so within a sample, and the shop has its tier back after the staging system has ended.
#[test]
fn taken_tier_serves_no_foreign_row() {
    let shop = Stack::start();
    let mut node = shop.node();
    wait_cached(&node);
    node.process.pause().expect("stopped");
    thread::sleep(CLAIM_EXPIRED);
    let staging = Postgres::builder().own_identity().start().expect("PostgreSQL starts");
    let staging = beside(&shop, staging);
    let mut other = staging.node();
    wait_cached(&other);
    assert_eq!(other.cents(42), Some(333_333));
    node.process.resume().expect("continued");
    node.wait_component("tier-database", false);
    for id in 1..=100 {
        let answer = node.get(id);
        assert_eq!(node.cents(id), Some(1_000 + id), "{answer:?}");
        assert_ne!(tier(&answer), Some("shared"), "{answer:?}");
        assert_eq!(other.cents(id), Some(333_333));
    }
    let (status, _, detail) = node.component("tier-database");
    assert_eq!(status, 200, "its answers are right, if slower");
    assert!(detail.contains("shared.prefix"), "{detail}");
    assert_eq!(other.component("tier-database").1, Some(true));
    shop.price(7, 77);
    assert_eq!(node.cents(7), Some(77));

    other.process.kill9().expect("killed");
    node.wait_component("tier-database", true);
    wait_cached(&node);
    assert_eq!(node.cents(42), Some(1_042));
}

/// A node that is left on the old primary stores nothing in the new history and is taken out of traffic.
#[test]
fn node_on_old_primary_fenced_after_promotion() {
    let shop = Stack::start();
    let old = shop.node();
    wait_cached(&old);
    let standby = shop.postgres.standby().expect("a standby starts");
    standby.catch_up(&shop.postgres).expect("it follows");
    standby.promote().expect("promoted");
    let new = Stack::beside_running(standby, &shop);
    new.sql("update products set price_cents = 5");
    // It has everything that the tier has applied, so it need not wait for the end of the old leader.
    let node = new.node();
    old.wait_component("tier-database", false);
    for id in 1..=100 {
        assert_eq!(old.cents(id), Some(1_000 + id), "from its own database");
        let answer = node.get(id);
        assert_eq!(node.cents(id), Some(5), "{answer:?}");
    }
    wait_cached(&node);
    old.wait("being taken out of traffic", |node| node.component("tier-database").0 == 503);
    let detail = old.component("tier-database").2;
    assert!(detail.contains("old primary (timeline 1)"), "{detail}");
    assert_eq!(node.component("tier-database").1, Some(true));
    // Its leader's attempts void nothing of the new history.
    let resets = node.metric("tidegate_incarnations_total");
    new.price(42, 6);
    node.wait("the new price", |node| node.cents(42) == Some(6));
    assert_eq!(node.metric("tidegate_incarnations_total"), resets);
}

/// A copy that was promoted before the tier's position is no successor.
#[test]
fn promoted_copy_with_older_fork_refused() {
    let shop = Stack::start();
    let standby = shop.postgres.standby().expect("a standby starts");
    standby.catch_up(&shop.postgres).expect("it follows");
    standby.promote().expect("promoted");
    let copy = Stack::beside_running(standby, &shop);
    copy.sql("update products set price_cents = 5");
    shop.price(42, 43);
    let node = shop.node();
    wait_cached(&node);
    // It may start: its leader decides, and that one is refused.
    let other = copy.launch(|config| config);
    other.wait("a refusal", |node| {
        node.process.lines().iter().any(|line| line.contains("another timeline of this database"))
    });
    for id in 1..=41 {
        assert_eq!(node.cents(id), Some(1_000 + id));
        assert_eq!(other.cents(id), Some(5), "from its own database");
    }
    assert_eq!(node.cents(42), Some(43));
    assert_eq!(node.component("tier-database").1, Some(true));
}

/// The address of the database moves to the promoted standby while the old primary runs on. No load comes from a
/// connection to the old one after the samples come from the new one.
#[test]
fn loads_follow_the_moved_address() {
    let shop = Stack::start();
    let address = Forwarder::start(shop.postgres.addr());
    let standby = shop.postgres.standby().expect("a standby starts");
    let through =
        |config: String| config.replace(&shop.postgres.addr().to_string(), &address.at.to_string());
    let node = shop.node_with(through);
    for id in 1..=20 {
        assert_eq!(node.cents(id), Some(1_000 + id));
    }
    standby.catch_up(&shop.postgres).expect("it follows");
    standby.promote().expect("promoted");
    standby.psql_in("shop", "update products set price_cents = 5").expect("updated");
    address.lead_to(standby.addr());
    // Only the connection that samples breaks; those for loads stay open to the old primary.
    let sampling = "select pg_terminate_backend(pid) from pg_stat_activity \
                    where application_name in ('tidegate', 'tidegate-feed')";
    shop.postgres.psql(sampling).expect("terminated");
    node.wait("an answer of the new primary", |node| node.cents(99) == Some(5));
    for id in 1..=100 {
        let answer = node.get(id);
        assert_eq!(node.cents(id), Some(5), "{answer:?}");
    }
    node.wait("a proven cached answer", |node| {
        let answer = node.get(42);
        tier(&answer) == Some("local") && bound_ms(&answer).is_some()
    });
}

impl Stack {
    /// Returns a stack on a promoted standby of `first`, which has its data, with the shared tier of `first`.
    fn beside_running(postgres: Postgres, first: &Self) -> Self {
        Self::of_parts(postgres).with_redis_at(first.redis.addr())
    }
}
