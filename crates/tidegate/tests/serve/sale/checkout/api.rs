//! The API of checkouts and orders.

use serde_json::{Value, json};

use super::rehearsal::{Rehearsal, hold, pay, pay_persistently, payment};
use crate::sale::stand::{body, kind, text};

#[test]
fn hold_to_paid_order() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let hold = hold(&client, "c1");
    let paid = pay(&client, "pay 1", &hold, "pm_card");
    assert_eq!(paid.status, 201, "{paid:?}");
    let order = text(&body(&paid), "order");
    assert_eq!(paid.header("location"), Some(&*format!("/v1/orders/{order}")));
    let line = json!([{ "sku": "A", "location": "main", "quantity": 1, "price": 1_999 }]);
    assert_eq!(body(&paid)["lines"], line);
    let repeated = pay(&client, "pay 1", &hold, "pm_card");
    assert_eq!((repeated.status, &repeated.body), (201, &paid.body));
    let other_tab = pay(&client, "pay 2", &hold, "pm_card");
    assert_eq!((other_tab.status, &other_tab.body), (201, &paid.body));
    let shown = body(&client.get(&format!("/v1/orders/{order}")));
    assert_eq!((&shown["state"], &shown["captured"]), (&json!("captured"), &json!(1_999)));
    assert_eq!(client.stock("A"), [100, 0, 1, 99]);
    assert_eq!((shop.executed("authorise").len(), shop.executed("capture").len()), (1, 1));
    let events = body(&client.get("/v1/events"));
    let kinds: Vec<&Value> = (0..2).map(|at| &events["events"][at]["kind"]).collect();
    assert_eq!(kinds, ["order-placed", "order-captured"]);
    let next = text(&events, "next");
    assert_eq!(body(&client.get(&format!("/v1/events?after={next}")))["events"], json!([]));
    shop.check();
}

#[test]
fn client_does_not_set_the_price() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let hold_a = hold(&client, "c1");
    let new_price = json!({ "on_hand": 100, "price": { "amount": 2_500, "currency": "EUR" } });
    assert_eq!(body(&client.put("A", &new_price))["price"], new_price["price"]);
    let cheap =
        json!({ "hold": hold_a, "payment": { "method": "pm", "amount": 1, "currency": "EUR" } });
    let refused = client.post("/v1/checkouts", "k1", &cheap);
    assert_eq!((refused.status, &*kind(&refused)), (409, "price-changed"));
    assert_eq!(body(&refused)["amount"], 1_999, "the hold has frozen it");
    let dollars = json!({ "hold": hold_a, "payment": { "method": "pm", "amount": 1_999, "currency": "USD" } });
    assert_eq!(kind(&client.post("/v1/checkouts", "k2", &dollars)), "price-changed");
    assert_eq!(pay(&client, "k1", &hold_a, "pm_card").status, 201);
    client.put_units("B", 1);
    let unpriced = text(&body(&client.hold("b", "c", &[("B", 1)])), "hold");
    assert_eq!(kind(&pay(&client, "k3", &unpriced, "pm_card")), "unpriced");
    assert_eq!(shop.paid(), 1_999);
    shop.check();
}

#[test]
fn refusals_of_checkouts_have_stable_types() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let held = hold(&client, "c1");
    let with = |field: &str, value: Value| {
        let mut wanted = payment(&held, "pm_card");
        wanted["payment"][field] = value;
        client.post("/v1/checkouts", &format!("k {field} {}", rand_key()), &wanted)
    };
    let card_number = "4242424242424242";
    let of_card = with("method", json!(card_number));
    assert!(!String::from_utf8_lossy(&of_card.body).contains(card_number), "{of_card:?}");
    for (answer, status, expected) in [
        (of_card, 400, "invalid-request"),
        (with("amount", json!(0)), 400, "invalid-request"),
        (with("amount", json!(19.99)), 400, "invalid-request"),
        (with("currency", json!("eur")), 400, "invalid-request"),
        (with("provider", json!("none")), 400, "invalid-request"),
        (with("capture", json!("never")), 400, "invalid-request"),
        (pay(&client, "k1", &"0".repeat(32), "pm_card"), 404, "unknown-hold"),
        (client.get(&format!("/v1/orders/{}", "0".repeat(32))), 404, "unknown-order"),
        (client.get("/v1/checkouts/x"), 404, "unknown-order"),
        (client.get("/v1/events?after=x"), 400, "invalid-request"),
        (pay(&client, "hold c1", &held, "pm_card"), 422, "idempotency-key-reused"),
    ] {
        assert_eq!((answer.status, &*kind(&answer)), (status, expected), "{answer:?}");
    }
    let cancelled = client.send("DELETE", &format!("/v1/holds/{held}"), None, &Value::Null);
    assert_eq!(cancelled.expect("an answer").status, 200);
    let ended = pay(&client, "k2", &held, "pm_card");
    assert_eq!((ended.status, &*kind(&ended)), (409, "hold-ended"));
    assert_eq!(shop.ledger()["executed"], json!([]));
    shop.check();
}

fn rand_key() -> u128 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos()
}

/// The same hold is paid with another card: the provider's key of the declined attempt is not used again.
#[test]
fn declined_customer_pays_with_another_card() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let hold = hold(&client, "c1");
    let declined = pay(&client, "card 1", &hold, "pm_no_funds");
    assert_eq!((declined.status, &*kind(&declined)), (402, "payment-declined"));
    assert_eq!(body(&declined)["reason"], "insufficient_funds");
    assert_eq!(pay(&client, "card 1", &hold, "pm_no_funds").body, declined.body);
    assert_eq!(client.stock("A"), [100, 1, 0, 99], "the hold is the customer's");
    let paid = pay(&client, "card 2", &hold, "pm_card");
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(shop.paid(), 1_999);
    shop.check();
}

#[test]
fn declined_capture_cancels_the_order() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let hold = hold(&client, "c1");
    let declined = pay(&client, "k", &hold, "pm_capture_declined");
    assert_eq!((declined.status, &*kind(&declined)), (402, "payment-declined"), "{declined:?}");
    let order = text(&body(&declined), "checkout");
    assert_eq!(body(&client.get(&format!("/v1/orders/{order}")))["state"], "cancelled");
    assert_eq!(client.stock("A")[3], 100, "the unit is for sale again");
    assert_eq!(shop.executed("void").len(), 1);
    shop.check();
}

#[test]
fn order_is_captured_in_part_and_refunded_within_it() {
    for kind_of_provider in ["stripe", "http"] {
        let shop = Rehearsal::of_kind(kind_of_provider, "");
        let (_node, client) = shop.node();
        let hold = hold(&client, "c1");
        let mut later = payment(&hold, "pm_card");
        later["payment"]["capture"] = json!("later");
        let placed = client.post("/v1/checkouts", "k", &later);
        assert_eq!(placed.status, 201, "{placed:?}");
        assert_eq!(shop.paid(), 0);
        let path = format!("/v1/orders/{}", text(&body(&placed), "order"));
        let post = |verb: &str, key: &str, wanted: Value| {
            client.post(&format!("{path}/{verb}"), key, &wanted)
        };
        let early = post("refund", "r0", json!({}));
        assert_eq!((early.status, &*kind(&early)), (409, "order-state"));
        let much = post("capture", "c0", json!({ "amount": 2_000 }));
        assert_eq!((much.status, &*kind(&much)), (409, "amount-too-large"));
        let part = post("capture", "c1", json!({ "amount": 1_500 }));
        assert_eq!((part.status, &body(&part)["captured"]), (200, &json!(1_500)), "{part:?}");
        assert_eq!(post("capture", "c1", json!({ "amount": 1_500 })).status, 200);
        assert_eq!(kind(&post("capture", "c1", json!({ "amount": 1 }))), "idempotency-key-reused");
        assert_eq!(kind(&post("capture", "c2", json!({ "amount": 1 }))), "order-state");
        let refunded = post("refund", "r1", json!({ "amount": 500 }));
        assert_eq!(body(&refunded)["refunded"], 500, "{refunded:?}");
        assert_eq!(kind(&post("refund", "r2", json!({ "amount": 1_001 }))), "amount-too-large");
        assert_eq!(shop.paid(), 1_000);
        let cancelled = post("cancel", "x", json!({}));
        assert_eq!(body(&cancelled)["state"], "cancelled", "{cancelled:?}");
        assert_eq!((shop.paid(), client.stock("A")[3]), (0, 100));
        assert_eq!(kind(&post("cancel", "y", json!({}))), "order-state");
        shop.check();
    }
}

#[test]
fn twelve_tabs_and_double_clicks_pay_once() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let (_second, other) = shop.node();
    let hold = hold(&client, "c1");
    let orders = std::thread::scope(|scope| {
        let tabs: Vec<_> = (0..24)
            .map(|tab| {
                let client = if tab % 2 == 0 { &client } else { &other };
                let (hold, key) = (&hold, format!("tab {}", tab / 2));
                scope.spawn(move || {
                    text(&body(&pay_persistently(client, &key, hold, "pm_card")), "order")
                })
            })
            .collect();
        tabs.into_iter()
            .map(|tab| tab.join().expect("joined"))
            .collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!((shop.executed("capture").len(), shop.paid()), (1, 1_999));
    let refunds = std::thread::scope(|scope| {
        let path = format!("/v1/orders/{}/refund", orders.first().expect("one"));
        let clicks: Vec<_> = (0..6)
            .map(|n| {
                let (path, client) = (path.clone(), &client);
                let wanted = json!({ "amount": 1_999 });
                scope.spawn(move || client.post(&path, &format!("refund {n}"), &wanted).status)
            })
            .collect();
        clicks.into_iter().map(|click| click.join().expect("joined")).collect::<Vec<_>>()
    });
    assert_eq!(refunds.iter().filter(|status| **status == 200).count(), 1, "{refunds:?}");
    assert_eq!((shop.executed("refund").len(), shop.paid()), (1, 0));
    shop.check();
}
