//! Checkouts in the ledger's database.

use std::sync::Arc;

use sale::CheckoutId;
use sale::ledger::{
    ATTEMPTS_MAX, BeginOutcome, ChangeOutcome, CheckoutChange, CheckoutRecord, NewCheckout,
    PaymentAttempt,
};
use sale::request::RequestKey;
use sale::rules::{
    CheckoutInput, CheckoutState, HoldEnd, HoldState, Operation, Phase, Price, quote, step_checkout,
};
use sale::{HoldId, Lane};

use crate::fixture::{Shop, key};

on_both_ledgers! {
    price_is_frozen_by_the_hold
    hold_has_one_checkout_in_all_tabs
    key_stands_for_one_checkout
    declined_payments_are_limited
    order_and_sold_hold_are_one_transaction
    ended_hold_gets_no_order
    stale_node_records_nothing
    lease_is_exclusive_until_it_ends
    cancelled_order_is_back_in_stock
    webhook_counts_once
    events_come_in_order
}

pub(crate) const LEASE_MS: i64 = 60_000;
pub(crate) const KEEP_MS: i64 = 60_000;

pub(crate) fn euro(amount: i64) -> Price {
    Price { amount, currency: "EUR".parse().expect("a currency") }
}

pub(crate) fn id(number: u64) -> CheckoutId {
    CheckoutId(HoldId::new(1, Lane::from_number(1), number << 16))
}

pub(crate) fn new(number: u64, key_text: &str, digest: u64, hold: HoldId) -> NewCheckout {
    NewCheckout {
        id: id(number),
        key: RequestKey { key: key(key_text), digest },
        hold,
        provider: "card".to_owned(),
        method: "pm".to_owned(),
        price: euro(500),
        gift: None,
        cart: None,
        captures_later: false,
        lease_ms: LEASE_MS,
        keep_hold_ms: KEEP_MS,
        first: None,
    }
}

pub(crate) async fn begin(shop: &Shop, new: &NewCheckout) -> BeginOutcome {
    let begun = shop.ledger.begin_checkouts(Arc::from([new.clone()])).await;
    begun.expect("an outcome").remove(0)
}

pub(crate) async fn held(shop: &Shop) -> HoldId {
    shop.put("A", 5).await;
    assert!(shop.ledger.set_price("A", euro(500)).await.expect("set"));
    shop.hold("hold", "c", &[("A", 1)]).await.expect("held").hold
}

pub(crate) async fn record(shop: &Shop, id: CheckoutId) -> CheckoutRecord {
    shop.ledger.find_checkout(id).await.expect("read").expect("known")
}

/// Takes inputs, and returns the change that records them.
pub(crate) fn change(record: &CheckoutRecord, inputs: &[CheckoutInput]) -> CheckoutChange {
    let (mut state, mut path) = (record.state, vec![record.state.phase]);
    let (mut restocks, mut attempts, mut events) = (false, Vec::new(), Vec::new());
    for input in inputs {
        let before: CheckoutState = state;
        let (next, effect) = step_checkout(state, *input).expect("taken");
        restocks |= effect == sale::rules::CheckoutEffect::Restock;
        let operation = match before.phase {
            Phase::Authorising => Some(Operation::Authorise),
            Phase::Capturing => Some(Operation::Capture),
            Phase::Refunding => Some(Operation::Refund),
            _ => None,
        };
        if let (Some(operation), CheckoutInput::Done) = (operation, input) {
            let key = format!("{}-{}", record.id, before.number);
            attempts.push(PaymentAttempt {
                key,
                operation,
                amount: before.amount,
                outcome: "done",
            });
        }
        if next.ordered && !before.ordered {
            events.push(("order-placed", "{}".to_owned()));
        }
        if next.phase != before.phase {
            path.push(next.phase);
        }
        state = next;
    }
    CheckoutChange {
        id: record.id,
        version: record.version,
        state,
        path,
        places_order: state.ordered && !record.state.ordered,
        restocks,
        reference: Some(format!("pi_{}", record.id)),
        reason: None,
        attempts,
        events,
        due_in_ms: state.phase.is_open().then_some(0),
        lease_ms: 0,
        keep_hold_ms: 0,
        request: None,
    }
}

pub(crate) async fn apply(shop: &Shop, change: &CheckoutChange) -> ChangeOutcome {
    let changed = shop.ledger.change_checkouts(Arc::from([change.clone()])).await;
    changed.expect("an outcome").remove(0)
}

pub(crate) fn is_recorded(outcome: ChangeOutcome) -> bool {
    matches!(outcome, ChangeOutcome::Recorded { .. })
}

use CheckoutInput::{Cancel, Declined, Done, HoldEnded, Ordered, Sent};

/// Makes an order of one unit of A.
pub(crate) async fn paid_order(shop: &Shop) {
    let hold = shop.hold("of the order", "c", &[("A", 1)]).await.expect("held").hold;
    assert_eq!(begin(shop, &new(77, "pay", 7, hold)).await, BeginOutcome::Begun);
    let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    let placed = change(&record(shop, id(77)).await, &placed);
    assert!(is_recorded(apply(shop, &placed).await));
}

pub(crate) const TO_ORDERING: [CheckoutInput; 4] = [Sent, Done, Sent, Done];

async fn price_is_frozen_by_the_hold(shop: Shop) {
    shop.put("A", 5).await;
    shop.put("B", 5).await;
    let unpriced = shop.hold("k1", "c", &[("A", 1)]).await.expect("held").hold;
    for (sku, amount) in [("A", 500), ("B", 1)] {
        assert!(shop.ledger.set_price(sku, euro(amount)).await.expect("set"));
    }
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let priced = shop.hold("k2", "c", &[("A", 2), ("B", 3)]).await.expect("held").hold;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(shop.ledger.set_price("A", euro(900)).await.expect("set"));
    assert!(!shop.ledger.set_price("Z", euro(900)).await.expect("unknown"));
    let unknown = HoldId::new(9, Lane::from_number(9), 9);
    let read = shop.ledger.priced_holds(Arc::from([unpriced, unknown, priced])).await;
    let read = read.expect("read");
    let [Some(without), None, Some(with)] = &read[..] else { panic!("{read:?}") };
    assert_eq!((quote(&with.lines), &*with.customer), (Ok(euro(1_003)), "c"));
    assert!(quote(&without.lines).is_err());
    assert_eq!(shop.ledger.price("A").await.expect("read"), Some(euro(900)));
}

async fn hold_has_one_checkout_in_all_tabs(shop: Shop) {
    let hold = held(&shop).await;
    let tabs = (0..12).map(|tab| {
        let shop = shop.clone();
        tokio::spawn(async move { begin(&shop, &new(tab, &format!("tab {tab}"), 7, hold)).await })
    });
    let mut begun = 0;
    let mut named = std::collections::BTreeSet::new();
    for tab in tabs.collect::<Vec<_>>() {
        match tab.await.expect("joined") {
            BeginOutcome::Begun => begun += 1,
            BeginOutcome::Known(id) => drop(named.insert(id)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((begun, named.len()), (1, 1));
    let other = begin(&shop, &new(20, "other card", 8, hold)).await;
    assert!(matches!(other, BeginOutcome::Other(_)), "{other:?}");
}

async fn key_stands_for_one_checkout(shop: Shop) {
    let hold = held(&shop).await;
    assert_eq!(begin(&shop, &new(1, "k", 7, hold)).await, BeginOutcome::Begun);
    assert_eq!(begin(&shop, &new(2, "k", 7, hold)).await, BeginOutcome::Known(id(1)));
    assert_eq!(begin(&shop, &new(2, "k", 8, hold)).await, BeginOutcome::KeyReused);
    assert_eq!(begin(&shop, &new(2, "hold", 7, hold)).await, BeginOutcome::KeyReused);
    let unknown = begin(&shop, &new(2, "l", 7, HoldId::new(9, Lane::from_number(9), 9))).await;
    assert_eq!(unknown, BeginOutcome::UnknownHold);
    let known = shop.ledger.find_request(&key("k")).await.expect("read");
    assert_eq!(known, Some((7, Some(id(1)))));
}

async fn declined_payments_are_limited(shop: Shop) {
    let hold = held(&shop).await;
    for number in 0..u64::from(ATTEMPTS_MAX) {
        let begun = begin(&shop, &new(number, &format!("k{number}"), number, hold)).await;
        assert_eq!(begun, BeginOutcome::Begun);
        let declined = change(
            &record(&shop, id(number)).await,
            &[Sent, Done, Sent, Declined { retryable: false }],
        );
        assert!(is_recorded(apply(&shop, &declined).await));
    }
    assert_eq!(begin(&shop, &new(50, "k50", 50, hold)).await, BeginOutcome::TooMany);
    shop.assert_stock("A", 5, 1, 0).await;
}

async fn order_and_sold_hold_are_one_transaction(shop: Shop) {
    let hold = held(&shop).await;
    begin(&shop, &new(1, "k", 7, hold)).await;
    let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    let placed = change(&record(&shop, id(1)).await, &placed);
    assert!(is_recorded(apply(&shop, &placed).await));
    shop.assert_stock("A", 5, 0, 1).await;
    let stored = record(&shop, id(1)).await;
    assert_eq!((stored.state, stored.due_in_ms), (placed.state, None));
    assert_eq!(stored.reference, placed.reference);
    assert!(stored.ordered_at_ms.is_some());
    let state = shop.sale.find_hold(hold).await.expect("known").state;
    assert_eq!(state, HoldState::Ended(HoldEnd::Confirmed));
}

async fn ended_hold_gets_no_order(shop: Shop) {
    let hold = held(&shop).await;
    begin(&shop, &new(1, "k", 7, hold)).await;
    shop.sale.cancel(hold).await.expect("cancelled");
    let placed = [&TO_ORDERING[..], &[Ordered]].concat();
    let placed = change(&record(&shop, id(1)).await, &placed);
    assert_eq!(apply(&shop, &placed).await, ChangeOutcome::HoldEnded);
    let untouched = record(&shop, id(1)).await;
    assert_eq!((untouched.state.phase, untouched.version), (Phase::Preparing, 1));
    let released = [&TO_ORDERING[..], &[HoldEnded, Sent, Done]].concat();
    let released = change(&untouched, &released);
    assert!(is_recorded(apply(&shop, &released).await));
    let again = begin(&shop, &new(2, "l", 7, hold)).await;
    assert_eq!(again, BeginOutcome::HoldEnded(HoldEnd::Cancelled));
}

async fn stale_node_records_nothing(shop: Shop) {
    let hold = held(&shop).await;
    begin(&shop, &new(1, "k", 7, hold)).await;
    let read = record(&shop, id(1)).await;
    assert!(is_recorded(apply(&shop, &change(&read, &[Sent, Done])).await));
    assert_eq!(apply(&shop, &change(&read, &[CheckoutInput::GiveUp])).await, ChangeOutcome::Stale);
    assert_eq!(record(&shop, id(1)).await.state.phase, Phase::Authorising);
    let unknown = CheckoutRecord { id: id(9), ..read };
    assert_eq!(apply(&shop, &change(&unknown, &[Sent])).await, ChangeOutcome::Stale);
}

async fn lease_is_exclusive_until_it_ends(shop: Shop) {
    let hold = held(&shop).await;
    begin(&shop, &new(1, "k", 7, hold)).await;
    let due = || shop.ledger.lease_due(10, LEASE_MS);
    assert_eq!(due().await.expect("read"), [], "its beginner has the lease");
    let parked = change(&record(&shop, id(1)).await, &[Sent, Done]);
    apply(&shop, &parked).await;
    let leased = due().await.expect("read");
    assert_eq!(leased.iter().map(|record| record.id).collect::<Vec<_>>(), [id(1)]);
    assert_eq!(due().await.expect("read"), []);
    assert_eq!(shop.ledger.lease_checkout(id(1), LEASE_MS).await.expect("read"), None);
    let stale = apply(&shop, &CheckoutChange { version: parked.version + 1, ..parked }).await;
    assert_eq!(stale, ChangeOutcome::Stale, "the lease is a new version");
}

async fn cancelled_order_is_back_in_stock(shop: Shop) {
    let hold = held(&shop).await;
    begin(&shop, &new(1, "k", 7, hold)).await;
    let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    apply(&shop, &change(&record(&shop, id(1)).await, &placed)).await;
    let mut cancelled = change(&record(&shop, id(1)).await, &[Cancel, Sent, Done]);
    cancelled.request = Some(RequestKey { key: key("cancel"), digest: 1 });
    assert!(is_recorded(apply(&shop, &cancelled).await));
    shop.assert_stock("A", 6, 0, 1).await;
    let known = shop.ledger.find_request(&key("cancel")).await.expect("read");
    assert_eq!(known, Some((1, Some(id(1)))));
    let again = CheckoutChange { version: cancelled.version + 1, ..cancelled };
    assert_eq!(apply(&shop, &again).await, ChangeOutcome::KeyKnown);
    shop.assert_stock("A", 6, 0, 1).await;
}

async fn webhook_counts_once(shop: Shop) {
    let hold = held(&shop).await;
    begin(&shop, &new(1, "k", 7, hold)).await;
    let mut parked = change(&record(&shop, id(1)).await, &[Sent, Done]);
    parked.due_in_ms = Some(3_600_000);
    apply(&shop, &parked).await;
    let reference = parked.reference.clone().unwrap_or_default();
    let note = |provider| shop.ledger.note_webhook(provider, "evt", &reference);
    assert!(note("other").await.expect("noted"), "events of another provider");
    assert_eq!(shop.ledger.lease_due(10, LEASE_MS).await.expect("read"), []);
    assert!(note("card").await.expect("noted"));
    assert!(!note("card").await.expect("noted"));
    assert_eq!(shop.ledger.lease_due(10, LEASE_MS).await.expect("read").len(), 1);
}

async fn events_come_in_order(shop: Shop) {
    shop.put("A", 9).await;
    for number in 0..3 {
        let hold = shop.hold(&format!("h{number}"), "c", &[("A", 1)]).await.expect("held").hold;
        begin(&shop, &new(number, &format!("k{number}"), 7, hold)).await;
        let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
        apply(&shop, &change(&record(&shop, id(number)).await, &placed)).await;
    }
    let read = |after: Option<String>, limit| {
        let ledger = std::sync::Arc::clone(&shop.ledger);
        async move { ledger.order_events(after.as_deref(), limit).await.expect("read") }
    };
    let all = read(None, 10).await;
    let orders: Vec<_> = all.iter().map(|event| (event.order, event.number)).collect();
    assert_eq!(orders, [(id(0), 1), (id(1), 1), (id(2), 1)]);
    let first = read(None, 1).await;
    let rest = read(Some(first[0].cursor.clone()), 10).await;
    assert_eq!(rest, all[1..]);
    assert_eq!(read(Some(all[2].cursor.clone()), 10).await, []);
    assert!(shop.ledger.order_events(Some("x"), 1).await.is_err());
}
