//! A shop whose log is read by Debezium: nodes receive its events over HTTP.

mod binlog_relay;
mod encodings;
mod mariadb;
mod mariadb_encodings;
mod nodes;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use harness::http;
use nodes::Nodes;
use parking_lot::Mutex;
use relay::{Relay, RelayFault, RelayState, SECRET, post};

use crate::faults::watch_nodes;
use crate::stack::{DEADLINE, Node, Stack, bound_ms, now, tier};

/// The servers, nodes, and a relay between them.
struct Shop {
    // Dropped before the nodes that it posts to.
    relay: Option<Relay>,
    memory: Arc<Mutex<RelayState>>,
    nodes: Nodes,
    stack: Stack,
}

fn launch(stack: &Stack, edit: impl Fn(String) -> String) -> Node {
    // Without the governor, which may serve soft-stale entries within the budget.
    let events = format!(
        "[source.shop.events]\nfrom = \"debezium\"\nsecret = \"{SECRET}\"\n\n\
         [governor]\nmode = \"off\"\n\n[shared]"
    );
    stack.launch(|config| edit(config.replace("[shared]", &events)))
}

impl Shop {
    fn start(nodes: usize) -> Self {
        Self::start_with(nodes, |config| config)
    }

    fn start_with(nodes: usize, edit: impl Fn(String) -> String) -> Self {
        let stack = Stack::start();
        Relay::set_up(&stack);
        Self::on(stack, nodes, edit)
    }

    fn on(stack: Stack, nodes: usize, edit: impl Fn(String) -> String) -> Self {
        let nodes = Nodes::launch(nodes, || launch(&stack, &edit));
        let mut shop = Self { relay: None, memory: Arc::default(), nodes, stack };
        shop.start_relay();
        shop.nodes.wait_proven();
        shop.relay().catch_up(&shop.stack);
        shop
    }

    fn start_relay(&mut self) {
        let nodes = self.nodes.admins();
        // One reader at a time.
        self.relay = None;
        self.relay = Some(Relay::start(&self.stack, &nodes, &self.memory));
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("it was started")
    }
}

fn bound(node: &Node) -> Option<f64> {
    node.status()["bound_ms"].as_f64().filter(|bound| *bound < 1_000.0)
}

#[test]
fn psql_update_reaches_every_node() {
    let shop = Shop::start(2);
    assert_eq!(shop.nodes.sum("tidegate_feed_leader"), 1.0);
    for cents in 1..6 {
        shop.nodes.wait_cached();
        shop.stack.price(42, cents);
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
    assert_eq!(answer.expect("an answer").status, 200);
    shop.stack.sql("truncate products");
    shop.nodes.wait_all("absence", |node| node.get(42).status == 404);
    assert_eq!(shop.nodes.breaks(), 0.0);
    assert_eq!(shop.relay().refusals(), Vec::<String>::new());
    let events = shop.nodes[shop.nodes.leader()].status()["events"].clone();
    assert!(events["messages"].as_u64().is_some_and(|messages| messages > 100), "{events}");
}

#[test]
fn repeated_events_have_no_effect() {
    let mut shop = Shop::start(2);
    let epoch = shop.nodes[0].status()["epoch"].clone();
    shop.relay().set_fault(RelayFault::Duplicates);
    for cents in 1..4 {
        shop.nodes.wait_cached();
        shop.stack.price(42, cents);
        shop.nodes.wait_price(cents);
    }
    shop.relay().set_fault(RelayFault::None);
    // The relay restarts without having confirmed its position, and sends all of it again.
    shop.relay().set_confirming(false);
    for cents in 4..7 {
        shop.stack.price(42, cents);
        shop.nodes.wait_price(cents);
    }
    // A price is visible before its transaction has ended, and only ended transactions are repeated.
    shop.relay().catch_up(&shop.stack);
    let repeated = shop.nodes.sum("tidegate_events_repeated_total");
    shop.start_relay();
    harness::until("repeated events", DEADLINE, || {
        let again = shop.nodes.sum("tidegate_events_repeated_total") >= repeated + 3.0;
        Ok(again.then_some(()))
    })
    .expect("repeated");
    shop.nodes.wait_cached();
    for node in shop.nodes.iter() {
        let answer = node.get(42);
        assert!(answer.text().contains(":6,"), "{answer:?}");
    }
    shop.stack.price(42, 7);
    shop.nodes.wait_price(7);
    assert_eq!(shop.nodes.breaks(), 0.0);
    assert_eq!(shop.nodes[0].status()["epoch"], epoch, "no epoch reset");
}

#[test]
fn lost_or_reordered_events_reset_epoch() {
    let shop = Shop::start(2);
    let mut cents = 1;
    for fault in [RelayFault::LosesRow, RelayFault::LosesTransaction, RelayFault::SwapsRows] {
        shop.nodes.wait_cached();
        shop.relay().catch_up(&shop.stack);
        let breaks = shop.nodes.breaks();
        shop.relay().set_fault(fault);
        for _ in 0..2 {
            cents += 1;
            let sql = format!(
                "update products set price_cents = {cents} where id = 42; \
                 update products set price_cents = {cents} where id = 43"
            );
            shop.stack.sql(&sql);
        }
        shop.nodes.wait_price(cents);
        harness::until("a break", DEADLINE, || {
            let done = shop.relay().fault() == RelayFault::None && shop.nodes.breaks() > breaks;
            Ok(done.then_some(()))
        })
        .unwrap_or_else(|err| panic!("{fault:?}: {err:#}"));
        shop.nodes.wait_cached();
        for node in shop.nodes.iter() {
            assert_eq!(node.cents(42), Some(cents), "{fault:?}");
        }
    }
}

/// Checks every answer of two nodes against the history of prices, with the governor, which may spend the
/// budget.
#[test]
fn relay_faults_never_break_bound() {
    let shop = Shop::start_with(2, |config| config.replace("mode = \"off\"", "mode = \"on\""));
    let faults = [
        RelayFault::Duplicates,
        RelayFault::Restarts,
        RelayFault::LosesRow,
        RelayFault::Restarts,
        RelayFault::SwapsRows,
        RelayFault::Silent,
        RelayFault::LosesTransaction,
    ];
    let fault = |_: &Stack, step: u32| {
        if step.is_multiple_of(8) {
            shop.relay().set_fault(faults[step as usize / 8 % faults.len()]);
            shop.relay().set_confirming(step.is_multiple_of(16));
        }
    };
    let heal = || shop.relay().set_fault(RelayFault::None);
    let nodes: Vec<&Node> = shop.nodes.iter().collect();
    let result = watch_nodes(&shop.stack, &nodes, Duration::from_secs(10), fault, heal);
    assert!(result.answered > 100, "{}", result.answered);
    assert_eq!(result.refused, 0, "the origin was available");
    assert!(shop.nodes.breaks() >= 1.0);
    shop.nodes.wait_proven();
    shop.nodes.wait_cached();
}

#[test]
fn bound_grows_while_relay_silent() {
    let shop = Shop::start(2);
    shop.nodes.wait_cached();
    shop.relay().set_fault(RelayFault::Silent);
    shop.nodes.wait_all("a bound that grows", |node| {
        node.status()["bound_ms"].as_f64().is_some_and(|bound| bound > 1_500.0)
    });
    shop.stack.price(42, 9);
    for node in shop.nodes.iter() {
        let answer = node.get(42);
        assert!(answer.text().contains("\"price_cents\":9,"), "the origin is read: {answer:?}");
        assert!(bound_ms(&answer).is_none_or(|bound| bound < 1_000.0), "{answer:?}");
    }
    shop.nodes.wait_all("an alarm", |node| {
        let answer = http::get(node.admin, "/readyz", DEADLINE).expect("an answer");
        let ready: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        ready["components"]["log"]["ok"] == false
    });
    shop.relay().set_fault(RelayFault::None);
    shop.nodes.wait_proven();
    shop.nodes.wait_cached();
    shop.stack.price(42, 10);
    shop.nodes.wait_price(10);
    assert_eq!(shop.nodes.breaks(), 0.0);
}

#[test]
fn event_receiver_killed_and_replaced() {
    let mut shop = Shop::start(3);
    shop.nodes.wait_cached();
    let leader = shop.nodes.leader();
    for (at, node) in shop.nodes.iter().enumerate() {
        let answer = post(node.admin, "shop", SECRET, b"[]").expect("an answer");
        assert_eq!(answer.status, if at == leader { 204 } else { 503 }, "{}", answer.text());
        if at != leader {
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    shop.stack.price(42, 2);
    shop.nodes.wait_price(2);
    let mut killed = shop.nodes.remove(leader);
    killed.process.kill9().expect("killed");
    shop.stack.price(42, 3);
    shop.nodes.wait_price(3);
    shop.nodes.wait_proven();
    shop.nodes.wait_cached();
    shop.stack.price(42, 4);
    shop.nodes.wait_price(4);
    assert_eq!(shop.nodes.sum("tidegate_feed_leader"), 1.0);
}

/// Events that a node has acknowledged survive its death, although another node receives the rest of the
/// transaction.
#[test]
fn acknowledged_events_survive_node_death() {
    let mut shop = Shop::start(2);
    shop.nodes.wait_cached();
    let leader = shop.nodes.leader();
    let invalidations = |shop: &Shop| shop.nodes[leader].metric("tidegate_invalidations_total");
    let before = invalidations(&shop);
    shop.relay().set_fault(RelayFault::HoldsEnds);
    shop.stack.price(42, 2);
    // The tiers apply the change before the end of its commit is known.
    harness::until("an invalidation", DEADLINE, || {
        Ok((invalidations(&shop) > before).then_some(()))
    })
    .expect("applied");
    shop.nodes.wait_price(2);
    let mut killed = shop.nodes.remove(leader);
    killed.process.kill9().expect("killed");
    shop.nodes.wait_all("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    assert_eq!(shop.nodes.breaks(), 0.0);
    shop.relay().set_fault(RelayFault::None);
    harness::until("a break", DEADLINE, || Ok((shop.nodes.breaks() == 1.0).then_some(())))
        .expect("the incomplete transaction resets the epoch");
    shop.nodes.wait_cached();
    assert_eq!(shop.nodes[0].cents(42), Some(2));
    shop.stack.price(42, 3);
    shop.nodes.wait_price(3);
}

/// The commit is in the log while the server waits for a standby that does not exist.
#[test]
fn race_23_early_event_fill_rejected() {
    // Without renewal, so that entries are loaded from a snapshot.
    let loaded =
        |config: String| config.replace("unproven  =", "write_through = false\nunproven  =");
    let shop = Shop::start_with(2, loaded);
    shop.nodes.wait_cached();
    let delivered = shop.relay().delivered();
    shop.stack.postgres.hold_commits().expect("held");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let sql = "update products set price_cents = 9 where id = 42";
            shop.stack.postgres.psql_as("shop", "shop", sql)
        });
        // The row and the end of the transaction.
        let delivered = harness::until("the event", DEADLINE, || {
            Ok((shop.relay().delivered() >= delivered + 2).then_some(()))
        });
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.extend(shop.nodes.iter().map(|node| node.cents(42)));
        }
        // Release the writer before any assertion: the scope waits for it.
        let released = shop.stack.postgres.release_commits();
        delivered.expect("delivered");
        assert!(answers.iter().all(|cents| *cents == Some(1042)), "not committed yet: {answers:?}");
        released.expect("released");
        writer.join().expect("no panic").expect("committed");
    });
    shop.nodes.wait_price(9);
    shop.nodes.wait_cached();
    for node in shop.nodes.iter() {
        assert_eq!(node.cents(42), Some(9), "the new value stays");
    }
}

#[test]
fn unsigned_or_malformed_events_rejected() {
    let shop = Shop::start(1);
    let node = &shop.nodes[0];
    let post_text = |source, secret, body: &str| {
        let answer = post(node.admin, source, secret, body.as_bytes()).expect("an answer");
        (answer.status, answer.text())
    };
    let (status, text) = post_text("shop", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "[]");
    assert_eq!(status, 401, "{text}");
    assert!(!text.contains("MfKQ9r8G"), "{text}");
    let plain = http::request(node.admin, "POST", "/api/v1/events/shop", &[], b"[]", DEADLINE);
    assert_eq!(plain.expect("an answer").status, 401);
    assert_eq!(post_text("shpo", SECRET, "[]").0, 404);
    for (body, remedy) in [
        ("{", "debezium.format.value=json"),
        ("7", "is not a message"),
        (r#"{"specversion":"1.0"}"#, "debezium.format.value=json"),
        (r#"{"id":42,"price_cents":7}"#, "unwrap"),
        (r#"{"op":"u","source":{"connector":"mysql","db":"shop"}}"#, "PostgreSQL connector"),
        (r#"{"op":"u","source":{"connector":"postgresql","db":"other"}}"#, "source.db"),
        (
            r#"{"op":"u","source":{"connector":"postgresql","db":"shop","lsn":1},"transaction":null}"#,
            "provide.transaction.metadata=true",
        ),
    ] {
        let (status, text) = post_text("shop", SECRET, body);
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.contains(remedy), "{body}: {text}");
    }
    for harmless in ["", "null", "[]", r#"{"schema":null,"payload":null}"#, r#"{"ts_ms":1}"#] {
        assert_eq!(post_text("shop", SECRET, harmless).0, 204, "{harmless}");
    }
    let huge = vec![b' '; 17 << 20];
    let answer = post(node.admin, "shop", SECRET, &huge);
    // The node may close the connection before the whole body is sent.
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 413), "{answer:?}");
    assert!(node.metric("tidegate_events_unreadable_total") >= 7.0);
    shop.nodes.wait_cached();
    shop.stack.price(42, 2);
    shop.nodes.wait_price(2);
}

/// A row that does not match the catalogue invalidates its whole table.
#[test]
fn unreadable_row_not_skipped() {
    let mut shop = Shop::start(1);
    shop.nodes.wait_cached();
    // From now on only the test posts.
    shop.relay = None;
    let node = &shop.nodes[0];
    let invalidated = node.metric("tidegate_invalidations_total");
    let last = shop.memory.lock().last_commit();
    let event = serde_json::json!({
        "op": "u", "before": null, "after": { "id": "forty-two", "price_cents": 1 },
        "source": { "connector": "postgresql", "db": "shop", "schema": "public", "table": "products",
                    "lsn": last + 1, "sequence": format!("[\"{last}\",\"{}\"]", last + 1) },
        "transaction": { "id": format!("1:{}", last + 1), "total_order": 1 }
    });
    let answer = post(node.admin, "shop", SECRET, event.to_string().as_bytes());
    assert_eq!(answer.expect("an answer").status, 204);
    assert!(node.metric("tidegate_feed_malformed_total") >= 1.0);
    node.wait("an invalidation", |node| node.metric("tidegate_invalidations_total") > invalidated);
    let log = node.process.lines().join("\n");
    assert!(log.contains("public.products"), "{log}");
    let begun = now();
    assert_ne!(tier(&node.get(42)), Some("local"), "the whole table is invalidated");
    assert!(begun.elapsed() < DEADLINE + Duration::from_secs(1));
}
