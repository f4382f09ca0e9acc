//! Faults of the provider, of nodes and of the database.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::rehearsal::{Rehearsal, hold, pay, pay_persistently};
use crate::sale::stand::{body, kind, text};
use crate::stack::DEADLINE;

#[test]
fn lost_replies_charge_once() {
    for kind_of_provider in ["stripe", "http"] {
        let shop = Rehearsal::of_kind(kind_of_provider, "");
        let (_node, client) = shop.node();
        for (round, lost) in [1, 2, 3].into_iter().enumerate() {
            let hold = hold(&client, &format!("c{round}"));
            shop.faults(&json!({ "lose_next": lost }));
            let paid = pay_persistently(&client, &format!("k{round}"), &hold, "pm_card");
            assert_eq!(paid.status, 201, "{paid:?}");
        }
        assert_eq!((shop.executed("authorise").len(), shop.executed("capture").len()), (3, 3));
        assert_eq!(shop.paid(), 3 * 1_999);
        shop.check();
    }
}

/// A refusal that says nothing about the execution is repeated with the same key.
#[test]
fn busy_provider_charges_once() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    for (round, status) in [409, 429, 500, 503, 401].into_iter().enumerate() {
        let hold = hold(&client, &format!("c{round}"));
        shop.faults(&json!({ "refuse_next": 3, "refuse_status": status }));
        let paid = pay_persistently(&client, &format!("k{round}"), &hold, "pm_card");
        assert_eq!(paid.status, 201, "{status}: {paid:?}");
    }
    assert_eq!((shop.executed("capture").len(), shop.paid()), (5, 5 * 1_999));
    shop.check();
}

/// The provider repeats an error with the key although it has executed the call: its record tells.
#[test]
fn stored_error_after_execution_is_looked_up() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    for (round, failed) in [1, 2, 3].into_iter().enumerate() {
        let hold = hold(&client, &format!("c{round}"));
        shop.faults(&json!({ "fail_next": failed }));
        let paid = pay_persistently(&client, &format!("k{round}"), &hold, "pm_card");
        assert_eq!(paid.status, 201, "{paid:?}");
    }
    assert_eq!((shop.executed("authorise").len(), shop.executed("capture").len()), (3, 3));
    assert_eq!(shop.paid(), 3 * 1_999);
    shop.check();
}

#[test]
fn absent_provider_is_waited_for_and_keeps_the_hold() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    shop.faults(&json!({ "away": true }));
    let held = client.try_hold("hold", "c1", &[("A", 1)], 2).expect("an answer");
    let held = text(&body(&held), "hold");
    let waiting = pay(&client, "k", &held, "pm_card");
    assert_eq!(waiting.status, 202, "{waiting:?}");
    assert!(body(&waiting)["wait_seconds"].as_u64().is_some_and(|wait| wait >= 1), "{waiting:?}");
    let id = text(&body(&waiting), "checkout");
    assert_eq!(waiting.header("location"), Some(&*format!("/v1/checkouts/{id}")));
    let queued = client.get(&format!("/v1/orders/{id}"));
    assert_eq!((queued.status, &body(&queued)["is_placed"]), (202, &json!(false)));
    // Beyond the hold's own time.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(client.stock("A"), [100, 1, 0, 99]);
    shop.faults(&json!({}));
    assert_eq!(pay_persistently(&client, "k", &held, "pm_card").status, 201);
    assert_eq!(shop.paid(), 1_999);
    shop.check();
}

#[test]
fn payment_without_an_end_is_given_up() {
    let shop = Rehearsal::of_kind("stripe", "payment_patience = \"1s\"");
    let (_node, client) = shop.node();
    let hold = hold(&client, "c1");
    // The registration succeeds, and each answer after it is an error.
    shop.faults(&json!({ "refuse_share": 1.0, "refuse_status": 500 }));
    let waiting = pay(&client, "k", &hold, "pm_card");
    assert_eq!(waiting.status, 202, "{waiting:?}");
    thread::sleep(Duration::from_secs(2));
    shop.faults(&json!({}));
    let released = pay_persistently(&client, "k", &hold, "pm_card");
    assert_eq!((released.status, &*kind(&released)), (409, "checkout-released"));
    assert_eq!(shop.paid(), 0);
    shop.check();
}

/// The hold ends while the payment is under way: the payment is voided, and nothing is sold.
#[test]
fn hold_cancelled_during_payment_is_not_paid() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let hold = hold(&client, "c1");
    shop.faults(&json!({ "delay_ms": 700 }));
    let released = thread::scope(|scope| {
        let paying = scope.spawn(|| pay_persistently(&client, "k", &hold, "pm_card"));
        thread::sleep(Duration::from_millis(300));
        let path = format!("/v1/holds/{hold}");
        let cancelled = client.send("DELETE", &path, None, &serde_json::Value::Null);
        assert_eq!(cancelled.expect("an answer").status, 200);
        paying.join().expect("joined")
    });
    assert_eq!((released.status, &*kind(&released)), (409, "checkout-released"), "{released:?}");
    assert_eq!((shop.paid(), shop.executed("void").len()), (0, 1));
    assert_eq!(client.stock("A"), [100, 0, 0, 100]);
    shop.check();
}

/// Nodes die at any time of payments whose replies get lost, and others go on.
#[test]
fn killed_nodes_lose_no_payment_and_pay_none_twice() {
    for kind_of_provider in ["stripe", "http"] {
        kill_nodes(&Rehearsal::of_kind(kind_of_provider, ""));
    }
}

fn kill_nodes(shop: &Rehearsal) {
    const BUYERS: usize = 24;
    let (_left, survivor) = shop.node();
    shop.faults(
        &json!({ "lose_share": 0.2, "refuse_share": 0.1, "refuse_status": 500, "delay_ms": 20 }),
    );
    thread::scope(|scope| {
        let buyers: Vec<_> = (0..BUYERS)
            .map(|n| {
                let survivor = &survivor;
                scope.spawn(move || {
                    let hold = hold(survivor, &format!("c{n}"));
                    if n % 4 == 0 {
                        // The customer's first node dies under the payment.
                        let (mut node, client) = shop.node();
                        let key = format!("k{n}");
                        thread::scope(|scope| {
                            let paying = scope.spawn(|| {
                                let sent = super::rehearsal::payment(&hold, "pm_card");
                                // Its connection breaks with the node.
                                drop(client.send("POST", "/v1/checkouts", Some(&key), &sent));
                            });
                            thread::sleep(Duration::from_millis(15 * n as u64));
                            node.process.kill9().expect("killed");
                            paying.join().expect("joined");
                        });
                    }
                    pay_persistently(survivor, &format!("k{n}"), &hold, "pm_card").status
                })
            })
            .collect();
        for buyer in buyers {
            assert_eq!(buyer.join().expect("joined"), 201);
        }
    });
    shop.faults(&json!({}));
    let resting = "select count(*) from tidegate.checkout where due_at is not null";
    harness::until("rest", DEADLINE, || Ok((shop.stand.count(resting) == 0).then_some(())))
        .expect("rest");
    assert_eq!(shop.executed("capture").len(), BUYERS);
    assert_eq!(shop.paid(), 1_999 * BUYERS as i64);
    assert_eq!(survivor.stock("A"), [100, 0, BUYERS as u64, 100 - BUYERS as u64]);
    shop.check();
}

#[test]
fn difference_of_the_books_is_named() {
    let shop = Rehearsal::start();
    let (_node, client) = shop.node();
    let held = hold(&client, "c1");
    assert_eq!(pay(&client, "k", &held, "pm_card").status, 201);
    shop.check();
    shop.stand.stack.sql("update tidegate.checkout set refunded = 99");
    let (status, output) = shop.stand.command(&["reconcile", "--json"], "");
    assert_eq!(status, Some(1), "{output}");
    assert!(output.contains("refunded-differs") && output.contains("repair"), "{output}");
    shop.faults(&json!({ "away": true }));
    let (status, output) = shop.stand.command(&["reconcile", "--json"], "");
    assert_eq!(status, Some(3), "an absent provider is no agreement: {output}");
    assert!(output.contains("\"unknown\""), "{output}");
}
