//! Carts: tabs, changes, failures and kills between hold and order.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use harness::http::Response;
use serde_json::{Value, json};

use super::rehearsal::Rehearsal;
use crate::sale::stand::{Client, body, kind, text};

const PRICE: i64 = 1_999;

fn put(client: &Client, cart: &str, version: Option<&str>, content: &Value) -> Response {
    let headers: Vec<_> = version.map(|version| ("if-match", version)).into_iter().collect();
    client.send_with("PUT", &format!("/v1/carts/{cart}"), &headers, content).expect("an answer")
}

fn content(customer: &str, lines: &[(&str, u32)]) -> Value {
    let line = |(sku, quantity): &(&str, u32)| json!({ "sku": sku, "quantity": quantity });
    json!({ "customer": customer, "lines": lines.iter().map(line).collect::<Value>() })
}

/// Creates a cart with one unit of A.
fn create(client: &Client, cart: &str) {
    let created = put(client, cart, None, &content("c1", &[("A", 1)]));
    assert_eq!((created.status, created.header("etag")), (201, Some("\"1\"")), "{created:?}");
}

fn payment(method: &str, amount: i64) -> Value {
    json!({ "payment": { "method": method, "amount": amount, "currency": "EUR" } })
}

fn try_pay(
    client: &Client,
    cart: &str,
    (version, key): (&str, &str),
    wanted: &Value,
) -> anyhow::Result<Response> {
    let headers = [("if-match", version), ("idempotency-key", key)];
    client.send_with("POST", &format!("/v1/carts/{cart}/checkout"), &headers, wanted)
}

fn pay(client: &Client, cart: &str, by: (&str, &str), method: &str, amount: i64) -> Response {
    try_pay(client, cart, by, &payment(method, amount)).expect("an answer")
}

/// Asks with the same key until the payment has ended.
fn pay_persistently(client: &Client, cart: &str, by: (&str, &str), amount: i64) -> Response {
    super::rehearsal::until_final(|| try_pay(client, cart, by, &payment("pm_card", amount)))
}

fn shown(client: &Client, cart: &str) -> Value {
    body(&client.get(&format!("/v1/carts/{cart}")))
}

#[test]
fn cart_to_paid_order() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    create(&client, "k1");
    let open = client.get("/v1/carts/k1");
    assert_eq!((open.status, open.header("etag")), (200, Some("\"1\"")));
    assert_eq!(body(&open)["state"], "open");
    assert_eq!(client.stock("A"), [100, 0, 0, 100], "a cart holds nothing");
    let headers = [("idempotency-key", "k")];
    let path = "/v1/carts/k1/checkout";
    let unseen = client.send_with("POST", path, &headers, &payment("pm_card", PRICE));
    let unseen = unseen.expect("an answer");
    assert_eq!((unseen.status, &*kind(&unseen)), (428, "version-missing"));
    let paid = pay(&client, "k1", ("\"1\"", "k"), "pm_card", PRICE);
    assert_eq!(paid.status, 201, "{paid:?}");
    let order = text(&body(&paid), "order");
    assert_eq!(pay(&client, "k1", ("\"1\"", "k"), "pm_card", PRICE).body, paid.body);
    assert_eq!(pay(&client, "k1", ("\"1\"", "l"), "pm_card", PRICE).body, paid.body);
    let other = pay(&client, "k1", ("\"1\"", "k"), "pm_other", PRICE);
    assert_eq!((other.status, &*kind(&other)), (422, "idempotency-key-reused"));
    let other = pay(&client, "k1", ("\"1\"", "m"), "pm_other", PRICE);
    assert_eq!((other.status, &*kind(&other)), (409, "checkout-exists"));
    let ordered = shown(&client, "k1");
    assert_eq!((&ordered["state"], &ordered["order"]), (&json!("ordered"), &json!(order)));
    let again = put(&client, "k1", Some("*"), &content("c1", &[("A", 1)]));
    assert_eq!((again.status, &*kind(&again)), (409, "cart-ordered"));
    assert_eq!(body(&again)["order"], order);
    assert_eq!(client.stock("A"), [100, 0, 1, 99]);
    assert_eq!(shop.paid(), PRICE);
    shop.check();
}

#[test]
fn refusals_of_carts_have_stable_types() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    create(&client, "k1");
    let empty = put(&client, "empty", None, &content("c1", &[]));
    assert_eq!(empty.status, 201, "{empty:?}");
    let with = |version| put(&client, "k1", version, &content("c1", &[("A", 2)]));
    let delete = |cart: &str, version: &str| {
        let headers = [("if-match", version)];
        client.send_with("DELETE", &format!("/v1/carts/{cart}"), &headers, &Value::Null)
    };
    for (answer, status, expected) in [
        (with(None), 412, "cart-changed"),
        (with(Some("\"2\"")), 412, "cart-changed"),
        (with(Some("1")), 400, "invalid-request"),
        (put(&client, "none", Some("\"1\""), &content("c", &[])), 404, "unknown-cart"),
        (put(&client, "k1", Some("\"1\""), &content("c", &[("A", 0)])), 400, "invalid-request"),
        (put(&client, "a%20b", None, &content("c", &[])), 400, "invalid-request"),
        (client.get("/v1/carts/none"), 404, "unknown-cart"),
        (delete("k1", "\"2\"").expect("an answer"), 412, "cart-changed"),
        (pay(&client, "none", ("\"1\"", "a"), "pm_card", PRICE), 404, "unknown-cart"),
        (pay(&client, "empty", ("\"1\"", "b"), "pm_card", PRICE), 409, "cart-empty"),
        (pay(&client, "k1", ("\"2\"", "c"), "pm_card", PRICE), 412, "cart-changed"),
        (pay(&client, "k1", ("\"1\"", "d"), "pm_card", 1), 409, "price-changed"),
        (pay(&client, "k1", ("\"1\"", "e"), "4242424242424242", PRICE), 400, "invalid-request"),
    ] {
        assert_eq!((answer.status, &*kind(&answer)), (status, expected), "{answer:?}");
    }
    assert_eq!(body(&with(None))["version"], 1);
    assert_eq!(delete("k1", "\"1\"").expect("an answer").status, 204);
    assert_eq!(client.stock("A"), [100, 0, 0, 100]);
    assert_eq!(shop.ledger()["executed"], json!([]));
    shop.check();
}

#[test]
fn twelve_tabs_with_twelve_keys_make_one_order() {
    let shop = Rehearsal::start();
    let (_first, client) = shop.node();
    let (_second, other) = shop.node();
    shop.faults(&json!({ "delay_ms": 50 }));
    for round in 0..4 {
        let cart = format!("k{round}");
        create(&client, &cart);
        let orders: BTreeSet<String> = thread::scope(|scope| {
            let tabs: Vec<_> = (0..12)
                .map(|tab| {
                    let client = if tab % 2 == 0 { &client } else { &other };
                    let (cart, key) = (&cart, format!("{cart} tab {tab}"));
                    scope.spawn(move || {
                        let paid = pay_persistently(client, cart, ("\"1\"", &key), PRICE);
                        text(&body(&paid), "order")
                    })
                })
                .collect();
            tabs.into_iter().map(|tab| tab.join().expect("joined")).collect()
        });
        assert_eq!(orders.len(), 1, "{orders:?}");
    }
    assert_eq!((shop.executed("capture").len(), shop.paid()), (4, 4 * PRICE));
    assert_eq!(client.stock("A"), [100, 0, 4, 96]);
    shop.check();
}

/// Each tab has changed the cart after it was shown to the other.
#[test]
fn tabs_that_pay_and_change_agree_on_the_lines() {
    let shop = Rehearsal::start();
    let (_first, client) = shop.node();
    let (_second, other) = shop.node();
    shop.faults(&json!({ "delay_ms": 10 }));
    for round in 0..12_u32 {
        let cart = format!("k{round}");
        create(&client, &cart);
        let (paid, changed) = thread::scope(|scope| {
            let paying = scope.spawn(|| {
                pay_persistently(&client, &cart, ("\"1\"", &format!("pay {cart}")), PRICE)
            });
            thread::sleep(Duration::from_millis(u64::from(round) * 3));
            let changed = put(&other, &cart, Some("\"1\""), &content("c1", &[("A", 2)]));
            (paying.join().expect("joined"), changed)
        });
        match (paid.status, changed.status) {
            (201, 409) => {
                assert!(["cart-in-checkout", "cart-ordered"].contains(&&*kind(&changed)));
                assert_eq!(body(&paid)["lines"][0]["quantity"], 1);
            }
            (412, 200) => {
                let retried = (&*format!("\"{}\"", body(&paid)["version"]), &*format!("l{round}"));
                let paid = pay_persistently(&client, &cart, retried, 2 * PRICE);
                assert_eq!(body(&paid)["lines"][0]["quantity"], 2, "{paid:?}");
            }
            other => panic!("{other:?}: {paid:?} {changed:?}"),
        }
    }
    assert_eq!(client.stock("A")[1], 0, "no units are kept");
    shop.check();
}

#[test]
fn cart_changed_between_hold_and_payment_is_shown_again() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    create(&client, "k1");
    let declined = pay(&client, "k1", ("\"1\"", "a"), "pm_declined", PRICE);
    assert_eq!((declined.status, &*kind(&declined)), (402, "payment-declined"));
    let held = shown(&client, "k1");
    assert_eq!(held["state"], "held");
    assert!(held["expires_at"].is_string(), "{held}");
    assert_eq!(client.stock("A"), [100, 1, 0, 99]);
    // The guest logs in and takes one more.
    let changed = put(&client, "k1", Some("\"1\""), &content("customer", &[("A", 2)]));
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")), "{changed:?}");
    assert_eq!(client.stock("A"), [100, 0, 0, 100]);
    let repeated = put(&client, "k1", Some("\"1\""), &content("customer", &[("A", 2)]));
    assert_eq!(repeated.header("etag"), Some("\"2\""), "the answer got lost");
    let stale = pay(&client, "k1", ("\"1\"", "b"), "pm_card", PRICE);
    assert_eq!((stale.status, &*kind(&stale)), (412, "cart-changed"));
    let paid = pay(&client, "k1", ("\"2\"", "b"), "pm_card", 2 * PRICE);
    assert_eq!(paid.status, 201, "{paid:?}");
    let order = body(&client.get(&format!("/v1/orders/{}", text(&body(&paid), "order"))));
    assert_eq!((&order["customer"], &order["captured"]), (&json!("customer"), &json!(2 * PRICE)));
    shop.check();
}

#[test]
fn sold_out_cart_names_the_units_that_are_left() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let priced = json!({ "on_hand": 1, "price": { "amount": 500, "currency": "EUR" } });
    assert_eq!(client.put("B", &priced).status, 200);
    let lines = [("A", 1), ("B", 2)];
    assert_eq!(put(&client, "k1", None, &content("c1", &lines)).status, 201);
    let sold_out = pay(&client, "k1", ("\"1\"", "k"), "pm_card", PRICE + 1_000);
    assert_eq!((sold_out.status, &*kind(&sold_out)), (409, "sold-out"));
    let line = json!({ "sku": "B", "location": "main", "requested": 2, "available": 1 });
    assert_eq!(body(&sold_out)["lines"], json!([line]));
    assert_eq!((client.stock("A")[1], shown(&client, "k1")["state"].clone()), (0, json!("open")));
    let fewer = content("c1", &[("A", 1), ("B", 1)]);
    assert_eq!(put(&client, "k1", Some("\"1\""), &fewer).status, 200);
    // The key had no effect before.
    let paid = pay(&client, "k1", ("\"2\"", "k"), "pm_card", PRICE + 500);
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(put(&client, "k2", None, &content("c1", &[("B", 1)])).status, 201);
    let again = pay(&client, "k2", ("\"1\"", "l"), "pm_card", 500);
    assert_eq!((again.status, &*kind(&again)), (409, "sold-out"));
    shop.check();
}

#[test]
fn customer_whose_capture_was_declined_pays_the_same_cart() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    create(&client, "k1");
    let unpaid = pay(&client, "k1", ("\"1\"", "a"), "pm_capture_declined", PRICE);
    assert_eq!((unpaid.status, &*kind(&unpaid)), (402, "payment-declined"), "{unpaid:?}");
    assert_eq!(shown(&client, "k1")["state"], "open");
    let paid = pay(&client, "k1", ("\"1\"", "b"), "pm_card", PRICE);
    assert_eq!(paid.status, 201, "{paid:?}");
    assert_eq!(pay(&client, "k1", ("\"1\"", "a"), "pm_capture_declined", PRICE).status, 402);
    assert_eq!(shop.paid(), PRICE);
    shop.check();
}

/// The customer comes back after the hold has expired, and the price has moved.
#[test]
fn abandoned_cart_is_held_again_at_the_new_price() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    create(&client, "k1");
    let seen = pay(&client, "k1", ("\"1\"", "a"), "pm_card", 1);
    assert_eq!(body(&seen)["amount"], PRICE, "{seen:?}");
    assert_eq!(client.stock("A"), [100, 1, 0, 99], "the shown price is kept with a hold");
    shop.stand.stack.sql("update tidegate.hold set expires_at = clock_timestamp()");
    let priced = json!({ "on_hand": 100, "price": { "amount": 2_500, "currency": "EUR" } });
    assert_eq!(client.put("A", &priced).status, 200);
    let moved = pay(&client, "k1", ("\"1\"", "b"), "pm_card", PRICE);
    assert_eq!((moved.status, &*kind(&moved)), (409, "price-changed"));
    assert_eq!(body(&moved)["amount"], 2_500);
    assert_eq!(pay(&client, "k1", ("\"1\"", "b"), "pm_card", 2_500).status, 201);
    assert_eq!((shop.paid(), client.stock("A")[1]), (2_500, 0));
    shop.check();
}

/// Nodes die at any time between hold and order, and the customers' other tabs go on.
#[test]
fn killed_nodes_make_one_order_per_cart() {
    const CARTS: usize = 16;
    let shop = Rehearsal::start();
    let (_left, survivor) = shop.node();
    shop.faults(&json!({ "lose_share": 0.2, "delay_ms": 20 }));
    thread::scope(|scope| {
        let customers: Vec<_> = (0..CARTS)
            .map(|n| {
                let (shop, survivor) = (&shop, &survivor);
                scope.spawn(move || {
                    let cart = format!("k{n}");
                    create(survivor, &cart);
                    if n % 3 == 0 {
                        let (mut node, client) = shop.node();
                        thread::scope(|scope| {
                            let (cart, key) = (&cart, format!("first {n}"));
                            let paying = scope.spawn(move || {
                                // Its connection breaks with the node.
                                let by = ("\"1\"", &*key);
                                drop(try_pay(&client, cart, by, &payment("pm_card", PRICE)));
                            });
                            thread::sleep(Duration::from_millis(8 * n as u64));
                            node.process.kill9().expect("killed");
                            paying.join().expect("joined");
                        });
                    }
                    let key = format!("other tab {n}");
                    let paid = pay_persistently(survivor, &cart, ("\"1\"", &key), PRICE);
                    assert_eq!(paid.status, 201, "{paid:?}");
                    let first = format!("first {n}");
                    let repeated = pay_persistently(survivor, &cart, ("\"1\"", &first), PRICE);
                    assert_eq!(repeated.body, paid.body, "{repeated:?}");
                })
            })
            .collect();
        customers.into_iter().for_each(|customer| customer.join().expect("joined"));
    });
    shop.faults(&json!({}));
    assert_eq!((shop.executed("capture").len(), shop.paid()), (CARTS, PRICE * CARTS as i64));
    assert_eq!(survivor.stock("A")[2], CARTS as u64);
    shop.check();
}
