//! Checkouts in batches: each has its own outcome.

use sale::ledger::{BeginOutcome, ChangeOutcome, CheckoutChange, NewCheckout};
use sale::request::RequestKey;
use sale::rules::CheckoutInput::{Cancel, Done, HoldEnded, Ordered, Sent};
use sale::rules::{HoldEnd, HoldState, Phase};
use sale::{HoldId, Lane};

use crate::checkouts::{
    TO_ORDERING, apply, begin, change, euro, held, id, is_recorded, new, record,
};
use crate::fixture::{Fixture, Shop, key};

on_both_ledgers! {
    begins_of_a_batch_have_their_own_outcomes
    begin_records_its_first_change
    bad_order_fails_alone_in_its_batch
    repeated_batch_has_no_second_effect
    short_hold_is_kept_by_each_change
    orders_of_baskets_are_whole
}

pub(crate) async fn begin_all(shop: &Shop, batch: Vec<NewCheckout>) -> Vec<BeginOutcome> {
    shop.ledger.begin_checkouts(batch.into()).await.expect("outcomes")
}

pub(crate) async fn change_all(shop: &Shop, batch: Vec<CheckoutChange>) -> Vec<ChangeOutcome> {
    shop.ledger.change_checkouts(batch.into()).await.expect("outcomes")
}

/// Holds one unit of A each.
async fn holds(shop: &Shop, count: u64) -> Vec<HoldId> {
    shop.put("A", count.cast_signed()).await;
    assert!(shop.ledger.set_price("A", euro(500)).await.expect("set"));
    let mut holds = Vec::new();
    for number in 0..count {
        let held = shop.hold(&format!("hold {number}"), "c", &[("A", 1)]).await.expect("held");
        holds.push(held.hold);
    }
    holds
}

fn of(number: usize, hold: HoldId) -> NewCheckout {
    new(number as u64, &format!("pay {number}"), number as u64, hold)
}

/// Begins a checkout for each hold.
async fn begun(shop: &Shop, holds: &[HoldId]) {
    let batch = holds.iter().enumerate().map(|(number, hold)| of(number, *hold)).collect();
    let outcomes = begin_all(shop, batch).await;
    assert!(outcomes.iter().all(|outcome| *outcome == BeginOutcome::Begun), "{outcomes:?}");
}

async fn placed(shop: &Shop, number: u64) -> CheckoutChange {
    let inputs = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    change(&record(shop, id(number)).await, &inputs)
}

async fn begins_of_a_batch_have_their_own_outcomes(shop: Shop) {
    let holds = holds(&shop, 7).await;
    shop.sale.cancel(holds[2]).await.expect("cancelled");
    assert_eq!(begin(&shop, &of(3, holds[3])).await, BeginOutcome::Begun);
    assert_eq!(begin(&shop, &new(40, "pay 4", 40, holds[4])).await, BeginOutcome::Begun);
    let unknown = HoldId::new(9, Lane::from_number(9), 9);
    let batch = vec![
        of(0, holds[0]),
        of(1, unknown),
        of(2, holds[2]),
        // Another tab of the same payment, under another key.
        NewCheckout {
            key: RequestKey { key: key("tab"), digest: 3 },
            id: id(30),
            ..of(3, holds[3])
        },
        // The key of another payment, and another payment of the hold.
        of(4, holds[5]),
        new(41, "pay 41", 41, holds[4]),
        of(6, holds[6]),
    ];
    let outcomes = begin_all(&shop, batch).await;
    assert_eq!(
        outcomes,
        [
            BeginOutcome::Begun,
            BeginOutcome::UnknownHold,
            BeginOutcome::HoldEnded(HoldEnd::Cancelled),
            BeginOutcome::Known(id(3)),
            BeginOutcome::KeyReused,
            BeginOutcome::Other(id(40)),
            BeginOutcome::Begun,
        ]
    );
    for number in [0, 6] {
        let begun = record(&shop, id(number)).await;
        assert_eq!((begun.state.phase, begun.version, begun.tries), (Phase::Preparing, 1, 1));
        assert_eq!((&*begun.customer, begun.price), ("c", euro(500)));
    }
}

async fn begin_records_its_first_change(shop: Shop) {
    let hold = held(&shop).await;
    let mut checkout = of(1, hold);
    assert_eq!(begin(&shop, &checkout).await, BeginOutcome::Begun);
    let begun = record(&shop, id(1)).await;
    let declined = change(
        &begun,
        &[Sent, Done, Sent, sale::rules::CheckoutInput::Declined { retryable: false }],
    );
    assert!(is_recorded(apply(&shop, &declined).await));
    // The second attempt of a hold is decided alone, and has the same effect.
    for (number, hold) in
        [(2, hold), (3, shop.hold("b", "c", &[("A", 1)]).await.expect("held").hold)]
    {
        checkout = of(number, hold);
        let number = number as u64;
        let unsent = sale::ledger::CheckoutRecord { id: id(number), reason: None, ..begun.clone() };
        let first = CheckoutChange { lease_ms: 60_000, ..change(&unsent, &[Done, Sent]) };
        checkout.first = Some(first.clone());
        assert_eq!(begin(&shop, &checkout).await, BeginOutcome::Begun);
        let stored = record(&shop, id(number)).await;
        assert_eq!((stored.state, stored.version, stored.tries), (first.state, 2, 0));
        assert_eq!(stored.reference, first.reference);
        assert_eq!(
            shop.ledger.lease_due(10, 1).await.expect("read"),
            [],
            "its beginner has the lease"
        );
        assert!(is_recorded(apply(&shop, &change(&stored, &[Done, Ordered, Sent, Done])).await));
    }
    shop.assert_stock("A", 5, 0, 2).await;
}

async fn bad_order_fails_alone_in_its_batch(shop: Shop) {
    let holds = holds(&shop, 8).await;
    begun(&shop, &holds).await;
    assert!(is_recorded(apply(&shop, &placed(&shop, 6).await).await));
    let mut batch = Vec::new();
    for number in 0..6 {
        batch.push(placed(&shop, number).await);
    }
    shop.sale.cancel(holds[1]).await.expect("cancelled");
    shop.confirm(holds[2]).await.expect("confirmed");
    assert!(is_recorded(apply(&shop, &change(&record(&shop, id(3)).await, &[Sent, Done])).await));
    batch[4].id = id(99);
    // An order is cancelled in the same batch, and a payment announced.
    let mut cancelled = change(&record(&shop, id(6)).await, &[Cancel, Sent, Done]);
    cancelled.request = Some(RequestKey { key: key("cancel"), digest: 1 });
    batch.push(cancelled);
    batch.push(change(&record(&shop, id(7)).await, &[Sent, Done, Sent]));
    let outcomes = change_all(&shop, batch).await;
    let words: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            ChangeOutcome::Recorded { ordered_at_ms: Some(_) } => "ordered",
            ChangeOutcome::Recorded { ordered_at_ms: None } => "recorded",
            ChangeOutcome::HoldEnded => "hold ended",
            ChangeOutcome::Stale => "stale",
            ChangeOutcome::KeyKnown => "key",
        })
        .collect();
    let expected = [
        "ordered",
        "hold ended",
        "hold ended",
        "stale",
        "stale",
        "ordered",
        "recorded",
        "recorded",
    ];
    assert_eq!(words, expected);
    // On hand: eight, and the unit of the cancelled order.
    shop.assert_stock("A", 9, 3, 4).await;
    let ChangeOutcome::Recorded { ordered_at_ms } = outcomes[5] else { panic!("{outcomes:?}") };
    assert_eq!(record(&shop, id(5)).await.ordered_at_ms, ordered_at_ms);
    assert_eq!(record(&shop, id(1)).await.version, 1, "nothing of a refused change is recorded");
    let state = shop.sale.find_hold(holds[0]).await.expect("known").state;
    assert_eq!(state, HoldState::Ended(HoldEnd::Confirmed));
    let events = shop.ledger.order_events(None, 100).await.expect("read");
    assert_eq!(events.len(), 3, "{events:?}");
    // The payments whose holds have ended are given up.
    for number in [1, 2] {
        let given_up = [&TO_ORDERING[..], &[HoldEnded, Sent, Done]].concat();
        let given_up = change(&record(&shop, id(number)).await, &given_up);
        assert!(is_recorded(apply(&shop, &given_up).await));
    }
}

/// A node whose answer was lost asks again.
async fn repeated_batch_has_no_second_effect(shop: Shop) {
    let holds = holds(&shop, 3).await;
    let batch = || holds.iter().enumerate().map(|(number, hold)| of(number, *hold)).collect();
    begin_all(&shop, batch()).await;
    let again = begin_all(&shop, batch()).await;
    assert_eq!(again, [0, 1, 2].map(|number| BeginOutcome::Known(id(number))));
    let mut changes = Vec::new();
    for number in 0..3 {
        changes.push(placed(&shop, number).await);
    }
    let outcomes = change_all(&shop, changes.clone()).await;
    assert!(outcomes.into_iter().all(is_recorded));
    assert_eq!(change_all(&shop, changes).await, [ChangeOutcome::Stale; 3]);
    shop.assert_stock("A", 3, 0, 3).await;
    assert_eq!(shop.ledger.order_events(None, 100).await.expect("read").len(), 3);
}

async fn short_hold_is_kept_by_each_change(shop: Shop) {
    shop.put("A", 5).await;
    let request = crate::fixture::request("c", &[("A", 1)], 30);
    let receipt = shop.sale.hold(request, &key("short")).await.expect("held");
    let deadline = || async {
        match shop.sale.find_hold(receipt.hold).await.expect("known").state {
            HoldState::Active { deadline_ms, .. } => deadline_ms,
            state => panic!("{state:?}"),
        }
    };
    assert_eq!(begin(&shop, &of(1, receipt.hold)).await, BeginOutcome::Begun);
    let kept = deadline().await;
    assert!(kept >= receipt.deadline_ms + 29_000, "{kept}");
    let mut announced = change(&record(&shop, id(1)).await, &[Done, Sent]);
    announced.keep_hold_ms = 120_000;
    assert!(is_recorded(apply(&shop, &announced).await));
    assert!(deadline().await >= kept + 59_000);
    let mut again = change(&record(&shop, id(1)).await, &[Sent]);
    (again.keep_hold_ms, again.lease_ms) = (1_000, 0);
    let kept = deadline().await;
    assert!(is_recorded(apply(&shop, &again).await));
    assert_eq!(deadline().await, kept, "a longer deadline stays");
}

async fn orders_of_baskets_are_whole(shop: Shop) {
    shop.put("A", 5).await;
    shop.put("B", 5).await;
    let mut batch = Vec::new();
    for number in 0..3 {
        let lines = [("A", 1), ("B", 1)];
        let held = shop.hold(&format!("h{number}"), "c", &lines).await.expect("held").hold;
        assert_eq!(begin(&shop, &of(number, held)).await, BeginOutcome::Begun);
        batch.push(placed(&shop, number as u64).await);
        if number == 1 {
            shop.sale.cancel(held).await.expect("cancelled");
        }
    }
    let outcomes = change_all(&shop, batch).await;
    assert_eq!(outcomes[1], ChangeOutcome::HoldEnded);
    assert!(is_recorded(outcomes[0]) && is_recorded(outcomes[2]));
    shop.assert_stock("A", 5, 0, 2).await;
    shop.assert_stock("B", 5, 0, 2).await;
}

/// Two nodes begin and place the same orders, in batches that cross, while customers cancel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_batches_of_nodes_order_once() {
    const ORDERS: u64 = 24;
    let fixture = Fixture::postgres().await;
    let nodes = [fixture.shop().await, fixture.shop().await];
    let holds = holds(&nodes[0], ORDERS).await;
    let begins = nodes.iter().enumerate().map(|(node, shop)| {
        let (shop, mut holds) = (shop.clone(), holds.clone());
        if node == 1 {
            holds.reverse();
        }
        tokio::spawn(async move {
            let numbered = holds.into_iter().enumerate().map(|(number, hold)| NewCheckout {
                // A tab of the same payment on each node.
                key: RequestKey { key: key(format!("{node} {hold}")), digest: 7 },
                id: id((node * 100 + number) as u64),
                ..of(number, hold)
            });
            begin_all(&shop, numbered.collect()).await
        })
    });
    let mut begun = Vec::new();
    for outcomes in begins.collect::<Vec<_>>() {
        for outcome in outcomes.await.expect("joined") {
            assert!(matches!(outcome, BeginOutcome::Begun | BeginOutcome::Known(_)), "{outcome:?}");
            begun.push(outcome);
        }
    }
    let new = begun.iter().filter(|outcome| **outcome == BeginOutcome::Begun).count();
    assert_eq!(new, ORDERS as usize);
    let records = nodes[0].ledger.recent_checkouts(60_000).await.expect("read");
    let inputs = [&TO_ORDERING[..], &[Ordered, Sent, Done]].concat();
    let batch: Vec<_> = records.iter().map(|record| change(record, &inputs)).collect();
    let mut tasks = Vec::new();
    for (node, shop) in nodes.iter().enumerate() {
        let (shop, mut batch) = (shop.clone(), batch.clone());
        if node == 1 {
            batch.reverse();
        }
        tasks.push(tokio::spawn(async move { change_all(&shop, batch).await }));
    }
    let cancels = holds.iter().rev().step_by(3).map(|hold| {
        let (shop, hold) = (nodes[1].clone(), *hold);
        tokio::spawn(async move { shop.sale.cancel(hold).await.is_ok() })
    });
    let cancels: Vec<_> = cancels.collect();
    let mut ordered = 0;
    for task in tasks {
        let outcomes = task.await.expect("joined");
        ordered += outcomes.into_iter().filter(|outcome| is_recorded(*outcome)).count();
    }
    let mut cancelled = 0;
    for cancel in cancels {
        cancelled += usize::from(cancel.await.expect("joined"));
    }
    assert_eq!(ordered + cancelled, ORDERS as usize);
    nodes[0].assert_stock("A", ORDERS.cast_signed(), 0, ordered as i64).await;
    let deadlocks = fixture.postgres_log().iter().filter(|line| line.contains("deadlock")).count();
    assert_eq!(deadlocks, 0);
    // The payments of the cancelled ones are given up.
    for open in nodes[0].ledger.recent_checkouts(0).await.expect("read") {
        if open.due_in_ms.is_some() {
            let given_up = [&TO_ORDERING[..], &[HoldEnded, Sent, Done]].concat();
            assert!(is_recorded(apply(&nodes[0], &change(&open, &given_up)).await));
        }
    }
    assert_eq!(nodes[1].ledger.audit().await.expect("audited"), []);
}

/// The statement for batches leaves a row that another session has locked to one call of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_checkout_does_not_stop_its_batch() {
    let fixture = Fixture::postgres().await;
    let shop = fixture.shop().await;
    let holds = holds(&shop, 3).await;
    begun(&shop, &holds).await;
    let mut batch = Vec::new();
    for number in 0..3 {
        batch.push(placed(&shop, number).await);
    }
    let url = fixture.postgres_url();
    let (other, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    let lock = format!("begin; select 1 from tidegate.checkout where id = '{}' for update", id(0));
    other.batch_execute(&lock).await.expect("locked");
    let changing = tokio::spawn({
        let shop = shop.clone();
        async move { change_all(&shop, batch).await }
    });
    let others_are_ordered = async {
        while shop.stock("A").await.sold < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::fixture::DEADLINE, others_are_ordered).await.expect("ordered");
    assert!(!changing.is_finished());
    other.batch_execute("commit").await.expect("unlocked");
    assert!(changing.await.expect("joined").into_iter().all(is_recorded));
    shop.assert_stock("A", 3, 0, 3).await;
}
