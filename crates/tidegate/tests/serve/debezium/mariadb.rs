//! A shop on MariaDB whose log is read by Debezium.

use std::sync::Arc;
use std::time::Duration;

use harness::{MariaDb, http};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::binlog_relay::{self, Connector, position};
use super::nodes::Nodes;
use super::relay::{Relay, RelayFault, RelayState, SECRET, post};
use crate::faults::watch_writes;
use crate::mariadb::Stack;
use crate::stack::{DEADLINE, Node, bound_ms};

pub(super) const REPORTS_ALL: Connector =
    Connector { reports_definitions: true, reports_truncates: true, positions_of_begins: false };

/// The servers, nodes, and a relay between them.
pub(super) struct Shop {
    // Dropped before the nodes that it posts to.
    pub(super) relay: Option<Relay>,
    memory: Arc<Mutex<RelayState>>,
    connector: Connector,
    pub(super) nodes: Nodes,
    pub(super) stack: Stack,
}

impl Shop {
    fn start(nodes: usize) -> Self {
        Self::on(Stack::start(), nodes, REPORTS_ALL, |config| config)
    }

    pub(super) fn on(
        stack: Stack,
        nodes: usize,
        connector: Connector,
        edit: impl Fn(String) -> String,
    ) -> Self {
        // Without the governor, which may serve soft-stale entries within the budget.
        let events = format!(
            "[source.shop.events]\nfrom = \"debezium\"\nsecret = \"{SECRET}\"\n\n\
             [governor]\nmode = \"off\"\n\n[shared]"
        );
        let launch = || stack.launch_with(|config| edit(config.replace("[shared]", &events)));
        // The relay begins before the nodes do, so that it misses nothing of their streams.
        let memory = Arc::<Mutex<RelayState>>::default();
        memory.lock().last_commit = Some(position(&stack.sql("show master status")));
        let nodes = Nodes::launch(nodes, launch);
        let mut shop = Self { relay: None, memory, connector, nodes, stack };
        shop.start_relay();
        shop.wait_current(1);
        shop
    }

    fn start_relay(&mut self) {
        let nodes = self.nodes.admins();
        // One reader at a time.
        self.relay = None;
        let server = self.stack.mariadb.addr();
        self.relay = Some(binlog_relay::start(server, &nodes, &self.memory, self.connector));
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("it was started")
    }

    /// Waits until the relay has passed on the present end of the log.
    fn catch_up(&self) {
        self.relay().reach(position(&self.stack.sql("show master status")));
    }

    /// Returns a position and an id for the transaction that follows those which the relay, now stopped, has passed on.
    pub(super) fn next_transaction(&self) -> (String, u64, String) {
        let end = self.memory.lock().last_commit();
        let (file, offset) = (format!("binlog.{:06}", end >> 32), end & 0xffff_ffff);
        let last = self.stack.sql(&format!("select binlog_gtid_pos('{file}', {offset})"));
        let (domain, number) = last.rsplit_once('-').expect("an id");
        let number: u64 = number.parse().expect("a number");
        (file, offset, format!("{domain}-{}", number + 1))
    }

    /// Waits until the next beat is written.
    fn wait_beat(&self) {
        let last = || self.stack.sql("select @@gtid_binlog_pos");
        let before = last();
        let written = || Ok((last() != before).then_some(()));
        harness::until("a beat", DEADLINE, written).expect("written");
    }

    /// Waits until nodes have found `times` times that the relay delivers current events of their log.
    fn wait_current(&self, times: usize) {
        const CURRENT: &str = "Debezium now delivers current events";
        let found =
            |node: &Node| node.process.lines().iter().filter(|line| line.contains(CURRENT)).count();
        harness::until("current events", DEADLINE, || {
            let all: usize = self.nodes.iter().map(found).sum();
            Ok((all >= times).then_some(()))
        })
        .expect("the relay is current");
        self.nodes.wait_proven();
    }

    fn wait_break(&self, after: f64, what: &str) {
        let found = || Ok((self.nodes.breaks() > after).then_some(()));
        harness::until("a break", DEADLINE, found).unwrap_or_else(|err| panic!("{what}: {err:#}"));
    }

    fn epoch(&self) -> Value {
        self.nodes[0].status()["epoch"].clone()
    }
}

#[test]
fn mariadb_update_reaches_every_node() {
    let shop = Shop::start(2);
    let epoch = shop.epoch();
    assert_eq!(shop.nodes.sum("tidegate_feed_leader"), 1.0);
    for cents in 1..4 {
        shop.nodes.wait_cached();
        shop.stack.price(cents);
        shop.nodes.wait_price(cents);
    }
    shop.stack.sql("insert into products values (500, 'new', 1, 5, 'GBP')");
    shop.nodes.wait_all("the row", |node| node.cents(500) == Some(5));
    shop.stack.sql("update products set id = 501 where id = 500");
    shop.nodes.wait_all("absence", |node| node.get(500).status == 404);
    shop.nodes.wait_all("the row", |node| node.cents(501) == Some(5));
    shop.stack.sql("delete from products where id = 501");
    shop.nodes.wait_all("absence", |node| node.get(501).status == 404);
    // Many rows at once, and a purge through the log.
    shop.nodes.wait_cached();
    shop.stack.sql("update products set price_cents = 77");
    shop.nodes.wait_price(77);
    shop.nodes.wait_cached();
    let json = [("content-type", "application/json")];
    let body = br#"{"tags":["product-42"]}"#;
    let answer = http::request(shop.nodes[0].admin, "POST", "/api/v1/purge", &json, body, DEADLINE);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    shop.stack.sql("truncate products");
    shop.nodes.wait_all("absence", |node| node.get(42).status == 404);
    assert_eq!(shop.nodes.breaks(), 0.0);
    assert_eq!(shop.epoch(), epoch, "no epoch reset");
    assert_eq!(shop.relay().refusals(), Vec::<String>::new());
    assert_eq!(shop.stack.sql("select count(*) from tidegate_orders"), "0");
}

#[test]
fn repeated_binlog_events_have_no_effect() {
    let mut shop = Shop::start(2);
    let epoch = shop.epoch();
    shop.relay().set_fault(RelayFault::Duplicates);
    for cents in 1..4 {
        shop.nodes.wait_cached();
        shop.stack.price(cents);
        shop.nodes.wait_price(cents);
    }
    shop.relay().set_fault(RelayFault::None);
    // The relay restarts without having confirmed its position, and sends all of it again.
    shop.relay().set_confirming(false);
    for cents in 4..7 {
        shop.stack.price(cents);
        shop.nodes.wait_price(cents);
    }
    shop.catch_up();
    let repeated = shop.nodes.sum("tidegate_events_repeated_total");
    shop.start_relay();
    harness::until("repeated events", DEADLINE, || {
        let again = shop.nodes.sum("tidegate_events_repeated_total") >= repeated + 3.0;
        Ok(again.then_some(()))
    })
    .expect("repeated");
    shop.nodes.wait_cached();
    shop.nodes.wait_all("the last price", |node| node.cents(42) == Some(6));
    assert_eq!(shop.nodes.breaks(), 0.0);
    assert_eq!(shop.epoch(), epoch, "no epoch reset");
}

#[test]
fn lost_or_reordered_binlog_events_invalidate_everything() {
    let shop = Shop::start(2);
    let epoch = shop.epoch();
    let mut cents = 1;
    for fault in [RelayFault::LosesRow, RelayFault::LosesTransaction, RelayFault::SwapsRows] {
        shop.nodes.wait_cached();
        shop.catch_up();
        let breaks = shop.nodes.breaks();
        shop.relay().set_fault(fault);
        cents += 1;
        shop.stack.sql(&format!(
            "start transaction; update products set price_cents = {cents} where id = 42; \
             update products set price_cents = {cents} where id = 43; commit"
        ));
        shop.wait_break(breaks, &format!("{fault:?}"));
        shop.nodes.wait_price(cents);
        shop.nodes.wait_cached();
        shop.nodes.wait_all("the price", |node| node.cents(42) == Some(cents));
    }
    assert_eq!(shop.epoch(), epoch, "no epoch reset");
}

/// Checks every answer of two nodes against the history of prices, with the governor, which may spend the budget.
#[test]
fn binlog_relay_faults_never_break_bound() {
    let shop = Shop::on(Stack::start(), 2, REPORTS_ALL, |config| {
        config.replace("mode = \"off\"", "mode = \"on\"")
    });
    shop.stack.price(1042);
    let faults = [
        RelayFault::Duplicates,
        RelayFault::Restarts,
        RelayFault::LosesRow,
        RelayFault::Restarts,
        RelayFault::Silent,
        RelayFault::LosesTransaction,
    ];
    let fault = |step: u32| {
        if step.is_multiple_of(8) {
            shop.relay().set_fault(faults[step as usize / 8 % faults.len()]);
            shop.relay().set_confirming(step.is_multiple_of(16));
        }
    };
    let heal = || shop.relay().set_fault(RelayFault::None);
    let write = |sql: &str| shop.stack.mariadb.sql_in("shop", sql).is_ok();
    let nodes: Vec<&Node> = shop.nodes.iter().collect();
    let result = watch_writes(&nodes, Duration::from_secs(10), write, fault, heal);
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0, "the origin was available");
    assert!(shop.nodes.breaks() >= 1.0);
    shop.nodes.wait_proven();
    shop.nodes.wait_cached();
}

#[test]
fn bound_grows_while_binlog_relay_silent() {
    let shop = Shop::start(1);
    shop.nodes.wait_cached();
    shop.relay().set_fault(RelayFault::Silent);
    shop.nodes.wait_all("a bound that grows", |node| {
        node.status()["bound_ms"].as_f64().is_some_and(|bound| bound > 1_500.0)
    });
    shop.stack.price(9);
    let answer = shop.nodes[0].get(42);
    assert!(answer.text().contains("\"price_cents\":9,"), "the origin is read: {answer:?}");
    assert!(bound_ms(&answer).is_none_or(|bound| bound < 1_000.0), "{answer:?}");
    shop.relay().set_fault(RelayFault::None);
    shop.nodes.wait_proven();
    shop.nodes.wait_cached();
    shop.stack.price(10);
    shop.nodes.wait_price(10);
    assert_eq!(shop.nodes.breaks(), 0.0);
}

#[test]
fn binlog_event_receiver_killed_and_replaced() {
    let mut shop = Shop::start(2);
    shop.nodes.wait_cached();
    let (leader, epoch) = (shop.nodes.leader(), shop.epoch());
    for (at, node) in shop.nodes.iter().enumerate() {
        let answer = post(node.admin, "shop", SECRET, b"[]").expect("an answer");
        assert_eq!(answer.status, if at == leader { 204 } else { 503 }, "{}", answer.text());
    }
    let mut killed = shop.nodes.remove(leader);
    killed.process.kill9().expect("killed");
    shop.stack.price(3);
    shop.nodes.wait_price(3);
    shop.nodes.wait_proven();
    shop.nodes.wait_cached();
    shop.stack.price(4);
    shop.nodes.wait_price(4);
    assert_eq!(shop.nodes.sum("tidegate_feed_leader"), 1.0);
    assert_eq!(shop.epoch(), epoch, "the successor continues");
}

/// Debezium reports statements or leaves them out, by its settings; a table is altered or truncated either way.
#[test]
fn statements_counted_whether_reported_or_not() {
    for reported in [true, false] {
        let connector =
            Connector { reports_definitions: reported, reports_truncates: reported, ..REPORTS_ALL };
        let shop = Shop::on(Stack::start(), 1, connector, |config| config);
        let (node, epoch) = (&shop.nodes[0], shop.epoch());
        shop.nodes.wait_cached();
        shop.stack.sql("alter table products add column size int first, modify id bigint");
        shop.stack.sql("update products set price_cents = 2 where id = 42");
        node.wait("the price of after", |node| node.cents(42) == Some(2));
        shop.stack.sql("insert into products values (1, 3000000000, 'x', 2, 4, 'GBP')");
        let large = || http::get(node.data, "/data/product_price/3000000000", DEADLINE);
        node.wait("an id of the new type", |_| large().expect("an answer").status == 200);
        shop.nodes.wait_cached();
        // Swapped, as online changes of a table do.
        shop.stack.sql(
            "create table other like products; insert into other select * from products; \
             update other set price_cents = 3; \
             rename /* gh-ost */ table products to gone, other to products",
        );
        node.wait("the price of the other table", |node| node.cents(42) == Some(3));
        shop.nodes.wait_cached();
        shop.stack.sql("truncate products");
        node.wait("absence", |node| node.get(42).status == 404);
        assert_eq!(shop.epoch(), epoch, "no epoch reset");
        // The copy was not made by a definition.
        assert_eq!(shop.nodes.breaks() > 0.0, !reported, "reported: {reported}");
    }
}

/// The connector passes over XA transactions: neither prepare nor commit has an end.
#[test]
fn xa_commit_invalidates() {
    let shop = Shop::start(1);
    shop.nodes.wait_cached();
    shop.stack.sql(
        "xa start 'a'; update products set price_cents = 5 where id = 42; xa end 'a'; xa prepare 'a'",
    );
    shop.catch_up();
    shop.nodes.wait_all("the old price", |node| node.cents(42) == Some(1042));
    shop.stack.sql("xa commit 'a'");
    shop.nodes.wait_price(5);
    shop.nodes.wait_cached();
    shop.stack.price(6);
    shop.nodes.wait_price(6);
}

/// The commit is in the log while the server waits for a replica that never answers (race 23).
#[test]
fn race_23_early_binlog_event_fill_rejected() {
    // A snapshot that misses the commit has just this position.
    let connector = Connector { positions_of_begins: true, ..REPORTS_ALL };
    // The commit of a beat would wait as well, and other commits behind it.
    let shop = Shop::on(Stack::start(), 2, connector, |config| {
        let config = config.replace("from = \"debezium\"", "from = \"debezium\"\nbeat = \"5s\"");
        config.replace("staleness = \"1s\"", "staleness = \"60s\"")
    });
    shop.nodes.wait_cached();
    shop.wait_beat();
    shop.catch_up();
    let delivered = shop.relay().delivered();
    shop.stack.sql(
        "set global rpl_semi_sync_master_timeout = 600000; \
         set global rpl_semi_sync_master_wait_point = AFTER_SYNC; \
         set global rpl_semi_sync_master_enabled = 1",
    );
    std::thread::scope(|scope| {
        let stack = &shop.stack;
        let writer =
            scope.spawn(|| stack.mariadb.sql_in("shop", "update products set price_cents = 9"));
        // The rows and the end of the transaction.
        let delivered = harness::until("the event", DEADLINE, || {
            Ok((shop.relay().delivered() >= delivered + 2).then_some(()))
        });
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.extend(shop.nodes.iter().map(|node| node.cents(42)));
        }
        // Release the writer before any assertion: the scope waits for it.
        let released = stack.mariadb.sql("set global rpl_semi_sync_master_enabled = 0");
        delivered.expect("delivered");
        assert!(answers.iter().all(|cents| *cents == Some(1042)), "not committed yet: {answers:?}");
        released.expect("released");
        writer.join().expect("no panic").expect("committed");
    });
    shop.nodes.wait_price(9);
    shop.nodes.wait_cached();
    shop.nodes.wait_all("the new price", |node| node.cents(42) == Some(9));
}

/// Positions in a replica's log are other ones, so a relay that reads a replica proves nothing.
#[test]
fn events_of_replica_refused() {
    let mut shop = Shop::start(1);
    shop.nodes.wait_cached();
    let replica = MariaDb::builder().setting("server-id", "2").setting("log-slave-updates", "ON");
    let replica = replica.start().expect("a replica");
    // One transaction of its own moves its positions, by less than a beat.
    replica.sql("create database own").expect("written");
    replica.follow(&shop.stack.mariadb).expect("it follows");
    replica.catch_up(&shop.stack.mariadb).expect("it follows");
    shop.relay = None;
    let breaks = shop.nodes.breaks();
    shop.memory.lock().last_commit =
        Some(position(&replica.sql("show master status").expect("read")));
    let nodes = [shop.nodes[0].admin];
    shop.relay = Some(binlog_relay::start(replica.addr(), &nodes, &shop.memory, shop.connector));
    shop.wait_break(breaks, "another log");
    let log = || shop.nodes[0].process.lines().join("\n");
    shop.nodes[0]
        .wait("the reason in the log", |_| log().contains("the relay reads another server"));
    shop.stack.price(8);
    shop.nodes.wait_price(8);
    // Each beat shows it again, and voids the entries since.
    shop.wait_break(shop.nodes.breaks(), "another log again");
    // The relay reads the primary again.
    shop.relay = None;
    shop.memory.lock().last_commit = Some(position(&shop.stack.sql("show master status")));
    shop.start_relay();
    shop.wait_current(2);
    shop.nodes.wait_cached();
    shop.stack.price(9);
    shop.nodes.wait_price(9);
}

#[test]
fn unsuitable_binlog_events_name_the_remedy() {
    let mut shop = Shop::start(1);
    shop.nodes.wait_cached();
    shop.relay = None;
    let node = &shop.nodes[0];
    for (body, remedy) in [
        (
            r#"{"op":"u","source":{"connector":"postgresql","db":"shop"}}"#,
            "this source is a MariaDB",
        ),
        (r#"{"status":"BEGIN","id":"file=binlog.000001,pos=4"}"#, "global transaction ids"),
        (
            r#"{"op":"u","source":{"connector":"mysql","db":"shop","table":"products"},"transaction":null}"#,
            "provide.transaction.metadata=true",
        ),
        (r#"{"id":42,"price_cents":7}"#, "unwrap"),
    ] {
        let answer = post(node.admin, "shop", SECRET, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.text().contains(remedy), "{body}: {}", answer.text());
    }
    // A row that can't be parsed counts as a change of its whole table.
    let (file, offset, id) = shop.next_transaction();
    let invalidated = node.metric("tidegate_invalidations_total");
    let event = json!({
        "op": "u", "before": null, "after": { "id": "forty-two", "price_cents": 1 },
        "source": { "connector": "mysql", "db": "shop", "table": "products", "snapshot": "false",
                    "file": file, "pos": offset },
        "transaction": { "id": id, "total_order": 1 }
    });
    let answer = post(node.admin, "shop", SECRET, event.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
    node.wait("an invalidation", |node| node.metric("tidegate_invalidations_total") > invalidated);
    assert_eq!(node.metric("tidegate_feed_malformed_total"), 1.0);
    assert_eq!(shop.nodes.breaks(), 0.0);
}
