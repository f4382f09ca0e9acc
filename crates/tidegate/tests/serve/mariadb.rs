//! Whole nodes on MariaDB.

use std::net::SocketAddr;
use std::time::Duration;

use harness::{MariaDb, Port, Redis, http};

use crate::stack::{DEADLINE, Node, now, start, tier};

/// A shop's MariaDB, Redis, and any number of nodes with one configuration.
pub(crate) struct Stack {
    pub(crate) mariadb: MariaDb,
    redis: Redis,
    folder: tempfile::TempDir,
}

/// The user's grants, as in `docs/sources.md`.
const GRANTS: &str = "create user shop identified by 'secret'; \
    grant binlog monitor, replication slave on *.* to shop; \
    grant select on shop.* to shop; \
    create table shop.tidegate_orders(id bigint unsigned auto_increment primary key, \
      message mediumtext character set utf8mb4 not null) engine=InnoDB; \
    grant insert, delete on shop.tidegate_orders to shop";

const PRODUCTS: &str = "create database shop; use shop; \
    create table products(id int primary key, name text, category_id int, price_cents int, \
      currency char(3)); \
    insert into products select seq, concat('thing ', seq), seq % 10, 1000 + seq, 'GBP' \
      from seq_1_to_100";

impl Stack {
    pub(crate) fn start() -> Self {
        Self::with_settings(&[])
    }

    /// Starts as [`start`](Self::start) does, with options of the server.
    pub(crate) fn with_settings(settings: &[(&str, &str)]) -> Self {
        let builder = settings
            .iter()
            .fold(MariaDb::builder(), |builder, (name, value)| builder.setting(name, value));
        let mariadb = builder.start().expect("MariaDB starts");
        set_up(&mariadb);
        let redis = Redis::builder().persistent().start().expect("Redis starts");
        Self { mariadb, redis, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Runs a statement by a user that Tidegate does not know.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.mariadb.sql_in("shop", sql).expect("the statement runs")
    }

    pub(crate) fn price(&self, cents: u32) {
        self.sql(&format!("update products set price_cents = {cents} where id = 42"));
    }

    pub(crate) fn launch(&self) -> Node {
        self.launch_with(|config| config)
    }

    /// Starts a node with an edited configuration, without waiting.
    pub(crate) fn launch_with(&self, edit: impl Fn(String) -> String) -> Node {
        let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
        let [data, admin] = ports.each_ref().map(Port::addr);
        let config = self.config([data, admin]);
        let path = self.folder.path().join(format!("tidegate-{}.toml", admin.port()));
        std::fs::write(&path, edit(config)).expect("written");
        Node { process: start(&path, &[]), gateway: data, data, admin, _ports: ports.into() }
    }

    /// Returns the configuration of a node with these addresses of its data API and its admin listener.
    pub(crate) fn config(&self, [data, admin]: [SocketAddr; 2]) -> String {
        format!(
            r#"
            [listen]
            data = "{data}"
            admin = "{admin}"
            [source.shop]
            url = "{}"
            [shared]
            url = "{}"
            [data.product_price]
            key = "v1:catalog:price:{{id}}"
            value = "select price_cents, currency from products where id = $id"
            from = {{ source = "shop", table = "products", key = "id", columns = ["price_cents", "currency"] }}
            tags = ["product-{{id}}", "category-{{category_id}}"]
            staleness = "1s"
            unproven = "read-origin"
            owner = "pricing"
            approved = {{ by = ["product"], on = 2026-11-02 }}
            "#,
            self.mariadb.url_as("shop:secret", "shop"),
            self.redis.url(),
        )
    }

    /// Starts a node and waits until its answers have a proven bound.
    pub(crate) fn node(&self) -> Node {
        self.launch().ready()
    }
}

/// Creates the shop's table and the user.
pub(crate) fn set_up(mariadb: &MariaDb) {
    mariadb.sql(PRODUCTS).expect("a table");
    mariadb.sql(GRANTS).expect("a user");
}

fn wait_proven(node: &Node) {
    node.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
}

pub(crate) fn wait_cached(node: &Node) {
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
}

#[test]
fn mariadb_update_reaches_every_node() {
    let stack = Stack::start();
    let mut first = stack.node();
    let second = stack.node();
    assert_eq!(first.get(42).text(), r#"{"price_cents":1042,"currency":"GBP"}"#);
    for node in [&first, &second] {
        wait_cached(node);
    }
    stack.price(1);
    for node in [&first, &second] {
        node.wait("the new price", |node| node.cents(42) == Some(1));
    }

    assert_eq!(first.get(777).status, 404);
    first.wait("remembered absence", |node| tier(&node.get(777)) == Some("local"));
    stack.sql("insert into products values (777, 'new', 7, 5, 'GBP')");
    first.wait("the new row", |node| node.cents(777) == Some(5));
    assert_eq!(first.get(42).status, 200);
    for wrong in ["042", "abc", "99999999999"] {
        let answer = http::get(first.data, &format!("/data/product_price/{wrong}"), DEADLINE);
        assert_eq!(answer.expect("an answer").status, 400, "{wrong}");
    }

    // Purge requests travel through the log too.
    wait_cached(&second);
    let body = br#"{"tags":["product-42"]}"#;
    let json = [("content-type", "application/json")];
    let answer = http::request(first.admin, "POST", "/api/v1/purge", &json, body, DEADLINE);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let purged = |node: &Node| {
        let journal = http::get(node.admin, "/api/v1/invalidations", DEADLINE).expect("an answer");
        journal.text().contains("\"cause\":\"purge\"")
    };
    first.wait("the purge in the leader's journal", purged);
    assert_eq!(second.cents(42), Some(1));
    assert_eq!(stack.sql("select count(*) from tidegate_orders"), "0");

    // The leader dies.
    assert_eq!(first.metric("tidegate_feed_leader"), 1.0);
    first.process.kill9().expect("it dies");
    second.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    stack.price(2);
    second.wait("the new price", |node| node.cents(42) == Some(2));
    assert_eq!(second.metric("tidegate_incarnations_total"), 0.0, "no epoch reset");
}

#[test]
fn restart_and_crash_reset_epoch() {
    let mut stack = Stack::start();
    let node = stack.node();
    for (cents, crash) in [(1, false), (2, true)] {
        wait_cached(&node);
        let epoch = node.status()["epoch"].clone();
        // The server's start time has a resolution of one second.
        std::thread::sleep(Duration::from_millis(1_100));
        match crash {
            true => stack.mariadb.crash().expect("it dies"),
            false => stack.mariadb.stop().expect("it stops"),
        }
        stack.mariadb.start_again().expect("it starts again");
        node.wait("another epoch", |node| node.status()["epoch"] != epoch);
        wait_proven(&node);
        stack.price(cents);
        node.wait("the new price", |node| node.cents(42) == Some(cents));
    }
}

#[test]
fn purged_binlog_resets_epoch() {
    let stack = Stack::start();
    let mut node = stack.node();
    wait_cached(&node);
    node.process.terminate(DEADLINE).expect("it stops");
    drop(node);
    // No node follows, Redis keeps its entries, and the log is purged.
    stack.price(7);
    stack.sql("flush binary logs");
    let end = stack.sql("show master status");
    let file = end.split('\t').next().expect("a file").to_owned();
    stack.sql(&format!("purge binary logs to '{file}'"));
    let node = stack.node();
    assert_eq!(node.cents(42), Some(7));

    wait_cached(&node);
    let epoch = node.status()["epoch"].clone();
    stack.sql("reset master");
    stack.price(8);
    node.wait("another epoch", |node| node.status()["epoch"] != epoch);
    node.wait("the new price", |node| node.cents(42) == Some(8));
    wait_proven(&node);
}

#[test]
fn statement_without_rows_invalidates_all() {
    let stack = Stack::start();
    let node = stack.node();
    wait_cached(&node);
    stack.sql("set session binlog_format = STATEMENT; update products set price_cents = 3");
    node.wait("the new price", |node| node.cents(42) == Some(3));
    wait_cached(&node);
    stack.sql("truncate products");
    node.wait("absence", |node| node.get(42).status == 404);
    let epoch = |node: &Node| node.status()["epoch"].clone();
    let before = epoch(&node);
    stack.sql("alter table products add column size int first");
    stack.sql("insert into products values (1, 42, 'back', 2, 4, 'GBP')");
    node.wait("the row that came back", |node| node.cents(42) == Some(4));
    assert_eq!(epoch(&node), before, "the altered table resets no epoch");
}

/// The commit is in the log while the server waits for a replica that never answers: its event arrives long
/// before the commit is visible (race 23), and readers refill the entry with the old value.
#[test]
fn race_23_early_event_fill_rejected() {
    let stack = Stack::start();
    // Otherwise the commit renews the entries before it is visible.
    let without_renewals =
        |config: String| config.replace("staleness", "write_through = false\nstaleness");
    let start = || stack.launch_with(without_renewals).ready();
    let (one, two) = (start(), start());
    for node in [&one, &two] {
        wait_cached(node);
    }
    stack.sql(
        "set global rpl_semi_sync_master_timeout = 600000; \
         set global rpl_semi_sync_master_wait_point = AFTER_SYNC; \
         set global rpl_semi_sync_master_enabled = 1",
    );
    let before =
        one.metric("tidegate_invalidations_total") + two.metric("tidegate_invalidations_total");
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(|| stack.mariadb.sql_in("shop", "update products set price_cents = 9"));
        let applied = || {
            one.metric("tidegate_invalidations_total") + two.metric("tidegate_invalidations_total")
                > before
        };
        let begun = now();
        let mut answers = Vec::new();
        while !applied() && begun.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let applied = applied();
        for _ in 0..50 {
            answers.extend([one.cents(42), two.cents(42)]);
        }
        // Release the writer before any assertion: the scope waits for it.
        let released = stack.mariadb.sql("set global rpl_semi_sync_master_enabled = 0");
        assert!(applied, "the event was not applied within {DEADLINE:?}");
        assert!(answers.iter().all(|cents| *cents == Some(1042)), "not committed yet: {answers:?}");
        released.expect("released");
        writer.join().expect("no panic").expect("committed");
    });
    for node in [&one, &two] {
        node.wait("the new price", |node| node.cents(42) == Some(9));
        wait_cached(node);
        assert_eq!(node.cents(42), Some(9), "the new value stays");
    }
}

#[test]
fn missing_settings_listed_and_exit_3() {
    let mariadb = MariaDb::builder().setting("binlog-format", "MIXED").start().expect("it starts");
    mariadb.sql(PRODUCTS).expect("a table");
    mariadb
        .sql("create user shop identified by 'secret'; grant usage on shop.* to shop")
        .expect("a user");
    mariadb.sql("grant select on shop.products to shop").expect("a right");
    let redis = Redis::start().expect("Redis starts");
    let stack = Stack { mariadb, redis, folder: tempfile::tempdir().expect("a folder") };
    let mut node = stack.launch();
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    for part in [
        "set global binlog_format = ROW;",
        "grant binlog monitor, replication slave on *.* to 'shop'@'%';",
        "create table if not exists `shop`.tidegate_orders(",
    ] {
        assert!(output.contains(part), "{part} is not in:\n{output}");
    }
    assert!(!output.contains("secret"), "{output}");
}
