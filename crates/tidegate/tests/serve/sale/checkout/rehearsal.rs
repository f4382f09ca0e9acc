//! A stand with a payment provider.

use std::net::SocketAddr;

use harness::http::{self, Response};
use harness::{Port, Process};
use serde_json::{Value, json};

use super::super::stand::{Client, Node, Stand, body, kind, text};
use crate::stack::DEADLINE;

pub(in crate::sale) const SECRET: &str = "whsec_rehearsal";

/// Servers, and a payment provider.
pub(in crate::sale) struct Rehearsal {
    pub(in crate::sale) stand: Stand,
    provider: SocketAddr,
    _process: Process,
    _port: Port,
}

impl Rehearsal {
    pub(in crate::sale) fn start() -> Self {
        Self::of_kind("stripe", "")
    }

    /// `more`: lines of `[sale]`.
    pub(in crate::sale) fn of_kind(kind: &str, more: &str) -> Self {
        let port = Port::reserve().expect("a free port");
        let provider = port.addr();
        let process = Process::builder(env!("CARGO_BIN_EXE_tidegate"))
            .args(["sale", "provider", "--listen", &provider.to_string()])
            .start()
            .expect("the provider starts");
        harness::until("the provider", DEADLINE, || {
            Ok(http::get(provider, "/ledger", DEADLINE).ok().map(|_| ()))
        })
        .expect("it answers");
        let mut stand = Stand::without_ledger();
        stand.file("key", "sk_rehearsal\n");
        stand.file("secret", SECRET);
        stand.more = format!(
            "{more}\n[sale.payment.card]\nkind = \"{kind}\"\nurl = \"http://{provider}\"\nkey_file = \"key\"\n\
             webhook_secret_file = \"secret\"\ntimeout = \"2s\"\ncalls_per_second = 10000\n"
        );
        let (status, output) = stand.command(&["migrate"], "");
        assert_eq!(status, Some(0), "{output}");
        Self { stand, provider, _process: process, _port: port }
    }

    pub(in crate::sale) fn node(&self) -> (Node, Client) {
        let node = self.stand.node();
        let client = self.stand.client(&node);
        let priced = json!({ "on_hand": 100, "price": { "amount": 1_999, "currency": "EUR" } });
        assert_eq!(client.put("A", &priced).status, 200);
        (node, client)
    }

    pub(in crate::sale) fn provider_url(&self) -> String {
        format!("http://{}", self.provider)
    }

    pub(in crate::sale) fn faults(&self, faults: &Value) {
        let headers = [("content-type", "application/json")];
        let body = faults.to_string();
        let set =
            http::request(self.provider, "POST", "/faults", &headers, body.as_bytes(), DEADLINE);
        assert_eq!(set.expect("an answer").status, 200);
    }

    /// Returns the provider's payments, and the operations that it has executed.
    pub(in crate::sale) fn ledger(&self) -> Value {
        body(&http::get(self.provider, "/ledger", DEADLINE).expect("the ledger"))
    }

    /// Returns the executed operations of a kind.
    pub(in crate::sale) fn executed(&self, operation: &str) -> Vec<Value> {
        let executed = self.ledger()["executed"].as_array().cloned().unwrap_or_default();
        executed.into_iter().filter(|done| done["operation"] == operation).collect()
    }

    /// Returns the amount that customers have paid, less refunds.
    pub(in crate::sale) fn paid(&self) -> i64 {
        let payments = self.ledger()["payments"].as_array().cloned().unwrap_or_default();
        let left = |payment: &Value| {
            payment["captured"].as_i64().unwrap_or_default()
                - payment["refunded"].as_i64().unwrap_or_default()
        };
        payments.iter().map(left).sum()
    }

    /// Checks both books.
    pub(in crate::sale) fn check(&self) {
        self.stand.audit();
        let (status, output) = self.stand.command(&["reconcile", "--json"], "");
        assert_eq!(status, Some(0), "{output}");
    }
}

/// Takes a hold of one unit of A.
pub(in crate::sale) fn hold(client: &Client, customer: &str) -> String {
    let held = client.hold(&format!("hold {customer}"), customer, &[("A", 1)]);
    assert_eq!(held.status, 201, "{held:?}");
    text(&body(&held), "hold")
}

pub(in crate::sale) fn payment(hold: &str, method: &str) -> Value {
    json!({ "hold": hold, "payment": { "method": method, "amount": 1_999, "currency": "EUR" } })
}

pub(in crate::sale) fn pay(client: &Client, key: &str, hold: &str, method: &str) -> Response {
    client.post("/v1/checkouts", key, &payment(hold, method))
}

/// Asks with the same key until the payment has ended.
pub(in crate::sale) fn pay_persistently(
    client: &Client,
    key: &str,
    hold: &str,
    method: &str,
) -> Response {
    until_final(|| client.send("POST", "/v1/checkouts", Some(key), &payment(hold, method)))
}

/// Repeats a request for a payment until its answer is the last one.
pub(in crate::sale) fn until_final<E>(mut ask: impl FnMut() -> Result<Response, E>) -> Response {
    let asked = || {
        let is_final = |answer: &Response| {
            let in_flight = answer.status == 409 && kind(answer) == "request-in-flight";
            answer.status != 202 && answer.status < 500 && !in_flight
        };
        let answer = ask().ok().filter(is_final);
        if answer.is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(answer)
    };
    harness::until("the end of a payment", DEADLINE * 4, asked).expect("ended")
}
