//! A shop whose log is read by Debezium already: nodes take its events over HTTP.

mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harness::http;
use parking_lot::Mutex;
use relay::{Habit, Memory, Relay, post};

use crate::faults::watch_all;
use crate::stack::{Node, SOON, Stack, bound_ms, now, tier};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8=";

/// The servers, nodes, and a relay between them.
struct Shop {
    // Ends before what it posts to.
    relay: Option<Relay>,
    memory: Arc<Mutex<Memory>>,
    nodes: Vec<Node>,
    stack: Stack,
}

fn launch(stack: &Stack, edit: impl Fn(String) -> String) -> Node {
    // Without the governor, which may answer with what a commit has made old within the budget.
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
        let nodes: Vec<Node> = (0..nodes).map(|_| launch(&stack, &edit)).collect();
        let mut shop = Self { relay: None, memory: Arc::default(), nodes, stack };
        for node in &mut shop.nodes {
            node.process.wait_for_http(node.admin, "/readyz", SOON).expect("ready");
        }
        shop.start_relay();
        shop.everywhere("a proven bound", |node| bound(node).is_some());
        shop.relay().catch_up(&shop.stack);
        shop
    }

    fn start_relay(&mut self) {
        let nodes: Vec<SocketAddr> = self.nodes.iter().map(|node| node.admin).collect();
        // One reader at a time.
        self.relay = None;
        self.relay = Some(Relay::start(&self.stack, &nodes, &self.memory));
    }

    fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("it was started")
    }

    fn everywhere(&self, what: &str, holds: impl Fn(&Node) -> bool) {
        for node in &self.nodes {
            node.wait(what, &holds);
        }
    }

    /// Every node has it in its own tier, with a bound that the contract allows.
    fn cached(&self) {
        self.everywhere("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    }

    fn sees(&self, cents: u32) {
        self.everywhere("the new price", |node| node.cents(42) == Some(cents));
    }

    fn sum(&self, metric: &str) -> f64 {
        self.nodes.iter().map(|node| node.metric(metric)).sum()
    }

    /// What voids what was cached, on whichever node.
    fn breaks(&self) -> f64 {
        self.sum("tidegate_events_breaks_total")
    }

    /// The node that takes events.
    fn leader(&self) -> usize {
        let mut leader = None;
        let found = harness::until("one that takes events", SOON, || {
            let leads = |node: &Node| node.metric("tidegate_feed_leader") == 1.0;
            leader = self.nodes.iter().position(leads);
            Ok(leader)
        });
        found.expect("somebody takes events")
    }
}

fn bound(node: &Node) -> Option<f64> {
    node.status()["bound_ms"].as_f64().filter(|bound| *bound < 1_000.0)
}

#[test]
fn an_update_typed_into_psql_is_in_the_next_answer_of_every_node() {
    let shop = Shop::start(2);
    assert_eq!(shop.sum("tidegate_feed_leader"), 1.0);
    for cents in 1..6 {
        shop.cached();
        shop.stack.price(42, cents);
        shop.sees(cents);
    }
    shop.stack.sql("insert into products values (500, 'new', 1, 5, 'GBP')");
    shop.everywhere("the row", |node| node.cents(500) == Some(5));
    shop.stack.sql("update products set id = 501 where id = 500");
    shop.everywhere("absence", |node| node.get(500).status == 404);
    shop.everywhere("the row", |node| node.cents(501) == Some(5));
    shop.stack.sql("delete from products where id = 501");
    shop.everywhere("absence", |node| node.get(501).status == 404);
    // Many rows at once, and a purge through the log.
    shop.cached();
    shop.stack.sql("update products set price_cents = 77");
    shop.sees(77);
    shop.cached();
    let json = [("content-type", "application/json")];
    let order = br#"{"tags":["product-42"]}"#;
    let answer = http::request(shop.nodes[0].admin, "POST", "/api/v1/purge", &json, order, SOON);
    assert_eq!(answer.expect("an answer").status, 200);
    shop.stack.sql("truncate products");
    shop.everywhere("absence", |node| node.get(42).status == 404);
    assert_eq!(shop.breaks(), 0.0);
    assert_eq!(shop.relay().refusals(), Vec::<String>::new());
    let events = shop.nodes[shop.leader()].status()["events"].clone();
    assert!(events["messages"].as_u64().is_some_and(|messages| messages > 100), "{events}");
}

#[test]
fn what_is_told_again_leaves_no_old_value_and_voids_nothing() {
    let mut shop = Shop::start(2);
    let epoch = shop.nodes[0].status()["epoch"].clone();
    shop.relay().becomes(Habit::Twice);
    for cents in 1..4 {
        shop.cached();
        shop.stack.price(42, cents);
        shop.sees(cents);
    }
    shop.relay().becomes(Habit::Faithful);
    // It dies before it has noted how far it is, and tells all of that again.
    shop.relay().confirms(false);
    for cents in 4..7 {
        shop.stack.price(42, cents);
        shop.sees(cents);
    }
    // A price is seen before its transaction has ended, and what has not ended is not repeated.
    shop.relay().catch_up(&shop.stack);
    let repeated = shop.sum("tidegate_events_repeated_total");
    shop.start_relay();
    harness::until("what was told before", SOON, || {
        let again = shop.sum("tidegate_events_repeated_total") >= repeated + 3.0;
        Ok(again.then_some(()))
    })
    .expect("it is told again");
    shop.cached();
    for node in &shop.nodes {
        let answer = node.get(42);
        assert!(answer.text().contains(":6,"), "{answer:?}");
    }
    shop.stack.price(42, 7);
    shop.sees(7);
    assert_eq!(shop.breaks(), 0.0);
    assert_eq!(shop.nodes[0].status()["epoch"], epoch, "nothing had to be thrown away");
}

#[test]
fn what_is_lost_or_comes_in_another_order_is_noticed() {
    let shop = Shop::start(2);
    let mut cents = 1;
    for habit in [Habit::LosesOne, Habit::LosesTransaction, Habit::Swaps] {
        shop.cached();
        shop.relay().catch_up(&shop.stack);
        let breaks = shop.breaks();
        shop.relay().becomes(habit);
        for _ in 0..2 {
            cents += 1;
            let sql = format!(
                "update products set price_cents = {cents} where id = 42; \
                 update products set price_cents = {cents} where id = 43"
            );
            shop.stack.sql(&sql);
        }
        shop.sees(cents);
        harness::until("a break", SOON, || {
            let done = shop.relay().habit() == Habit::Faithful && shop.breaks() > breaks;
            Ok(done.then_some(()))
        })
        .unwrap_or_else(|err| panic!("{habit:?}: {err:#}"));
        shop.cached();
        for node in &shop.nodes {
            assert_eq!(node.cents(42), Some(cents), "{habit:?}");
        }
    }
}

/// Every answer of two nodes, beside the truth; with the governor, which may spend the budget.
#[test]
fn whatever_the_relay_does_no_answer_is_older_than_it_shows() {
    let shop = Shop::start_with(2, |config| config.replace("mode = \"off\"", "mode = \"on\""));
    let habits = [
        Habit::Twice,
        Habit::Dies,
        Habit::LosesOne,
        Habit::Dies,
        Habit::Swaps,
        Habit::Silent,
        Habit::LosesTransaction,
    ];
    let meanwhile = |_: &Stack, step: u32| {
        if step.is_multiple_of(8) {
            shop.relay().becomes(habits[step as usize / 8 % habits.len()]);
            shop.relay().confirms(step.is_multiple_of(16));
        }
    };
    let heal = || shop.relay().becomes(Habit::Faithful);
    let nodes: Vec<&Node> = shop.nodes.iter().collect();
    let seen = watch_all(&shop.stack, &nodes, Duration::from_secs(10), meanwhile, heal);
    assert!(seen.answered > 100, "{}", seen.answered);
    assert_eq!(seen.refused, 0, "the origin was there all the time");
    assert!(shop.breaks() >= 1.0);
    shop.everywhere("a proven bound", |node| bound(node).is_some());
    shop.cached();
}

#[test]
fn while_debezium_is_silent_the_bound_grows_and_the_contract_decides() {
    let shop = Shop::start(2);
    shop.cached();
    shop.relay().becomes(Habit::Silent);
    shop.everywhere("a bound that grows", |node| {
        node.status()["bound_ms"].as_f64().is_some_and(|bound| bound > 1_500.0)
    });
    shop.stack.price(42, 9);
    for node in &shop.nodes {
        let answer = node.get(42);
        assert!(answer.text().contains("\"price_cents\":9,"), "the origin is read: {answer:?}");
        assert!(bound_ms(&answer).is_none_or(|bound| bound < 1_000.0), "{answer:?}");
    }
    shop.everywhere("an alarm", |node| {
        let answer = http::get(node.admin, "/readyz", SOON).expect("an answer");
        let ready: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        ready["components"]["log"]["ok"] == false
    });
    shop.relay().becomes(Habit::Faithful);
    shop.everywhere("a proven bound", |node| bound(node).is_some());
    shop.cached();
    shop.stack.price(42, 10);
    shop.sees(10);
    assert_eq!(shop.breaks(), 0.0);
}

#[test]
fn another_node_takes_events_when_the_one_that_does_is_killed() {
    let mut shop = Shop::start(3);
    shop.cached();
    let leader = shop.leader();
    for (at, node) in shop.nodes.iter().enumerate() {
        let answer = post(node.admin, "shop", SECRET, b"[]").expect("an answer");
        assert_eq!(answer.status, if at == leader { 204 } else { 503 }, "{}", answer.text());
        if at != leader {
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    shop.stack.price(42, 2);
    shop.sees(2);
    let mut killed = shop.nodes.remove(leader);
    killed.process.kill9().expect("killed");
    shop.stack.price(42, 3);
    shop.sees(3);
    shop.everywhere("a proven bound", |node| bound(node).is_some());
    shop.cached();
    shop.stack.price(42, 4);
    shop.sees(4);
    assert_eq!(shop.sum("tidegate_feed_leader"), 1.0);
}

/// What was acknowledged is not forgotten with the node that did, although the rest of the transaction
/// comes to another.
#[test]
fn what_a_killed_node_has_acknowledged_of_a_transaction_is_not_lost() {
    let mut shop = Shop::start(2);
    shop.cached();
    let leader = shop.leader();
    let told = |shop: &Shop| shop.nodes[leader].metric("tidegate_invalidations_total");
    let before = told(&shop);
    shop.relay().becomes(Habit::HoldsEnds);
    shop.stack.price(42, 2);
    // The tiers know of it before anybody knows where its commit ends.
    harness::until("an invalidation", SOON, || Ok((told(&shop) > before).then_some(())))
        .expect("it is told");
    shop.sees(2);
    let mut killed = shop.nodes.remove(leader);
    killed.process.kill9().expect("killed");
    shop.everywhere("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    assert_eq!(shop.breaks(), 0.0);
    shop.relay().becomes(Habit::Faithful);
    harness::until("a break", SOON, || Ok((shop.breaks() == 1.0).then_some(())))
        .expect("half a transaction is noticed");
    shop.cached();
    assert_eq!(shop.nodes[0].cents(42), Some(2));
    shop.stack.price(42, 3);
    shop.sees(3);
}

/// The server waits for a standby that is not there, with the commit in its log already.
#[test]
fn race_23_what_is_read_before_a_commit_is_visible_does_not_stay() {
    // Only what is loaded is what a snapshot shows.
    let loaded =
        |config: String| config.replace("unproven  =", "write_through = false\nunproven  =");
    let shop = Shop::start_with(2, loaded);
    shop.cached();
    let set = |setting: &str, value: &str| {
        shop.stack.postgres.psql(&format!("alter system set {setting} = '{value}'"))?;
        shop.stack.postgres.psql("select pg_reload_conf()")
    };
    let taken = shop.relay().taken();
    set("synchronous_standby_names", "nobody").expect("set");
    harness::until("the setting", SOON, || {
        let shown = shop.stack.postgres.psql("show synchronous_standby_names")?;
        Ok((shown == "nobody").then_some(()))
    })
    .expect("set");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let sql = "update products set price_cents = 9 where id = 42";
            shop.stack.postgres.psql_as("shop", "shop", sql)
        });
        // The row, and END.
        let told = harness::until("the event", SOON, || {
            Ok((shop.relay().taken() >= taken + 2).then_some(()))
        });
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.extend(shop.nodes.iter().map(|node| node.cents(42)));
        }
        // Whatever happened: the writer has to get on, or the scope waits for it.
        let released = set("synchronous_standby_names", "");
        told.expect("told");
        assert!(answers.iter().all(|cents| *cents == Some(1042)), "not committed yet: {answers:?}");
        released.expect("released");
        writer.join().expect("no panic").expect("it has committed");
    });
    shop.sees(9);
    shop.cached();
    for node in &shop.nodes {
        assert_eq!(node.cents(42), Some(9), "and it stays");
    }
}

#[test]
fn strangers_and_rubbish_are_refused_with_a_remedy() {
    let shop = Shop::start(1);
    let node = &shop.nodes[0];
    let says = |source, secret, body: &str| {
        let answer = post(node.admin, source, secret, body.as_bytes()).expect("an answer");
        (answer.status, answer.text())
    };
    let (status, said) = says("shop", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "[]");
    assert_eq!(status, 401, "{said}");
    assert!(!said.contains("MfKQ9r8G"), "{said}");
    let plain = http::request(node.admin, "POST", "/api/v1/events/shop", &[], b"[]", SOON);
    assert_eq!(plain.expect("an answer").status, 401);
    assert_eq!(says("shpo", SECRET, "[]").0, 404);
    for (body, remedy) in [
        ("{", "debezium.format.value=json"),
        ("7", "is no message"),
        (r#"{"specversion":"1.0"}"#, "debezium.format.value=json"),
        (r#"{"id":42,"price_cents":7}"#, "unwrap"),
        (r#"{"op":"u","source":{"connector":"mysql","db":"shop"}}"#, "PostgreSQL connector"),
        (r#"{"op":"u","source":{"connector":"postgresql","db":"other"}}"#, "source.db"),
        (
            r#"{"op":"u","source":{"connector":"postgresql","db":"shop","lsn":1},"transaction":null}"#,
            "provide.transaction.metadata=true",
        ),
    ] {
        let (status, said) = says("shop", SECRET, body);
        assert_eq!(status, 400, "{body}: {said}");
        assert!(said.contains(remedy), "{body}: {said}");
    }
    for harmless in ["", "null", "[]", r#"{"schema":null,"payload":null}"#, r#"{"ts_ms":1}"#] {
        assert_eq!(says("shop", SECRET, harmless).0, 204, "{harmless}");
    }
    let huge = vec![b' '; 17 << 20];
    let answer = post(node.admin, "shop", SECRET, &huge);
    // It may close the connection before all of it is sent.
    assert!(answer.as_ref().map_or(true, |answer| answer.status == 413), "{answer:?}");
    assert!(node.metric("tidegate_events_unreadable_total") >= 7.0);
    shop.cached();
    shop.stack.price(42, 2);
    shop.sees(2);
}

/// A row that is not what the catalogue says fells its table.
#[test]
fn a_row_that_can_not_be_read_is_not_passed_over() {
    let mut shop = Shop::start(1);
    shop.cached();
    // From now on nobody posts but the test.
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
    let told = node.process.lines().join("\n");
    assert!(told.contains("public.products"), "{told}");
    let begun = now();
    assert_ne!(tier(&node.get(42)), Some("local"), "everything of the table has gone");
    assert!(begun.elapsed() < SOON + Duration::from_secs(1));
}
