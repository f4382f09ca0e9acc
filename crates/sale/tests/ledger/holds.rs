//! The life of holds and the counters of stock.

use sale::SaleError;
use sale::request::{AdjustStock, ExtendRequest, HoldRequest, SetStock};
use sale::rules::{HoldEnd, HoldState};

use crate::fixture::{Shop, key};

on_both_ledgers! {
    held_confirmed_and_cancelled_units_add_up
    basket_is_all_or_nothing
    lines_of_one_sku_count_together
    confirmed_hold_stays_confirmed
    cancel_is_repeatable
    deadline_moves_once
    locations_have_their_own_stock
    unknown_names_refused
    committed_stock_stays
}

async fn held_confirmed_and_cancelled_units_add_up(shop: Shop) {
    shop.put("A", 10).await;
    let sold = shop.hold("1", "c1", &[("A", 3)]).await.expect("held");
    let back = shop.hold("2", "c2", &[("A", 4)]).await.expect("held");
    shop.assert_stock("A", 10, 7, 0).await;
    shop.confirm(sold.hold).await.expect("confirmed");
    shop.assert_stock("A", 10, 4, 3).await;
    assert_eq!(shop.sale.cancel(back.hold).await.expect("cancelled"), HoldEnd::Cancelled);
    shop.assert_stock("A", 10, 0, 3).await;
    let found = shop.sale.find_hold(sold.hold).await.expect("known");
    assert_eq!((found.state, &*found.customer), (HoldState::Ended(HoldEnd::Confirmed), "c1"));
    assert_eq!((found.lines.len(), found.lines[0].quantity), (1, 3));
    assert_eq!(found.deadline_ms, sold.deadline_ms);
}

async fn basket_is_all_or_nothing(shop: Shop) {
    shop.put("A", 5).await;
    shop.put("B", 1).await;
    let refused = shop.hold("1", "c", &[("A", 2), ("B", 2)]).await.expect_err("B is short");
    let SaleError::SoldOut(lines) = refused else { panic!("{refused:?}") };
    let shown: Vec<_> = lines.iter().map(|line| (&*line.demand.cell.sku, line.available)).collect();
    assert_eq!(shown, [("B", 1)]);
    shop.assert_stock("A", 5, 0, 0).await;
    let held = shop.hold("2", "c", &[("B", 1), ("A", 5)]).await.expect("held");
    shop.confirm(held.hold).await.expect("confirmed");
    shop.assert_stock("A", 5, 0, 5).await;
    shop.assert_stock("B", 1, 0, 1).await;
}

/// Two lines of one item, each of which fits alone.
async fn lines_of_one_sku_count_together(shop: Shop) {
    shop.put("A", 1).await;
    let refused = shop.hold("1", "c", &[("A", 1), ("A", 1)]).await.expect_err("2 of 1");
    assert!(matches!(&refused, SaleError::SoldOut(lines) if lines[0].demand.quantity == 2));
    shop.assert_stock("A", 1, 0, 0).await;
}

async fn confirmed_hold_stays_confirmed(shop: Shop) {
    shop.put("A", 1).await;
    let hold = shop.hold("1", "c", &[("A", 1)]).await.expect("held").hold;
    let at = shop.sale.confirm(hold, &key("k")).await.expect("confirmed");
    assert_eq!(shop.sale.confirm(hold, &key("k")).await.expect("repeated"), at);
    for ended in [
        shop.sale.confirm(hold, &key("other")).await.map(|_| ()),
        shop.sale.cancel(hold).await.map(|_| ()),
        shop.sale
            .extend(&ExtendRequest::new(hold, None).expect("valid"), &key("e"))
            .await
            .map(|_| ()),
    ] {
        assert!(matches!(ended, Err(SaleError::HoldEnded(HoldEnd::Confirmed))), "{ended:?}");
    }
    shop.assert_stock("A", 1, 0, 1).await;
}

async fn cancel_is_repeatable(shop: Shop) {
    shop.put("A", 1).await;
    let hold = shop.hold("1", "c", &[("A", 1)]).await.expect("held").hold;
    for _ in 0..3 {
        assert_eq!(shop.sale.cancel(hold).await.expect("cancelled"), HoldEnd::Cancelled);
    }
    let ended = shop.confirm(hold).await;
    assert!(matches!(ended, Err(SaleError::HoldEnded(HoldEnd::Cancelled))), "{ended:?}");
    shop.assert_stock("A", 1, 0, 0).await;
}

async fn deadline_moves_once(shop: Shop) {
    shop.put("A", 1).await;
    let held = shop.hold("1", "c", &[("A", 1)]).await.expect("held");
    let extend = ExtendRequest::new(held.hold, Some(60)).expect("valid");
    let deadline = shop.sale.extend(&extend, &key("e")).await.expect("extended");
    assert_eq!(deadline, held.deadline_ms + 60_000);
    assert_eq!(shop.sale.extend(&extend, &key("e")).await.expect("repeated"), deadline);
    let again = shop.sale.extend(&extend, &key("again")).await;
    assert!(matches!(again, Err(SaleError::ExtendedBefore)), "{again:?}");
    let found = shop.sale.find_hold(held.hold).await.expect("known");
    assert_eq!(found.state, HoldState::Active { deadline_ms: deadline, extended: true });
    // The answer to the hold's own key is the first one.
    assert_eq!(shop.hold("1", "c", &[("A", 1)]).await.expect("repeated"), held);
}

async fn locations_have_their_own_stock(shop: Shop) {
    for (location, on_hand) in [("east", 1), ("west", 2)] {
        let set = SetStock::new("A", Some(location), on_hand, None, None).expect("valid");
        shop.sale.set_stock(&set).await.expect("set");
    }
    let hold = |location: &'static str, quantity| {
        let lines = [("A".to_owned(), Some(location.to_owned()), quantity)];
        HoldRequest::new("c", lines, None).expect("valid")
    };
    let refused = shop.sale.hold(hold("east", 2), &key("1")).await;
    assert!(matches!(refused, Err(SaleError::SoldOut(_))), "{refused:?}");
    shop.sale.hold(hold("west", 2), &key("2")).await.expect("held");
    shop.sale.hold(hold("east", 1), &key("3")).await.expect("held");
    let stock = shop.sale.stock("A").await.expect("known");
    let held: Vec<_> =
        stock.locations.iter().map(|cell| (&*cell.location, cell.stock.held)).collect();
    assert_eq!(held, [("east", 1), ("west", 2)]);
}

async fn unknown_names_refused(shop: Shop) {
    shop.put("A", 1).await;
    let refused = shop.hold("1", "c", &[("A", 1), ("B", 1)]).await;
    assert!(
        matches!(&refused, Err(SaleError::UnknownCell(cell)) if cell.sku == "B"),
        "{refused:?}"
    );
    let refused = shop.sale.stock("B").await;
    assert!(matches!(&refused, Err(SaleError::UnknownSku(sku)) if sku == "B"), "{refused:?}");
    let hold = "0123456789abcdef0123456789abcdef".parse().expect("a name");
    assert!(matches!(shop.confirm(hold).await, Err(SaleError::UnknownHold(_))));
    assert!(matches!(shop.sale.cancel(hold).await, Err(SaleError::UnknownHold(_))));
    assert!(matches!(shop.sale.find_hold(hold).await, Err(SaleError::UnknownHold(_))));
    let adjust = AdjustStock::new("B", None, 1, "delivery").expect("valid");
    let refused = shop.sale.adjust(&adjust, &key("2")).await;
    assert!(matches!(refused, Err(SaleError::UnknownCell(_))), "{refused:?}");
    shop.assert_stock("A", 1, 0, 0).await;
}

async fn committed_stock_stays(shop: Shop) {
    shop.put("A", 10).await;
    let hold = shop.hold("1", "c", &[("A", 4)]).await.expect("held").hold;
    shop.confirm(hold).await.expect("confirmed");
    shop.hold("2", "c", &[("A", 3)]).await.expect("held");
    let adjust = |by| AdjustStock::new("A", None, by, "breakage").expect("valid");
    let refused = shop.sale.adjust(&adjust(-4), &key("3")).await;
    assert!(matches!(refused, Err(SaleError::Committed { free: 3 })), "{refused:?}");
    let set = SetStock::new("A", None, 6, None, None).expect("valid");
    let refused = shop.sale.set_stock(&set).await;
    assert!(matches!(refused, Err(SaleError::Committed { free: 3 })), "{refused:?}");
    let adjusted = shop.sale.adjust(&adjust(-3), &key("4")).await.expect("adjusted");
    assert_eq!((adjusted.on_hand, adjusted.held, adjusted.sold), (7, 3, 4));
    let repeated = shop.sale.adjust(&adjust(-3), &key("4")).await.expect("repeated");
    assert_eq!(repeated, adjusted);
    shop.assert_stock("A", 7, 3, 4).await;
    shop.put("A", 20).await;
    shop.assert_stock("A", 20, 3, 4).await;
}
