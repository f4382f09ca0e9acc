//! Many clients at one instant, over two nodes.

use sale::SaleError;
use sale::rules::HoldEnd;

use crate::fixture::{Fixture, Shop};

on_both_ledgers! {
    last_unit_sold_once
    crossing_baskets_do_not_deadlock
    hold_has_one_end
}

async fn last_unit_sold_once(shop: Shop) {
    shop.put("A", 50).await;
    let buyers = (0..200).map(|n| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let held = shop.hold(&format!("b{n}"), &format!("c{n}"), &[("A", 1)]).await?;
            shop.confirm(held.hold).await
        })
    });
    let mut sold = 0;
    for buyer in buyers.collect::<Vec<_>>() {
        match buyer.await.expect("joined") {
            Ok(_) => sold += 1,
            Err(SaleError::SoldOut(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(sold, 50);
    shop.assert_stock("A", 50, 0, 50).await;
}

async fn crossing_baskets_do_not_deadlock(shop: Shop) {
    let skus = ["A", "B", "C", "D"];
    for sku in skus {
        shop.put(sku, 40).await;
    }
    let buyers = (0..120_usize).map(|n| {
        let shop = shop.clone();
        let (first, second) = (skus[n % 4], skus[(n / 4 + n + 1) % 4]);
        tokio::spawn(async move {
            let lines = [(first, 1), (second, 1)];
            let held = shop.hold(&format!("b{n}"), "c", &lines).await?;
            if n % 2 == 0 { shop.confirm(held.hold).await.map(|_| ()) } else { Ok(()) }
        })
    });
    for buyer in buyers.collect::<Vec<_>>() {
        match buyer.await.expect("joined") {
            Ok(()) | Err(SaleError::SoldOut(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn hold_has_one_end(shop: Shop) {
    shop.put("A", 30).await;
    for n in 0..30 {
        let hold = shop.hold(&format!("b{n}"), "c", &[("A", 1)]).await.expect("held").hold;
        let (confirmed, cancelled) = tokio::join!(shop.confirm(hold), shop.sale.cancel(hold));
        match (&confirmed, &cancelled) {
            (Ok(_), Err(SaleError::HoldEnded(HoldEnd::Confirmed)))
            | (Err(SaleError::HoldEnded(HoldEnd::Cancelled)), Ok(HoldEnd::Cancelled)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Two nodes, each with its own batches, and the same keys on both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_stock_and_keys() {
    let fixture = Fixture::postgres().await;
    let nodes = [fixture.shop().await, fixture.shop().await];
    nodes[0].put("A", 100).await;
    let mut tasks = Vec::new();
    for n in 0..150 {
        for node in &nodes {
            let node = node.clone();
            let task =
                async move { node.hold(&format!("k{n}"), &format!("c{n}"), &[("A", 1)]).await };
            tasks.push((n, tokio::spawn(task)));
        }
    }
    let mut held = std::collections::BTreeMap::new();
    for (n, task) in tasks {
        match task.await.expect("joined") {
            Ok(answer) => {
                let first = *held.entry(n).or_insert(answer);
                assert_eq!(first, answer, "one answer for a key");
            }
            Err(SaleError::SoldOut(_) | SaleError::KeyInFlight) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(held.len(), 100);
    nodes[1].assert_stock("A", 100, 100, 0).await;
    assert_eq!(nodes[0].ledger.audit().await.expect("audited"), []);
}
