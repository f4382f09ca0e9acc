//! Race 15: a client writes and reads at once, on another node and at the edge.

use std::time::Duration;

use harness::http::{self, Response};
use tokio_postgres::NoTls;

use crate::stack::{DEADLINE, Node, Stack, now, tier};
use crate::upstream::Reply;

const ROUNDS: u32 = 200;
const TOKEN: &str = "tidegate-after";

/// An application with an open connection, so that no process start lies between its commit and its next
/// read.
struct Application {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Application {
    fn connect(stack: &Stack) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let url = format!("postgres://shop@{}/shop", stack.postgres.addr());
        let (client, connection) =
            runtime.block_on(tokio_postgres::connect(&url, NoTls)).expect("connects");
        runtime.spawn(connection);
        Self { runtime, client }
    }

    fn reprice(&self, id: i32, cents: i32) {
        let update = "update products set price_cents = $2 where id = $1";
        let done = self.runtime.block_on(self.client.execute(update, &[&id, &cents]));
        assert_eq!(done.expect("updated"), 1);
    }

    /// Returns a token made as `docs/read-your-writes.md` describes for applications.
    fn token(&self) -> String {
        let end = "select 'lsn=' || pg_current_wal_insert_lsn()";
        self.runtime.block_on(self.client.query_one(end, &[])).expect("a row").get(0)
    }
}

impl Node {
    fn get_after(&self, id: u32, token: &str) -> Response {
        let path = format!("/data/product_price/{id}");
        http::request(self.data, "GET", &path, &[(TOKEN, token)], b"", DEADLINE).expect("an answer")
    }

    fn cents_after(&self, id: u32, token: &str) -> Option<i64> {
        let answer = self.get_after(id, token);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        body["price_cents"].as_i64()
    }

    fn page_after(&self, token: &str) -> String {
        let answer = http::request(self.gateway, "GET", "/p/42", &[(TOKEN, token)], b"", DEADLINE);
        answer.expect("an answer").text()
    }

    /// Returns a token that covers every commit before the call.
    fn token(&self) -> String {
        let answer = http::request(self.admin, "POST", "/api/v1/token", &[], b"", DEADLINE);
        let answer: serde_json::Value =
            serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
        answer["token"].as_str().expect("a token").to_owned()
    }

    fn warm(&self) {
        self.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
        self.wait("a cached page", |node| tier(&node.page()) == Some("edge"));
    }
}

#[test]
fn race_15_token_read_includes_own_write() {
    let stack = Stack::start();
    let (one, two) = (stack.node(), stack.node());
    let application = Application::connect(&stack);
    for node in [&one, &two] {
        node.warm();
    }
    let mut stale_without_token = 0;
    for round in 0..ROUNDS {
        let cents = i32::try_from(round).expect("small");
        stack.upstream.reply_with(Reply::Page(format!("page {round}")));
        application.reprice(42, cents);
        let token = if round % 2 == 0 { application.token() } else { one.token() };
        let reader = if round % 3 == 0 { &one } else { &two };
        stale_without_token += u32::from(reader.cents(42) != Some(round));
        assert_eq!(reader.cents_after(42, &token), Some(cents.into()), "round {round}, {token}");
        assert_eq!(reader.page_after(&token), format!("page {round}"), "round {round}, {token}");
    }
    // Once the tiers have applied the write, reads with a token are served from them.
    let token = application.token();
    for node in [&one, &two] {
        node.wait("a cached answer", |node| tier(&node.get_after(42, &token)) == Some("local"));
    }
    println!(
        "without a token {stale_without_token} of {ROUNDS} were stale, as their contract allows"
    );
}

#[test]
fn race_15_lagging_log_served_by_origin() {
    let stack = Stack::start();
    // Long enough that a read without a token is still answered from the tier.
    let budget = |config: String| config.replace("staleness = \"1s\"", "staleness = \"20s\"");
    let mut one = stack.node_with(budget);
    let two = stack.node_with(budget);
    let application = Application::connect(&stack);
    two.warm();
    one.process.pause().expect("the leader is stopped");
    application.reprice(42, 7);
    stack.upstream.reply_with(Reply::Page("second".into()));
    let token = two.token();
    assert_eq!(two.cents(42), Some(1042), "the log is not applied, and the contract allows it");
    let began = now();
    let answer = two.get_after(42, &token);
    assert_eq!(tier(&answer), Some("origin"), "{answer:?}");
    assert!(answer.text().contains("\"price_cents\":7"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(two.page_after(&token), "second");
    for cents in 8..18 {
        application.reprice(42, cents);
        assert_eq!(two.cents_after(42, &application.token()), Some(cents.into()));
    }
    assert!(two.metric("tidegate_token_waits_total") > 0.0);

    one.process.resume().expect("continued");
    two.wait("an up-to-date tier", |node| {
        let answer = node.get_after(42, &token);
        assert!(answer.text().contains("\"price_cents\":17"), "{answer:?}");
        tier(&answer) == Some("local")
    });
}

#[test]
fn purge_request_returns_token() {
    let stack = Stack::start();
    let (one, two) = (stack.node(), stack.node());
    two.warm();
    stack.upstream.reply_with(Reply::Page("second".into()));
    let json = [("content-type", "application/json")];
    let body = br#"{"tags":["product-42"]}"#;
    let receipt = http::request(one.admin, "POST", "/api/v1/invalidate", &json, body, DEADLINE);
    let receipt = receipt.expect("an answer").text();
    let receipt: serde_json::Value = serde_json::from_str(&receipt).expect("JSON");
    let token = receipt["token"].as_str().expect("a token");
    assert!(token.starts_with("v1."), "{token}");
    assert_eq!(two.page_after(token), "second");

    let bad = two.get_after(42, "invalid");
    assert_eq!(bad.status, 400, "{bad:?}");
    assert!(bad.text().contains("Tidegate-After"), "{bad:?}");
}
