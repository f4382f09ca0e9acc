//! Refusals without a call for stock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coherence::{Clock, Mono};
use prometheus_client::registry::Registry;
use sale::request::{AdjustStock, SetStock};
use sale::{Sale, SaleError, SaleMetrics};

use crate::fixture::{DEADLINE, Fixture, Shop, key, request};

on_both_ledgers! {
    repeat_of_a_hold_is_not_refused
    units_back_at_this_node_are_sold_at_once
    units_back_at_another_node_are_sold_after_the_bound
    lines_that_fit_are_held
}

const BOUND: Duration = Duration::from_millis(100);

/// A clock that stands still. So a reading is fresh until the test moves the clock.
#[derive(Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn mono(&self) -> Mono {
        Mono(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        1
    }
}

/// A node with a fast counter on the ledger of another.
fn counting(shop: &Shop) -> (Shop, Arc<HandClock>) {
    let clock = Arc::new(HandClock::default());
    let metrics = SaleMetrics::new(&mut Registry::default());
    let sale = Sale::new(Arc::clone(&shop.ledger), clock.clone(), metrics);
    let ledger = Arc::clone(&shop.ledger);
    (Shop { sale: sale.with_early_refusals(BOUND), ledger }, clock)
}

async fn assert_sold_out(shop: &Shop, name: &str) {
    let refused = shop.hold(name, "c", &[("A", 1)]).await;
    assert!(
        matches!(&refused, Err(SaleError::SoldOut(lines)) if lines[0].available == 0),
        "{refused:?}"
    );
}

/// A client that got no answer repeats its request when the last unit is gone: to itself.
async fn repeat_of_a_hold_is_not_refused(other: Shop) {
    let (shop, _) = counting(&other);
    shop.put("A", 2).await;
    let first = shop.hold("first", "c", &[("A", 1)]).await.expect("held");
    let last = other.hold("last", "c", &[("A", 1)]).await.expect("held at another node");
    for n in 0..3 {
        assert_sold_out(&shop, &format!("late {n}")).await;
    }
    assert_eq!(shop.hold("first", "c", &[("A", 1)]).await.expect("repeated"), first);
    assert_eq!(shop.hold("last", "c", &[("A", 1)]).await.expect("repeated"), last);
    let reused = shop.hold("last", "another", &[("A", 1)]).await;
    assert!(matches!(reused, Err(SaleError::KeyReused)), "{reused:?}");
}

async fn units_back_at_this_node_are_sold_at_once(other: Shop) {
    let (shop, _) = counting(&other);
    shop.put("A", 1).await;
    shop.put("B", 1).await;
    let sold_out = async |name: &str| assert_sold_out(&shop, name).await;
    let basket = shop.hold("1", "c", &[("A", 1), ("B", 1)]).await.expect("held");
    sold_out("2").await;
    shop.sale.cancel(basket.hold).await.expect("cancelled");
    let alone = shop.hold("3", "c", &[("A", 1)]).await.expect("a basket gave it back");
    sold_out("4").await;
    shop.sale.cancel(alone.hold).await.expect("cancelled");
    shop.hold("5", "c", &[("A", 1)]).await.expect("a hold gave it back");
    sold_out("6").await;
    let delivery = AdjustStock::new("A", None, 1, "delivery").expect("valid");
    shop.sale.adjust(&delivery, &key("7")).await.expect("adjusted");
    shop.hold("8", "c", &[("A", 1)]).await.expect("a delivery");
    sold_out("9").await;
    shop.sale
        .set_stock(&SetStock::new("A", None, 3, None, None).expect("valid"))
        .await
        .expect("set");
    let short = shop.sale.hold(request("c", &[("A", 1)], 1), &key("10")).await.expect("a count");
    sold_out("11").await;
    shop.wait_expired(short.hold).await;
    let sweeper = shop.sale.clone();
    let sweeper = tokio::spawn(async move { sweeper.run_sweeper(|_| ()).await });
    let held = async {
        while shop.hold("12", "c", &[("A", 1)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, held).await.expect("an expiry");
    sweeper.abort();
}

async fn units_back_at_another_node_are_sold_after_the_bound(other: Shop) {
    let (shop, clock) = counting(&other);
    shop.put("A", 1).await;
    let last = other.hold("last", "c", &[("A", 1)]).await.expect("held");
    assert_sold_out(&shop, "1").await;
    other.sale.cancel(last.hold).await.expect("cancelled");
    clock.0.store(BOUND.as_nanos() as u64 - 1, Ordering::Relaxed);
    assert_sold_out(&shop, "2").await;
    clock.0.store(BOUND.as_nanos() as u64, Ordering::Relaxed);
    shop.hold("3", "c", &[("A", 1)]).await.expect("held after the bound");
}

async fn lines_that_fit_are_held(other: Shop) {
    let (shop, _) = counting(&other);
    shop.put("A", 5).await;
    let refused = shop.hold("1", "c", &[("A", 6)]).await;
    assert!(matches!(refused, Err(SaleError::SoldOut(_))), "{refused:?}");
    shop.hold("2", "c", &[("A", 5)]).await.expect("held");
}

/// Neither the lock of the SKU nor a stopped ledger is hidden: a refusal needs no lock, and needs an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusal_waits_for_no_lock_and_needs_the_ledger() {
    let fixture = Fixture::postgres().await;
    let (shop, _) = counting(&fixture.shop().await);
    shop.put("A", 0).await;
    assert_sold_out(&shop, "1").await;
    let (other, connection) =
        tokio_postgres::connect(&fixture.postgres_url(), tokio_postgres::NoTls)
            .await
            .expect("connected");
    tokio::spawn(connection);
    other.batch_execute("begin; select from tidegate.sku for update").await.expect("locked");
    assert_sold_out(&shop, "2").await;
    other.batch_execute("rollback").await.expect("unlocked");
    drop(fixture);
    let unknown = shop.hold("3", "c", &[("A", 1)]).await;
    assert!(matches!(unknown, Err(SaleError::Ledger(_))), "{unknown:?}");
}
