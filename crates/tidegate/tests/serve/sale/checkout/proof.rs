//! The audit with records of clients and of the provider, and the drill.

use harness::Process;
use serde_json::{Value, json};

use super::rehearsal::{Rehearsal, hold, pay};
use crate::sale::stand::{body, text};
use crate::stack::DEADLINE;

/// A sale, and the record of its client: a hold, and its payment.
struct Proof {
    shop: Rehearsal,
    held: Value,
    paid: Value,
}

impl Proof {
    /// A node sells a unit; it is stopped, since the audit needs none.
    fn of_a_sale() -> Self {
        let shop = Rehearsal::start();
        let (_node, client) = shop.node();
        let id = hold(&client, "c1");
        let paid = pay(&client, "k", &id, "pm_card");
        assert_eq!(paid.status, 201, "{paid:?}");
        let lines = json!([{ "sku": "A", "location": "main", "quantity": 1 }]);
        let sent = json!({ "customer": "c1", "lines": lines, "ttl_seconds": 600 });
        let held = exchange("/v1/holds", "hold c1", &sent, &json!({ "hold": id, "lines": lines }));
        let sent = json!({ "hold": id, "payment": {} });
        let paid = exchange("/v1/checkouts", "k", &sent, &body(&paid));
        Self { shop, held, paid }
    }

    /// Returns the exit code, and the output as JSON where it is some.
    fn audit(&self, lines: &[&Value], provider: &str) -> (Option<i32>, Value, String) {
        let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        let file = self.shop.stand.file("clients.jsonl", &lines.join("\n"));
        let file = file.display().to_string();
        let args = ["audit", "--json", "--complete", "--clients", &file, "--provider", provider];
        let (status, output) = self.shop.stand.command(&args, "");
        (status, serde_json::from_str(&output).unwrap_or_default(), output)
    }
}

fn exchange(path: &str, key: &str, sent: &Value, answer: &Value) -> Value {
    json!({ "method": "POST", "path": path, "key": key, "body": sent, "sent_ms": 1,
        "answered_ms": 2, "status": 201, "answer": answer })
}

#[test]
fn audit_with_records_names_each_difference() {
    let proof = Proof::of_a_sale();
    let (held, paid) = (&proof.held, &proof.paid);
    let provider = proof.shop.provider_url();
    let (status, found, output) = proof.audit(&[held, paid], &provider);
    assert_eq!((status, &found["verdict"]), (Some(0), &json!("good")), "{output}");
    let invariants = found["invariants"].as_array().expect("invariants");
    assert_eq!(invariants.len(), 27, "{output}");
    assert!(invariants.iter().all(|one| one["not_checked"] == json!([])), "{output}");

    // The customer was told of another order.
    let mut other = paid.clone();
    other["answer"]["order"] = json!("0123456789abcdef0123456789abcdef");
    let (status, found, output) = proof.audit(&[held, &other], &provider);
    assert_eq!(status, Some(1), "{output}");
    assert_eq!(found["findings"][0]["invariant"], "acknowledged-orders-exist", "{output}");
    assert!(text(&found["findings"][0], "repair").contains("order"), "{output}");
    // The provider took money again; no client asked for the hold.
    let mut books = proof.shop.ledger();
    books["payments"][0]["captured"] = json!(3_998);
    let file = proof.shop.stand.file("books.json", &books.to_string()).display().to_string();
    let (status, found, output) = proof.audit(&[paid], &file);
    assert_eq!(status, Some(1), "{output}");
    let named = |finding: &Value| text(finding, "invariant");
    let mut named: Vec<String> =
        found["findings"].as_array().expect("findings").iter().map(named).collect();
    named.sort();
    assert_eq!(named, ["holds-were-asked-for", "money-agrees"], "{output}");
}

/// The node takes the hold of a cart; the client asks for the checkout alone.
#[test]
fn audit_knows_the_holds_of_carts() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let content = json!({ "customer": "c1", "lines": [{ "sku": "A", "quantity": 1 }] });
    let put = client.send("PUT", "/v1/carts/k1", None, &content).expect("an answer");
    assert_eq!(put.status, 201, "{put:?}");
    let sent = json!({ "payment": { "method": "pm_card", "amount": 1_999, "currency": "EUR" } });
    let path = "/v1/carts/k1/checkout";
    let headers = [("if-match", "\"1\""), ("idempotency-key", "k")];
    let paid = client.send_with("POST", path, &headers, &sent).expect("an answer");
    assert_eq!(paid.status, 201, "{paid:?}");
    let recorded = exchange(path, "k", &sent, &body(&paid));
    let other = exchange("/v1/carts/k2/checkout", "k", &sent, &body(&paid));
    for (exchange, expected) in
        [(recorded, &[][..]), (other, &["holds-were-asked-for", "orders-were-asked-for"])]
    {
        let file = shop.stand.file("clients.jsonl", &exchange.to_string());
        let args = ["audit", "--json", "--complete", "--clients", &file.display().to_string()];
        let (_, output) = shop.stand.command(&args, "");
        let found: Value = serde_json::from_str(&output).expect("JSON");
        let findings = found["findings"].as_array().expect("findings");
        let mut named: Vec<String> =
            findings.iter().map(|finding| text(finding, "invariant")).collect();
        named.sort();
        assert_eq!(named, expected, "{output}");
    }
}

#[test]
fn unreadable_record_is_no_verdict() {
    let proof = Proof::of_a_sale();
    let provider = proof.shop.provider_url();
    let mut misspelt = proof.held.clone();
    misspelt["statuss"] = misspelt["status"].take();
    for (lines, books, problem) in [
        (vec![&misspelt], provider.as_str(), "line 1: "),
        (vec![], &provider, "no request"),
        (vec![&proof.held], "http://127.0.0.1:1", "http://127.0.0.1:1"),
        (vec![&proof.held], "absent.json", "absent.json"),
        (vec![&proof.held], &format!("{provider}/nothing"), "/nothing"),
    ] {
        let (status, _, output) = proof.audit(&lines, books);
        assert_eq!(status, Some(3), "{output}");
        assert!(output.contains(problem), "{problem}: {output}");
    }
}

fn drill(args: &[&str]) -> (Option<i32>, String) {
    let process = Process::builder(env!("CARGO_BIN_EXE_tidegate")).args(["drill", "sale"]);
    let process = process.args(["--rounds", "1", "--buyers", "40", "--json"]).args(args);
    let mut process = process.start().expect("the binary starts");
    let status = process.wait(DEADLINE * 8).expect("exited");
    (status.code(), process.lines().join("\n"))
}

#[test]
fn drill_on_postgres_finds_nothing() {
    let (status, output) = drill(&["--seconds", "6", "--seed", "2"]);
    assert_eq!(status, Some(0), "{output}");
    let round = output.lines().find(|line| line.contains("\"faults\"")).expect("a round");
    let round: Value = serde_json::from_str(round).expect("JSON");
    assert!(round["bought"].as_u64().is_some_and(|bought| bought > 0), "{output}");
    assert!(round["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "{output}");
}

#[test]
fn drill_on_sqlite_finds_nothing() {
    let (status, output) = drill(&["--seconds", "4", "--seed", "3", "--ledger", "sqlite"]);
    assert_eq!(status, Some(0), "{output}");
}
