//! Carts in the ledger's database.

use sale::HoldId;
use sale::ledger::{
    BeginOutcome, CartRecord, CartRefused, LinkHold, LinkOutcome, NewCheckout, ShownCart,
};
use sale::request::{CartContent, CartId};
use sale::rules::CheckoutInput::{Declined, Done, Ordered, Sent};
use sale::rules::{CartRefusal, CartStage, CartVersion, HoldEnd, HoldState};

use crate::checkouts::{self, TO_ORDERING, apply, change, id, is_recorded, new, record};
use crate::fixture::{Shop, key, request};

on_both_ledgers! {
    stale_version_overwrites_nothing
    change_and_deletion_free_the_units
    deleted_version_does_not_come_back
    one_of_twelve_holds_is_the_carts
    expired_hold_makes_way_for_the_next
    cart_is_fixed_while_it_is_paid_for
    ordered_cart_has_no_second_order
    unpaid_order_opens_its_cart
    checkout_of_a_former_hold_refused
    cart_sold_without_a_checkout_is_ordered
}

use CartVersion::{Absent, Any, Exactly};

fn cart() -> CartId {
    CartId::new("cart").expect("a name")
}

fn content(customer: &str, lines: &[(&str, i64)]) -> CartContent {
    let line = |(sku, quantity): &(&str, i64)| ((*sku).to_owned(), None, *quantity);
    CartContent::new(customer, lines.iter().map(line).collect()).expect("valid")
}

async fn write(
    shop: &Shop,
    wanted: CartVersion,
    content: &CartContent,
) -> Result<i64, CartRefusal> {
    let written = shop.ledger.write_cart(&cart(), wanted, Some(content)).await.expect("an outcome");
    written.map_err(|refused| refused.refusal)
}

async fn delete(shop: &Shop, wanted: CartVersion) -> Result<i64, CartRefusal> {
    let deleted = shop.ledger.write_cart(&cart(), wanted, None).await.expect("an outcome");
    deleted.map_err(|refused| refused.refusal)
}

async fn find(shop: &Shop) -> CartRecord {
    shop.ledger.find_cart(&cart()).await.expect("read").expect("known")
}

async fn link(shop: &Shop, version: i64, number: i64, hold: HoldId) -> LinkOutcome {
    let link = LinkHold { cart: cart(), version, number, hold };
    shop.ledger.link_cart_hold(&link).await.expect("an outcome")
}

async fn begin(
    shop: &Shop,
    wanted: CartVersion,
    number: u64,
    hold: HoldId,
) -> Result<BeginOutcome, CartRefused> {
    let shown = ShownCart { cart: cart(), version: wanted };
    let new = NewCheckout { cart: Some(shown), ..new(number, &format!("pay {number}"), 7, hold) };
    match checkouts::begin(shop, &new).await {
        BeginOutcome::Cart(_, refused) => Err(refused),
        other => Ok(other),
    }
}

/// Creates the cart with a unit of C, and holds it.
pub(crate) async fn held_cart(shop: &Shop) -> HoldId {
    shop.put("C", 10).await;
    assert_eq!(write(shop, Absent, &content("e", &[("C", 1)])).await, Ok(1));
    let hold = shop.hold("of the cart", "e", &[("C", 1)]).await.expect("held").hold;
    assert_eq!(link(shop, 1, 1, hold).await, LinkOutcome::Linked);
    hold
}

async fn stale_version_overwrites_nothing(shop: Shop) {
    let (one, two) = (content("c", &[("A", 1)]), content("c", &[("A", 2), ("B", 1)]));
    assert_eq!(write(&shop, Exactly(1), &one).await, Err(CartRefusal::Unknown));
    assert_eq!(write(&shop, Absent, &one).await, Ok(1));
    assert_eq!(write(&shop, Absent, &two).await, Err(CartRefusal::Changed(1)));
    assert_eq!(write(&shop, Exactly(1), &two).await, Ok(2));
    assert_eq!(write(&shop, Exactly(1), &one).await, Err(CartRefusal::Changed(2)));
    assert_eq!(write(&shop, Exactly(1), &two).await, Ok(2), "a repeat");
    assert_eq!(write(&shop, Any, &content("c", &[])).await, Ok(3));
    let found = find(&shop).await;
    assert_eq!((found.state.version, found.content.lines().len()), (3, 0));
    let tabs = (0..8_i64).map(|tab| {
        let shop = shop.clone();
        tokio::spawn(
            async move { write(&shop, Exactly(3), &content("c", &[("A", 10 + tab)])).await },
        )
    });
    let mut written = 0;
    for tab in tabs.collect::<Vec<_>>() {
        match tab.await.expect("joined") {
            Ok(4) => written += 1,
            Err(CartRefusal::Changed(4)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(written, 1, "of eight tabs");
}

async fn change_and_deletion_free_the_units(shop: Shop) {
    let hold = held_cart(&shop).await;
    shop.assert_stock("C", 10, 1, 0).await;
    assert_eq!(find(&shop).await.state.stage, CartStage::Held);
    assert_eq!(write(&shop, Any, &content("e", &[("C", 1)])).await, Ok(1), "no change");
    shop.assert_stock("C", 10, 1, 0).await;
    // A guest's cart becomes the customer's.
    assert_eq!(write(&shop, Exactly(1), &content("customer", &[("C", 1)])).await, Ok(2));
    shop.assert_stock("C", 10, 0, 0).await;
    let ended = shop.sale.find_hold(hold).await.expect("known").state;
    assert_eq!(ended, HoldState::Ended(HoldEnd::Cancelled));
    assert_eq!(find(&shop).await.state.stage, CartStage::Open);
    let next = shop.hold("next", "customer", &[("C", 1)]).await.expect("held").hold;
    assert_eq!(link(&shop, 2, 2, next).await, LinkOutcome::Linked);
    assert_eq!(delete(&shop, Exactly(1)).await, Err(CartRefusal::Changed(2)));
    assert_eq!(delete(&shop, Exactly(2)).await, Ok(3));
    shop.assert_stock("C", 10, 0, 0).await;
}

async fn deleted_version_does_not_come_back(shop: Shop) {
    let lines = content("c", &[("A", 1)]);
    assert_eq!(delete(&shop, Any).await, Ok(0));
    assert_eq!(write(&shop, Absent, &lines).await, Ok(1));
    assert_eq!(delete(&shop, Any).await, Ok(2));
    assert_eq!(delete(&shop, Exactly(1)).await, Ok(0), "a repeat");
    assert_eq!(shop.ledger.find_cart(&cart()).await.expect("read"), None);
    assert_eq!(write(&shop, Exactly(1), &lines).await, Err(CartRefusal::Unknown));
    assert_eq!(write(&shop, Absent, &lines).await, Ok(3));
    assert_eq!(write(&shop, Exactly(1), &content("c", &[])).await, Err(CartRefusal::Changed(3)));
}

async fn one_of_twelve_holds_is_the_carts(shop: Shop) {
    shop.put("C", 20).await;
    assert_eq!(write(&shop, Absent, &content("e", &[("C", 1)])).await, Ok(1));
    let tabs = (0..12).map(|tab| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let held = shop.hold(&format!("tab {tab}"), "e", &[("C", 1)]).await;
            let hold = held.expect("held").hold;
            let linked = link(&shop, 1, 1, hold).await == LinkOutcome::Linked;
            if !linked {
                shop.sale.cancel(hold).await.expect("cancelled");
            }
            linked
        })
    });
    let mut linked = 0;
    for tab in tabs.collect::<Vec<_>>() {
        linked += usize::from(tab.await.expect("joined"));
    }
    assert_eq!(linked, 1);
    shop.assert_stock("C", 20, 1, 0).await;
    let hold = find(&shop).await.hold.expect("held");
    assert_eq!(link(&shop, 1, 1, hold).await, LinkOutcome::Linked, "a repeat");
    assert_eq!(link(&shop, 2, 1, hold).await, LinkOutcome::Changed);
}

async fn expired_hold_makes_way_for_the_next(shop: Shop) {
    shop.put("C", 10).await;
    assert_eq!(write(&shop, Absent, &content("e", &[("C", 1)])).await, Ok(1));
    let short = shop.sale.hold(request("e", &[("C", 1)], 1), &key("short")).await.expect("held");
    assert_eq!(link(&shop, 1, 1, short.hold).await, LinkOutcome::Linked);
    let next = shop.hold("next", "e", &[("C", 1)]).await.expect("held").hold;
    assert_eq!(link(&shop, 1, 2, next).await, LinkOutcome::Superseded, "the first is active");
    shop.wait_expired(short.hold).await;
    assert_eq!(find(&shop).await.state.stage, CartStage::Open);
    assert_eq!(link(&shop, 1, 2, next).await, LinkOutcome::Linked);
    let late = begin(&shop, Exactly(1), 1, short.hold).await.expect_err("refused");
    assert_eq!(late.refusal, CartRefusal::Changed(1));
    assert_eq!(begin(&shop, Exactly(1), 2, next).await, Ok(BeginOutcome::Begun));
}

async fn cart_is_fixed_while_it_is_paid_for(shop: Shop) {
    let hold = held_cart(&shop).await;
    let stale = begin(&shop, Exactly(2), 1, hold).await.expect_err("another version");
    assert_eq!(stale.refusal, CartRefusal::Changed(1));
    assert_eq!(begin(&shop, Exactly(1), 1, hold).await, Ok(BeginOutcome::Begun));
    assert_eq!(begin(&shop, Exactly(1), 2, hold).await, Ok(BeginOutcome::Known(id(1))));
    let more = content("e", &[("C", 2)]);
    assert_eq!(write(&shop, Exactly(1), &more).await, Err(CartRefusal::Paying));
    assert_eq!(delete(&shop, Any).await, Err(CartRefusal::Paying));
    let found = find(&shop).await;
    assert_eq!((found.state.stage, found.checkout), (CartStage::Paying, Some(id(1))));
    let declined = [Sent, Done, Sent, Declined { retryable: false }];
    let declined = change(&record(&shop, id(1)).await, &declined);
    assert!(is_recorded(apply(&shop, &declined).await));
    assert_eq!(find(&shop).await.state.stage, CartStage::Held);
    assert_eq!(write(&shop, Exactly(1), &more).await, Ok(2));
    shop.assert_stock("C", 10, 0, 0).await;
}

async fn ordered_cart_has_no_second_order(shop: Shop) {
    let hold = held_cart(&shop).await;
    assert_eq!(begin(&shop, Exactly(1), 1, hold).await, Ok(BeginOutcome::Begun));
    let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    let placed = change(&record(&shop, id(1)).await, &placed);
    assert!(is_recorded(apply(&shop, &placed).await));
    let found = find(&shop).await;
    assert_eq!((found.state.stage, found.checkout), (CartStage::Ordered, Some(id(1))));
    assert_eq!(begin(&shop, Exactly(1), 2, hold).await, Ok(BeginOutcome::Known(id(1))));
    let same = content("e", &[("C", 1)]);
    assert_eq!(write(&shop, Any, &same).await, Err(CartRefusal::Ordered));
    assert_eq!(delete(&shop, Any).await, Err(CartRefusal::Ordered));
    let second = shop.hold("second", "e", &[("C", 1)]).await.expect("held").hold;
    assert_eq!(link(&shop, 1, 2, second).await, LinkOutcome::Superseded);
    let other = begin(&shop, Exactly(1), 3, second).await.expect_err("another hold");
    assert_eq!(other.refusal, CartRefusal::Changed(1));
}

/// The first capture was declined: the customer pays for the same cart with another card.
async fn unpaid_order_opens_its_cart(shop: Shop) {
    let hold = held_cart(&shop).await;
    assert_eq!(begin(&shop, Exactly(1), 1, hold).await, Ok(BeginOutcome::Begun));
    let unpaid = [Ordered, Sent, Declined { retryable: false }, Sent, Done];
    let unpaid = change(&record(&shop, id(1)).await, &[&TO_ORDERING[..], &unpaid].concat());
    assert!(is_recorded(apply(&shop, &unpaid).await));
    assert_eq!(find(&shop).await.state.stage, CartStage::Open);
    let second = shop.hold("second", "e", &[("C", 1)]).await.expect("held").hold;
    assert_eq!(link(&shop, 1, 2, second).await, LinkOutcome::Linked);
    assert_eq!(begin(&shop, Exactly(1), 2, second).await, Ok(BeginOutcome::Begun));
    let placed = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    let placed = change(&record(&shop, id(2)).await, &placed);
    assert!(is_recorded(apply(&shop, &placed).await));
    assert_eq!(find(&shop).await.checkout, Some(id(2)));
}

/// A tab that read the hold before the cart changed.
async fn checkout_of_a_former_hold_refused(shop: Shop) {
    let hold = held_cart(&shop).await;
    assert_eq!(write(&shop, Exactly(1), &content("e", &[("C", 3)])).await, Ok(2));
    for wanted in [Exactly(1), Any] {
        let refused = begin(&shop, wanted, 1, hold).await;
        let ended = Ok(BeginOutcome::HoldEnded(HoldEnd::Cancelled));
        let changed = Err(CartRefused { refusal: CartRefusal::Changed(2), checkout: None });
        assert_eq!(refused, if wanted == Any { ended } else { changed });
    }
    let next = shop.hold("next", "e", &[("C", 3)]).await.expect("held").hold;
    assert_eq!(link(&shop, 2, 2, next).await, LinkOutcome::Linked);
    let refused = begin(&shop, Any, 1, hold).await.expect_err("another hold");
    assert_eq!(refused.refusal, CartRefusal::Changed(2));
}

async fn cart_sold_without_a_checkout_is_ordered(shop: Shop) {
    let hold = held_cart(&shop).await;
    shop.confirm(hold).await.expect("confirmed");
    let found = find(&shop).await;
    assert_eq!((found.state.stage, found.checkout), (CartStage::Ordered, None));
    let refused = write(&shop, Any, &content("e", &[("C", 2)])).await;
    assert_eq!(refused, Err(CartRefusal::Ordered));
}
