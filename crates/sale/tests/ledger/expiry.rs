//! Expiry by the database's clock.

use std::time::Duration;

use harness::{Postgres, WallClock};
use sale::SaleError;
use sale::request::ExtendRequest;
use sale::rules::HoldEnd;

use crate::fixture::{DEADLINE, Fixture, Shop, key, request};

on_both_ledgers! {
    due_hold_counts_as_expired_without_a_sweeper
    expired_units_sold_again_at_once
    sweeper_records_one_end
    extension_delays_expiry
}

async fn due_hold_counts_as_expired_without_a_sweeper(shop: Shop) {
    shop.put("A", 1).await;
    let hold = shop.sale.hold(request("c", &[("A", 1)], 1), &key("1")).await.expect("held").hold;
    shop.wait_expired(hold).await;
    for ended in [
        shop.confirm(hold).await.map(|_| ()),
        shop.sale
            .extend(&ExtendRequest::new(hold, None).expect("valid"), &key("e"))
            .await
            .map(|_| ()),
    ] {
        assert!(matches!(ended, Err(SaleError::HoldEnded(HoldEnd::Expired))), "{ended:?}");
    }
    assert_eq!(shop.sale.cancel(hold).await.expect("ended"), HoldEnd::Expired);
    shop.assert_stock("A", 1, 0, 0).await;
    let status = shop.ledger.status().await.expect("counted");
    assert_eq!((status.active_holds, status.due_holds, status.held), (1, 1, 1), "{status:?}");
}

async fn expired_units_sold_again_at_once(shop: Shop) {
    shop.put("A", 1).await;
    shop.put("B", 1).await;
    let basket = request("c1", &[("A", 1), ("B", 1)], 1);
    let expired = shop.sale.hold(basket, &key("1")).await.expect("held").hold;
    assert!(shop.hold("2", "c2", &[("A", 1)]).await.is_err());
    shop.wait_expired(expired).await;
    let held = shop.hold("3", "c2", &[("A", 1)]).await.expect("held");
    shop.confirm(held.hold).await.expect("confirmed");
    shop.assert_stock("A", 1, 0, 1).await;
    shop.assert_stock("B", 1, 0, 0).await;
}

async fn sweeper_records_one_end(shop: Shop) {
    shop.put("A", 500).await;
    for n in 0..100 {
        shop.sale.hold(request("c", &[("A", 2)], 1), &key(n.to_string())).await.expect("held");
    }
    let kept = shop.hold("kept", "c", &[("A", 1)]).await.expect("held");
    // Two nodes sweep.
    let sweepers = [(); 2].map(|()| {
        let sale = shop.sale.clone();
        tokio::spawn(async move { sale.run_sweeper(|swept| swept.expect("swept")).await })
    });
    let swept = async {
        while shop.ledger.status().await.expect("counted").active_holds > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, swept).await.expect("swept in time");
    sweepers.iter().for_each(tokio::task::JoinHandle::abort);
    shop.assert_stock("A", 500, 1, 0).await;
    shop.confirm(kept.hold).await.expect("confirmed");
}

async fn extension_delays_expiry(shop: Shop) {
    shop.put("A", 2).await;
    let extended =
        shop.sale.hold(request("c", &[("A", 1)], 2), &key("1")).await.expect("held").hold;
    let extend = ExtendRequest::new(extended, Some(600)).expect("valid");
    shop.sale.extend(&extend, &key("e")).await.expect("extended");
    let other = shop.sale.hold(request("c", &[("A", 1)], 2), &key("2")).await.expect("held").hold;
    shop.wait_expired(other).await;
    shop.confirm(extended).await.expect("confirmed");
}

/// The database's clock decides, and the node's does not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_an_hour_ahead_expires_holds_once() {
    let clock = WallClock::start().expect("a clock");
    let fixture = Fixture::on_postgres(Postgres::builder().clock(&clock));
    fixture.options.migrate().await.expect("migrated");
    let shop = fixture.shop().await;
    shop.put("A", 1).await;
    let hold = shop.hold("1", "c", &[("A", 1)]).await.expect("held").hold;
    clock.set_offset(3_600).expect("shifted");
    let late = shop.confirm(hold).await;
    assert!(matches!(late, Err(SaleError::HoldEnded(HoldEnd::Expired))), "{late:?}");
    let held = shop.hold("2", "d", &[("A", 1)]).await.expect("held");
    shop.confirm(held.hold).await.expect("confirmed");
    assert_eq!(shop.ledger.audit().await.expect("audited"), []);
}
