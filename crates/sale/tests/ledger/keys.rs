//! Idempotency keys.

use sale::SaleError;
use sale::request::AdjustStock;

use crate::fixture::{Fixture, Shop, key};

on_both_ledgers! {
    same_key_has_one_effect_and_one_answer
    other_request_under_a_key_refused
    refusal_leaves_the_key_free
    keys_kept_for_a_day
}

async fn same_key_has_one_effect_and_one_answer(shop: Shop) {
    shop.put("A", 5).await;
    let first = shop.hold("k", "c", &[("A", 2)]).await.expect("held");
    for _ in 0..10 {
        assert_eq!(shop.hold("k", "c", &[("A", 2)]).await.expect("repeated"), first);
    }
    shop.assert_stock("A", 5, 2, 0).await;
    // The answer stays when the hold has ended.
    shop.confirm(first.hold).await.expect("confirmed");
    assert_eq!(shop.hold("k", "c", &[("A", 2)]).await.expect("repeated"), first);
    shop.assert_stock("A", 5, 0, 2).await;
}

async fn other_request_under_a_key_refused(shop: Shop) {
    shop.put("A", 5).await;
    let held = shop.hold("k", "c", &[("A", 2)]).await.expect("held");
    for refused in [
        shop.hold("k", "c", &[("A", 1)]).await.map(|_| ()),
        shop.hold("k", "d", &[("A", 2)]).await.map(|_| ()),
        shop.sale.confirm(held.hold, &key("k")).await.map(|_| ()),
        shop.sale
            .adjust(&AdjustStock::new("A", None, 1, "delivery").expect("valid"), &key("k"))
            .await
            .map(|_| ()),
    ] {
        assert!(matches!(refused, Err(SaleError::KeyReused)), "{refused:?}");
    }
    shop.assert_stock("A", 5, 2, 0).await;
}

/// A customer presses the button again when an item is back.
async fn refusal_leaves_the_key_free(shop: Shop) {
    shop.put("A", 1).await;
    let other = shop.hold("1", "c1", &[("A", 1)]).await.expect("held");
    assert!(matches!(shop.hold("k", "c2", &[("A", 1)]).await, Err(SaleError::SoldOut(_))));
    shop.sale.cancel(other.hold).await.expect("cancelled");
    shop.hold("k", "c2", &[("A", 1)]).await.expect("held");
}

async fn keys_kept_for_a_day(shop: Shop) {
    shop.put("A", 5).await;
    let held = shop.hold("k", "c", &[("A", 1)]).await.expect("held");
    assert_eq!(shop.ledger.forget_keys().await.expect("swept"), 0);
    assert_eq!(shop.hold("k", "c", &[("A", 1)]).await.expect("repeated"), held);
}

/// On one thread no call to the ledger begins before both requests are there.
#[tokio::test]
async fn key_in_flight_refused() {
    for fixture in [Fixture::postgres().await, Fixture::sqlite().await] {
        let shop = fixture.shop().await;
        shop.put("A", 5).await;
        let [first, second] = [(); 2].map(|()| shop.hold("k", "c", &[("A", 1)]));
        let (first, second) = tokio::join!(first, second);
        assert!(matches!(second, Err(SaleError::KeyInFlight)), "{second:?}");
        let again = shop.hold("k", "c", &[("A", 1)]).await;
        assert_eq!(again.expect("repeated"), first.expect("held"));
        shop.assert_stock("A", 5, 1, 0).await;
    }
}

/// Another node executes a request with the key, for any SKU: no batch waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_in_flight_at_another_node_refused() {
    let fixture = Fixture::postgres().await;
    let shop = fixture.shop().await;
    shop.put("A", 5).await;
    let (other, connection) =
        tokio_postgres::connect(&fixture.postgres_url(), tokio_postgres::NoTls)
            .await
            .expect("connected");
    tokio::spawn(connection);
    let lock = "begin; select pg_advisory_xact_lock(hashtextextended('k', 7409))";
    other.batch_execute(lock).await.expect("locked");
    let (refused, neighbour) =
        tokio::join!(shop.hold("k", "c", &[("A", 1)]), shop.hold("l", "d", &[("A", 1)]));
    assert!(matches!(refused, Err(SaleError::KeyInFlight)), "{refused:?}");
    neighbour.expect("held");
    other.batch_execute("commit").await.expect("committed");
    shop.hold("k", "c", &[("A", 1)]).await.expect("held");
}

/// A key that is known violates an index inside the function. Shops retry a lot, and their database's log must not be
/// full of errors that are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_leave_no_error_in_the_log() {
    let fixture = Fixture::postgres().await;
    let shop = fixture.shop().await;
    shop.put("A", 9).await;
    let held = shop.hold("k", "c", &[("A", 1)]).await.expect("held");
    let again = shop.hold("k", "c", &[("A", 1)]).await;
    assert_eq!(again.expect("repeated"), held);
    let confirmed = shop.confirm(held.hold).await.expect("confirmed");
    assert_eq!(shop.confirm(held.hold).await.expect("repeated"), confirmed);
    let errors: Vec<_> =
        fixture.postgres_log().into_iter().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors, [""; 0]);
}
