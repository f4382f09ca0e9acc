//! Gift cards: one balance in many checkouts, faults between gift card and card, and the secrecy of codes.

use std::thread;
use std::time::Duration;

use harness::http::Response;
use serde_json::{Value, json};

use super::rehearsal::{Rehearsal, hold};
use crate::sale::stand::{Client, body, kind, text};
use crate::stack::DEADLINE;

const PRICE: i64 = 1_999;
const CODE: &str = "GIFT-ABCD-2345-6789";

fn issue(client: &Client, code: &str, amount: i64) -> Response {
    let wanted = json!({ "code": code, "amount": amount, "currency": "EUR" });
    client.post("/v1/gift-cards", &format!("issue {amount}"), &wanted)
}

fn look(client: &Client, code: &str) -> Response {
    let headers = [("gift-card-code", code)];
    client.send_with("GET", "/v1/gift-cards", &headers, &Value::Null).expect("an answer")
}

/// Returns the reserved, the spent and the available amount.
fn balance(client: &Client) -> [i64; 3] {
    let found = body(&look(client, CODE));
    ["reserved", "spent", "available"]
        .map(|name| found[name].as_i64().unwrap_or_else(|| panic!("{name}: {found}")))
}

/// A payment of which the gift card pays `gift`; without a method it pays all.
fn payment(hold: &str, method: Option<&str>, gift: i64) -> Value {
    let mut payment = json!({
        "amount": PRICE, "currency": "EUR", "gift_card": { "code": CODE, "amount": gift },
    });
    if let Some(method) = method {
        payment["method"] = method.into();
    }
    json!({ "hold": hold, "payment": payment })
}

/// Asks with the same key until the payment has ended.
fn pay_persistently(client: &Client, key: &str, wanted: &Value) -> Response {
    super::rehearsal::until_final(|| client.send("POST", "/v1/checkouts", Some(key), wanted))
}

#[test]
fn card_and_gift_card_pay_together_or_not_at_all() {
    for kind_of_provider in ["stripe", "http"] {
        let shop = Rehearsal::of_kind(kind_of_provider, "");
        let (_node, client) = shop.node();
        let issued = issue(&client, CODE, 1_000);
        assert_eq!(issued.status, 201, "{issued:?}");
        assert_eq!(issue(&client, "gift abcd 2345 6789", 1_000).body, issued.body, "a repeat");
        let held = hold(&client, "c1");
        let split = |method| payment(&held, Some(method), 600);
        let declined = client.post("/v1/checkouts", "a", &split("pm_no_funds"));
        assert_eq!((declined.status, &*kind(&declined)), (402, "payment-declined"));
        assert_eq!(balance(&client), [0, 0, 1_000], "the part is released");
        let paid = client.post("/v1/checkouts", "b", &split("pm_card"));
        assert_eq!(paid.status, 201, "{paid:?}");
        assert_eq!(body(&paid)["gift_card"]["amount"], 600);
        assert_eq!((shop.paid(), balance(&client)), (PRICE - 600, [0, 600, 400]));
        let order = format!("/v1/orders/{}", text(&body(&paid), "order"));
        let refund = |key: &str, amount: i64| {
            client.post(&format!("{order}/refund"), key, &json!({ "amount": amount }))
        };
        assert_eq!(body(&refund("r1", PRICE - 500))["gift_card"]["returned"], 100);
        assert_eq!((shop.paid(), balance(&client)), (0, [0, 500, 500]));
        assert_eq!(kind(&refund("r2", 501)), "amount-too-large");
        let cancelled = client.post(&format!("{order}/cancel"), "x", &json!({}));
        assert_eq!(body(&cancelled)["state"], "cancelled", "{cancelled:?}");
        assert_eq!((balance(&client), client.stock("A")[3]), ([0, 0, 1_000], 100));
        // The order is undone, and its capture was declined: the units and both parts come back.
        let held = hold(&client, "c2");
        let wanted = payment(&held, Some("pm_capture_declined"), 600);
        assert_eq!(pay_persistently(&client, "c", &wanted).status, 402);
        assert_eq!((balance(&client), shop.paid()), ([0, 0, 1_000], 0));
        shop.check();
    }
}

#[test]
fn gift_card_that_pays_all_needs_no_provider() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    assert_eq!(issue(&client, CODE, PRICE + 1).status, 201);
    shop.faults(&json!({ "away": true }));
    let held = hold(&client, "c1");
    let wanted = payment(&held, None, PRICE);
    let paid = client.post("/v1/checkouts", "k", &wanted);
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(client.post("/v1/checkouts", "other tab", &wanted).body, paid.body);
    assert_eq!(balance(&client), [0, PRICE, 1]);
    // Spent elsewhere: no order is made of nothing.
    let held = hold(&client, "c2");
    let short = client.post("/v1/checkouts", "l", &payment(&held, None, PRICE));
    assert_eq!((short.status, &*kind(&short)), (409, "gift-card-short"));
    assert_eq!(body(&short)["available"], 1);
    let order = format!("/v1/orders/{}", text(&body(&paid), "order"));
    assert_eq!(body(&client.get(&order))["state"], "captured");
    let cancelled = client.post(&format!("{order}/cancel"), "x", &json!({}));
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(client.post("/v1/checkouts", "k", &wanted).status, 201, "it was an order");
    assert_eq!(balance(&client), [0, 0, PRICE + 1]);
    shop.faults(&json!({}));
    assert_eq!(shop.ledger()["executed"], json!([]));
    shop.check();
}

#[test]
fn refusals_of_gift_cards_show_no_code() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    assert_eq!(issue(&client, CODE, 1_000).status, 201);
    let held = hold(&client, "c1");
    let with = |code: &str, amount: i64, method: Option<&str>| {
        let mut wanted = payment(&held, method, amount);
        wanted["payment"]["gift_card"]["code"] = code.into();
        client.post("/v1/checkouts", &format!("k {amount} {method:?} {}", code.len()), &wanted)
    };
    let unknown = "GIFT-ABCD-2345-0000-1";
    for (answer, status, expected) in [
        (issue(&client, CODE, 900), 409, "gift-card-exists"),
        (issue(&client, "TOO-SHORT-1234", 1), 400, "invalid-request"),
        (issue(&client, unknown, -1), 400, "invalid-request"),
        (look(&client, unknown), 404, "unknown-gift-card"),
        (client.get("/v1/gift-cards"), 400, "invalid-request"),
        (with(unknown, 5, Some("pm_card")), 404, "unknown-gift-card"),
        (with(CODE, 1_001, Some("pm_card")), 409, "gift-card-short"),
        (with(CODE, 0, Some("pm_card")), 400, "invalid-request"),
        (with(CODE, -5, Some("pm_card")), 400, "invalid-request"),
        (with(CODE, PRICE + 1, None), 400, "invalid-request"),
        (with(CODE, PRICE, Some("pm_card")), 400, "invalid-request"),
        (with(CODE, 5, None), 400, "invalid-request"),
    ] {
        let shown = String::from_utf8_lossy(&answer.body);
        assert!(!shown.contains("ABCD") && !shown.contains("TOO-SHORT"), "{shown}");
        assert_eq!((answer.status, &*kind(&answer)), (status, expected), "{answer:?}");
    }
    assert_eq!((balance(&client), client.stock("A")[1]), ([0, 0, 1_000], 1));
    shop.check();
}

/// Two nodes, and more customers than the balance pays for.
#[test]
fn last_euro_is_spent_once() {
    const BUYERS: usize = 16;
    let shop = Rehearsal::start();
    let (_first, client) = shop.node();
    let (_second, other) = shop.node();
    assert_eq!(issue(&client, CODE, 3 * PRICE + 1_000).status, 201);
    let holds: Vec<String> = (0..BUYERS).map(|n| hold(&client, &format!("c{n}"))).collect();
    let start = std::sync::Barrier::new(BUYERS);
    let paid = thread::scope(|scope| {
        let buyers: Vec<_> = holds
            .iter()
            .enumerate()
            .map(|(n, hold)| {
                let (client, start) = (if n % 2 == 0 { &client } else { &other }, &start);
                scope.spawn(move || {
                    start.wait();
                    let wanted = payment(hold, None, PRICE);
                    let answer = pay_persistently(client, &format!("k{n}"), &wanted);
                    if answer.status != 201 {
                        assert_eq!(kind(&answer), "gift-card-short", "{answer:?}");
                    }
                    usize::from(answer.status == 201)
                })
            })
            .collect();
        buyers.into_iter().map(|buyer| buyer.join().expect("joined")).sum::<usize>()
    });
    assert_eq!((paid, balance(&client)), (3, [0, 3 * PRICE, 1_000]));
    assert_eq!(client.stock("A")[2], 3);
    shop.check();
}

/// Lost replies, and nodes that die at any time: a part is spent or released, once.
#[test]
fn killed_nodes_and_lost_replies_move_each_part_once() {
    const BUYERS: usize = 12;
    let shop = Rehearsal::start();
    let (_left, survivor) = shop.node();
    assert_eq!(issue(&survivor, CODE, 500 * BUYERS as i64).status, 201);
    shop.faults(&json!({ "lose_share": 0.2, "delay_ms": 20 }));
    let paid = thread::scope(|scope| {
        let buyers: Vec<_> = (0..BUYERS)
            .map(|n| {
                let (shop, survivor) = (&shop, &survivor);
                scope.spawn(move || {
                    let held = hold(survivor, &format!("c{n}"));
                    let key = format!("k{n}");
                    let method = if n % 4 == 1 { "pm_declined" } else { "pm_card" };
                    let wanted = payment(&held, Some(method), 500);
                    if n % 3 == 0 {
                        let (mut node, client) = shop.node();
                        thread::scope(|scope| {
                            let (key, wanted) = (&key, &wanted);
                            let paying = scope.spawn(move || {
                                // Its connection breaks with the node.
                                drop(client.send("POST", "/v1/checkouts", Some(key), wanted));
                            });
                            thread::sleep(Duration::from_millis(12 * n as u64));
                            node.process.kill9().expect("killed");
                            paying.join().expect("joined");
                        });
                    }
                    let answer = pay_persistently(survivor, &key, &wanted);
                    assert_eq!(answer.status, if n % 4 == 1 { 402 } else { 201 }, "{answer:?}");
                    usize::from(answer.status == 201)
                })
            })
            .collect();
        buyers.into_iter().map(|buyer| buyer.join().expect("joined")).sum::<usize>()
    });
    shop.faults(&json!({}));
    let resting = "select count(*) from tidegate.checkout where due_at is not null";
    harness::until("rest", DEADLINE, || Ok((shop.stand.count(resting) == 0).then_some(())))
        .expect("rest");
    let paid = paid as i64;
    assert_eq!(balance(&survivor), [0, 500 * paid, 500 * (BUYERS as i64 - paid)]);
    assert_eq!(shop.paid(), (PRICE - 500) * paid);
    shop.check();
}

/// The provider is away: the part stays reserved until the payment is closed, and is released once.
#[test]
fn part_of_a_payment_without_an_end_is_released() {
    let shop = Rehearsal::of_kind("http", "payment_patience = \"1s\"");
    let (_node, client) = shop.node();
    assert_eq!(issue(&client, CODE, 1_000).status, 201);
    let held = hold(&client, "c1");
    // The payment is registered without a call: each call is an operation, whose outcome is not known.
    shop.faults(&json!({ "refuse_share": 1.0, "refuse_status": 500 }));
    let wanted = payment(&held, Some("pm_card"), 600);
    let waiting = client.post("/v1/checkouts", "k", &wanted);
    assert_eq!((waiting.status, balance(&client)), (202, [600, 0, 400]), "{waiting:?}");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(balance(&client), [600, 0, 400], "the outcome is not known");
    shop.faults(&json!({}));
    let released = pay_persistently(&client, "k", &wanted);
    assert_eq!((released.status, &*kind(&released)), (409, "checkout-released"));
    assert_eq!((balance(&client), shop.paid()), ([0, 0, 1_000], 0));
    shop.check();
}

#[test]
fn codes_are_neither_stored_nor_logged() {
    let shop = Rehearsal::start();
    let (node, client) = shop.node();
    assert_eq!(issue(&client, CODE, 1_000).status, 201);
    let held = hold(&client, "c1");
    let wanted = payment(&held, Some("pm_card"), 600);
    assert_eq!(client.post("/v1/checkouts", "k", &wanted).status, 201);
    assert_eq!(look(&client, CODE).status, 200);
    let tables = ["gift_card", "gift_movement", "checkout", "request", "outbox"];
    for table in tables {
        let rows = shop.stand.stack.sql(&format!("select t::text from tidegate.{table} t"));
        assert!(!rows.is_empty() && !is_shown(&rows), "{table}: {rows}");
    }
    let log = node.process.lines().join("\n");
    assert!(!is_shown(&log), "{log}");
    let (_, output) = shop.stand.command(&["audit", "--json"], "");
    assert!(!is_shown(&output), "{output}");
    shop.check();
}

/// The code in one of the forms in which a customer writes it.
fn is_shown(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    text.contains(CODE) || text.contains(&CODE.replace('-', ""))
}
