//! Policies and limits.

use sale::SaleError;
use sale::request::HoldRequest;
use sale::rules::Policy;

use crate::fixture::{Shop, key, request};

on_both_ledgers! {
    oversell_ends_at_its_bound
    percent_rounded_down
    stricter_policy_needs_the_stock
    limit_holds_over_twelve_tabs
    limit_counts_earlier_holds
    limit_returns_with_the_stock
}

async fn oversell_ends_at_its_bound(shop: Shop) {
    shop.put_with("A", 2, Some(Policy::OversellUnits(1)), None).await;
    for n in 0..3 {
        let held = shop.hold(&n.to_string(), "c", &[("A", 1)]).await.expect("held");
        shop.confirm(held.hold).await.expect("confirmed");
    }
    let refused = shop.hold("4", "c", &[("A", 1)]).await;
    assert!(matches!(refused, Err(SaleError::SoldOut(_))), "{refused:?}");
    shop.assert_stock("A", 2, 0, 3).await;
}

async fn percent_rounded_down(shop: Shop) {
    shop.put_with("A", 150, Some(Policy::OversellPercent(1)), None).await;
    shop.hold("1", "c", &[("A", 151)]).await.expect("held");
    assert!(shop.hold("2", "c", &[("A", 1)]).await.is_err());
}

async fn stricter_policy_needs_the_stock(shop: Shop) {
    use sale::request::SetStock;
    shop.put_with("A", 2, Some(Policy::OversellUnits(2)), None).await;
    shop.hold("1", "c", &[("A", 4)]).await.expect("held");
    let strict = SetStock::new("A", None, 2, Some(Policy::Strict), None).expect("valid");
    let refused = shop.sale.set_stock(&strict).await;
    assert!(matches!(refused, Err(SaleError::Committed { .. })), "{refused:?}");
    shop.put_with("A", 4, Some(Policy::Strict), None).await;
    assert!(shop.hold("2", "c", &[("A", 1)]).await.is_err());
}

async fn limit_holds_over_twelve_tabs(shop: Shop) {
    shop.put_with("A", 100, None, Some(2)).await;
    let tabs = (0..12).map(|tab| {
        let shop = shop.clone();
        let hold = async move { shop.hold(&format!("tab {tab}"), "c", &[("A", 1)]).await };
        tokio::spawn(hold)
    });
    let mut held = 0;
    for tab in tabs.collect::<Vec<_>>() {
        match tab.await.expect("joined") {
            Ok(_) => held += 1,
            Err(SaleError::CustomerLimit(lines)) => assert!(lines[0].available <= 1, "{lines:?}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(held, 2);
    shop.hold("other", "another customer", &[("A", 2)]).await.expect("held");
    shop.assert_stock("A", 100, 4, 0).await;
}

async fn limit_counts_earlier_holds(shop: Shop) {
    shop.put("A", 10).await;
    let sold = shop.hold("1", "c", &[("A", 1)]).await.expect("held");
    shop.confirm(sold.hold).await.expect("confirmed");
    let back = shop.hold("2", "c", &[("A", 5)]).await.expect("held");
    shop.sale.cancel(back.hold).await.expect("cancelled");
    shop.put_with("A", 10, None, Some(2)).await;
    let refused = shop.hold("3", "c", &[("A", 2)]).await.expect_err("1 and 2 of 2");
    assert!(matches!(&refused, SaleError::CustomerLimit(lines) if lines[0].available == 1));
    shop.hold("4", "c", &[("A", 1)]).await.expect("held");
}

async fn limit_returns_with_the_stock(shop: Shop) {
    shop.put_with("A", 10, None, Some(1)).await;
    shop.put("B", 10).await;
    let cancelled = shop.hold("1", "c", &[("A", 1), ("B", 1)]).await.expect("held");
    assert!(shop.hold("2", "c", &[("A", 1)]).await.is_err());
    shop.sale.cancel(cancelled.hold).await.expect("cancelled");
    let short = shop.sale.hold(request("c", &[("A", 1)], 1), &key("3")).await.expect("held");
    shop.wait_expired(short.hold).await;
    // Its expiry need not be recorded.
    let held = shop.hold("4", "c", &[("A", 1)]).await.expect("held");
    shop.confirm(held.hold).await.expect("confirmed");
    let both = HoldRequest::new("c", [("A".to_owned(), None, 1), ("B".to_owned(), None, 1)], None);
    let refused = shop.sale.hold(both.expect("valid"), &key("5")).await;
    assert!(matches!(&refused, Err(SaleError::CustomerLimit(lines)) if lines.len() == 1));
}
