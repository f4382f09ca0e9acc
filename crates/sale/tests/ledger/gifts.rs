//! Gift cards in the ledger's database.

use sale::ledger::{
    BeginOutcome, CartRefused, ChangeOutcome, GiftRefusal, NewCheckout, Outcome, ShownCart,
};
use sale::request::{CartId, GiftCode, GiftPart, IssueGift, RequestKey};
use sale::rules::CheckoutInput::{
    Cancel, Declined, Done, GiveUp, HoldEnded, Ordered, Refund, Sent,
};
use sale::rules::{CartRefusal, CartVersion, CheckoutInput, GiftBalance, Phase, Price};
use sale::{CheckoutId, HoldId};

use crate::checkouts::{self, TO_ORDERING, apply, change, id, is_recorded, new, record};
use crate::fixture::{Shop, key};
use crate::order_batches::{begin_all, change_all};

on_both_ledgers! {
    code_is_issued_once
    last_euro_pays_one_of_two_checkouts
    part_follows_its_checkout
    refused_part_begins_nothing
    whole_price_needs_no_provider
    refunds_go_back_in_order
    repeat_reserves_no_second_part
    refused_part_fails_alone_in_its_batch
}

const PRICE: i64 = 500;

pub(crate) fn code() -> GiftCode {
    GiftCode::new("code", "ABCD-EFGH-2345-6789").expect("a code")
}

fn gift(amount: i64, currency: &str) -> IssueGift {
    let currency = currency.parse().expect("a currency");
    IssueGift { code: code(), value: Price { amount, currency } }
}

async fn issue(shop: &Shop, amount: i64) {
    let key = RequestKey { key: key("issue"), digest: 1 };
    let issued = shop.ledger.issue_gift(&gift(amount, "EUR"), &key).await;
    assert_eq!(issued.expect("an outcome"), Outcome::Done(()));
}

async fn balance(shop: &Shop) -> [i64; 3] {
    let found = shop.ledger.find_gift(&code()).await.expect("read").expect("known");
    let GiftBalance { issued, reserved, spent } = found.balance;
    [issued, reserved, spent]
}

async fn held(shop: &Shop, number: u64) -> HoldId {
    shop.put("G", 50).await;
    let price = Price { amount: PRICE, currency: "EUR".parse().expect("a currency") };
    assert!(shop.ledger.set_price("G", price).await.expect("set"));
    shop.hold(&format!("hold {number}"), "c", &[("G", 1)]).await.expect("held").hold
}

fn with_part(number: u64, hold: HoldId, amount: i64) -> NewCheckout {
    let part = GiftPart { code: code(), amount };
    NewCheckout { gift: Some(part), ..new(number, &format!("pay {number}"), 7, hold) }
}

async fn begin(shop: &Shop, number: u64, amount: i64) -> BeginOutcome {
    let new = with_part(number, held(shop, number).await, amount);
    checkouts::begin(shop, &new).await
}

/// Begins a checkout of which the card pays `amount`, and takes the inputs one at a time.
async fn run(shop: &Shop, number: u64, amount: i64, inputs: &[CheckoutInput]) -> CheckoutId {
    assert_eq!(begin(shop, number, amount).await, BeginOutcome::Begun);
    proceed(shop, number, inputs).await;
    id(number)
}

async fn proceed(shop: &Shop, number: u64, inputs: &[CheckoutInput]) {
    for input in inputs {
        let next = change(&record(shop, id(number)).await, &[*input]);
        assert!(is_recorded(apply(shop, &next).await), "{input:?}");
    }
}

/// An order that the card pays in part.
pub(crate) async fn split_order(shop: &Shop) {
    issue(shop, 1_000).await;
    let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    run(shop, 55, 200, &placed).await;
    assert_eq!(begin(shop, 56, 100).await, BeginOutcome::Begun);
}

async fn code_is_issued_once(shop: Shop) {
    issue(&shop, 1_000).await;
    let issue = |text: &str, digest, amount| {
        let (shop, key) = (shop.clone(), RequestKey { key: key(text), digest });
        async move { shop.ledger.issue_gift(&gift(amount, "EUR"), &key).await.expect("an outcome") }
    };
    assert_eq!(issue("issue", 1, 1_000).await, Outcome::Repeated(()));
    assert_eq!(issue("issue", 2, 900).await, Outcome::KeyReused);
    assert_eq!(issue("other", 1, 1_000).await, Outcome::Refused(GiftRefusal::Exists));
    assert_eq!(balance(&shop).await, [1_000, 0, 0]);
    let other = GiftCode::new("code", "ABCD-EFGH-2345-6780").expect("a code");
    assert_eq!(shop.ledger.find_gift(&other).await.expect("read"), None);
}

/// Many checkouts at one instant, of which the balance is enough for two.
async fn last_euro_pays_one_of_two_checkouts(shop: Shop) {
    issue(&shop, 2 * PRICE + 100).await;
    let mut holds = Vec::new();
    for number in 0..12 {
        holds.push(held(&shop, number).await);
    }
    let tabs = holds.into_iter().zip(0..).map(|(hold, number)| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let new = with_part(number, hold, PRICE);
            checkouts::begin(&shop, &new).await
        })
    });
    let mut begun = 0;
    for tab in tabs.collect::<Vec<_>>() {
        match tab.await.expect("joined") {
            BeginOutcome::Begun => begun += 1,
            BeginOutcome::Gift(GiftRefusal::Short { available }) => assert!(available < PRICE),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((begun, balance(&shop).await), (2, [2 * PRICE + 100, 2 * PRICE, 0]));
}

async fn part_follows_its_checkout(shop: Shop) {
    issue(&shop, 1_000).await;
    let declined = [Sent, Done, Sent, Declined { retryable: false }];
    run(&shop, 1, 200, &declined).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0], "declined: released");
    run(&shop, 2, 200, &[Sent, Done, Sent]).await;
    assert_eq!(balance(&shop).await, [1_000, 200, 0], "the outcome is not known: reserved");
    proceed(&shop, 2, &[GiveUp, Sent]).await;
    assert_eq!(balance(&shop).await, [1_000, 200, 0], "until the payment is closed");
    proceed(&shop, 2, &[Done]).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0]);
    run(&shop, 3, 200, &[&TO_ORDERING[..], &[HoldEnded, Sent, Done]].concat()).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0], "the hold ended: released");
    run(&shop, 4, 200, &[&TO_ORDERING[..], &[Ordered, Sent, Done]].concat()).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 200], "ordered: spent");
    proceed(&shop, 4, &[Cancel]).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0], "cancelled: returned");
    proceed(&shop, 4, &[Sent, Done]).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0], "once");
    let unpaid = [Ordered, Sent, Declined { retryable: false }];
    run(&shop, 5, 200, &[&TO_ORDERING[..], &unpaid].concat()).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0], "the capture was declined: returned");
    proceed(&shop, 5, &[Sent, Done]).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0]);
}

async fn refused_part_begins_nothing(shop: Shop) {
    let unknown = begin(&shop, 1, 100).await;
    assert_eq!(unknown, BeginOutcome::Gift(GiftRefusal::Unknown));
    let key_of_dollars = RequestKey { key: key("dollars"), digest: 1 };
    let dollars = shop.ledger.issue_gift(&gift(90, "USD"), &key_of_dollars).await;
    assert_eq!(dollars.expect("an outcome"), Outcome::Done(()));
    assert_eq!(begin(&shop, 2, 10).await, BeginOutcome::Gift(GiftRefusal::Currency));
    assert_eq!(shop.ledger.find_checkout(id(2)).await.expect("read"), None);
    let hold = shop.sale.find_hold(held(&shop, 2).await).await.expect("known");
    // The key had no effect, and the hold has no checkout.
    let plain = new(3, "pay 2", 9, hold.id);
    assert_eq!(checkouts::begin(&shop, &plain).await, BeginOutcome::Begun);
    assert_eq!(balance(&shop).await, [90, 0, 0]);
}

async fn whole_price_needs_no_provider(shop: Shop) {
    issue(&shop, PRICE).await;
    assert_eq!(begin(&shop, 1, PRICE).await, BeginOutcome::Begun);
    let begun = record(&shop, id(1)).await;
    assert_eq!((begun.state.phase, begun.state.total), (Phase::Ordering, 0));
    assert_eq!(balance(&shop).await, [PRICE, PRICE, 0]);
    proceed(&shop, 1, &[Ordered]).await;
    assert_eq!(record(&shop, id(1)).await.state.phase, Phase::Captured);
    assert_eq!(balance(&shop).await, [PRICE, 0, PRICE]);
    shop.assert_stock("G", 50, 0, 1).await;
    proceed(&shop, 1, &[Refund(100), Cancel]).await;
    assert_eq!(record(&shop, id(1)).await.state.phase, Phase::Cancelled);
    assert_eq!(balance(&shop).await, [PRICE, 0, 0]);
    assert_eq!(begin(&shop, 2, PRICE).await, BeginOutcome::Begun);
    proceed(&shop, 2, &[HoldEnded]).await;
    assert_eq!(balance(&shop).await, [PRICE, 0, 0], "released");
}

/// First the amount that the provider took, then the card's.
async fn refunds_go_back_in_order(shop: Shop) {
    issue(&shop, 1_000).await;
    run(&shop, 1, 200, &[&TO_ORDERING[..], &[Ordered, Sent, Done]].concat()).await;
    proceed(&shop, 1, &[Refund(250), Sent, Done]).await;
    let state = record(&shop, id(1)).await.state;
    assert_eq!((state.refunded, state.gift_returned), (250, 0));
    proceed(&shop, 1, &[Refund(150), Sent, Done]).await;
    let state = record(&shop, id(1)).await.state;
    assert_eq!((state.refunded, state.gift_returned), (300, 100));
    assert_eq!(balance(&shop).await, [1_000, 0, 100]);
    assert_eq!(state.refundable_with_gift(), 100);
    proceed(&shop, 1, &[Refund(100)]).await;
    assert_eq!(balance(&shop).await, [1_000, 0, 0]);
}

async fn repeat_reserves_no_second_part(shop: Shop) {
    issue(&shop, 1_000).await;
    let hold = held(&shop, 1).await;
    for (number, key_text) in [(1, "one"), (2, "one"), (3, "two")] {
        let new = with_part(number, hold, 200);
        let key = RequestKey { key: key(key_text), digest: 7 };
        let new = NewCheckout { key, ..new };
        let begun = checkouts::begin(&shop, &new).await;
        let known = if number == 1 { BeginOutcome::Begun } else { BeginOutcome::Known(id(1)) };
        assert_eq!(begun, known);
    }
    assert_eq!(balance(&shop).await, [1_000, 200, 0]);
}

/// Checkouts with and without a gift card, and of a cart, in one call.
async fn refused_part_fails_alone_in_its_batch(shop: Shop) {
    issue(&shop, 300).await;
    let missing = CartId::new("missing").expect("a name");
    let mut batch = Vec::new();
    for (number, part) in [(0, 0), (1, 400), (2, 0), (3, 200), (4, 200), (5, 0), (6, 0)] {
        let new = with_part(number, held(&shop, number).await, part);
        batch.push(NewCheckout { gift: new.gift.filter(|_| part > 0), ..new });
    }
    batch[5].cart = Some(ShownCart { cart: missing.clone(), version: CartVersion::Any });
    let unknown = CartRefused { refusal: CartRefusal::Unknown, checkout: None };
    let expected = [
        BeginOutcome::Begun,
        BeginOutcome::Gift(GiftRefusal::Short { available: 300 }),
        BeginOutcome::Begun,
        BeginOutcome::Begun,
        BeginOutcome::Gift(GiftRefusal::Short { available: 100 }),
        BeginOutcome::Cart(missing, unknown),
        BeginOutcome::Begun,
    ];
    assert_eq!(begin_all(&shop, batch).await, expected);
    assert_eq!(balance(&shop).await, [300, 200, 0]);

    let mut orders = Vec::new();
    for number in [0, 3, 2, 6] {
        let inputs = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
        orders.push(change(&record(&shop, id(number)).await, &inputs));
    }
    orders[2].version += 7;
    let outcomes = change_all(&shop, orders).await;
    let is_placed = |outcome: &ChangeOutcome| {
        matches!(outcome, ChangeOutcome::Recorded { ordered_at_ms: Some(_) })
    };
    let placed: Vec<bool> = outcomes.iter().map(is_placed).collect();
    assert_eq!((placed, outcomes[2]), (vec![true, true, false, true], ChangeOutcome::Stale));
    assert_eq!(balance(&shop).await, [300, 0, 200]);
    assert_eq!(record(&shop, id(3)).await.state.captured, PRICE - 200);
    shop.assert_stock("G", 50, 4, 3).await;
}
