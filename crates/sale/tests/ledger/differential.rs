//! PostgreSQL's functions and the pure rules, which SQLite's ledger calls, give the same outcomes to the same
//! requests.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use sale::HoldId;
use sale::ledger::{EndHold, Ledger, NewHold, Outcome};
use sale::request::{
    AdjustStock, ExtendRequest, HoldRequest, IdempotencyKey, RequestKey, SetStock,
};
use sale::rules::{HoldEnd, Policy};

use crate::fixture::Fixture;

/// A hold: the numbers of its key and of its customer, and lines of item, location and quantity.
type Wanted = (u8, u8, Vec<(u8, u8, i64)>);

/// One call. Holds are numbers: the n-th that was asked for.
#[derive(Clone, Debug)]
enum Call {
    Hold(Vec<Wanted>),
    End(Vec<(u16, u8, Option<u8>)>),
    Extend(u16, u8),
    Set(u8, u8, i64, u8, u8),
    Adjust(u8, u8, i64, u8),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let line = (0..4_u8, 0..2_u8, 1..4_i64);
    let hold = (0..60_u8, 0..3_u8, prop::collection::vec(line.clone(), 1..4));
    let of_one_line = (0..60_u8, 0..3_u8, prop::collection::vec(line, 1));
    let call = prop_oneof![
        3 => prop::collection::vec(hold, 1..8).prop_map(Call::Hold),
        3 => prop::collection::vec(of_one_line, 1..5).prop_map(Call::Hold),
        4 => prop::collection::vec((0..80_u16, 0..2_u8, prop::option::of(0..60_u8)), 1..8).prop_map(Call::End),
        1 => (0..80_u16, 0..60_u8).prop_map(|(hold, key)| Call::Extend(hold, key)),
        2 => (0..4_u8, 0..2_u8, 0..20_i64, 0..4_u8, 0..4_u8).prop_map(|(a, b, c, d, e)| Call::Set(a, b, c, d, e)),
        1 => (0..4_u8, 0..2_u8, -5..5_i64, 0..60_u8).prop_map(|(a, b, c, d)| Call::Adjust(a, b, c, d)),
    ];
    prop::collection::vec(call, 30..60)
}

fn key(number: u8, digest: u64) -> RequestKey {
    let key = IdempotencyKey::new(&format!("k{number}")).expect("a key");
    RequestKey { key, digest }
}

fn sku(number: u8) -> String {
    format!("SKU {number}")
}

fn location(number: u8) -> String {
    ["main", "east"][usize::from(number)].to_owned()
}

/// Runs a call and returns its outcomes without times.
async fn run(ledger: &dyn Ledger, call: &Call, holds: &mut Vec<HoldId>, first: bool) -> String {
    match call {
        Call::Hold(wanted) => {
            let mut seen = std::collections::BTreeSet::new();
            let mut batch = Vec::new();
            for (number, customer, lines) in
                wanted.iter().filter(|(number, ..)| seen.insert(*number))
            {
                let lines = lines
                    .iter()
                    .map(|(item, place, quantity)| (sku(*item), Some(location(*place)), *quantity));
                let customer = format!("customer {customer}");
                let request = HoldRequest::new(&customer, lines, Some(3_600)).expect("valid");
                // Two of three keys come again with the same request.
                let digest = u64::from(*number % 3 == 0 && first);
                let id = HoldId(holds.len() as u128 + batch.len() as u128 + 1);
                batch.push(NewHold { id, key: key(*number, digest), request });
            }
            holds.extend(batch.iter().map(|hold| hold.id));
            let outcomes = ledger.hold(Arc::from(batch)).await.expect("an answer");
            let shown = outcomes.into_iter().map(|outcome| match outcome {
                Outcome::Done(granted) => format!("done {}", granted.hold),
                Outcome::Repeated(granted) => format!("repeated {}", granted.hold),
                other => format!("{other:?}"),
            });
            shown.collect::<Vec<_>>().join(", ")
        }
        Call::End(wanted) => {
            let (mut seen, mut keys) = (Vec::new(), Vec::new());
            let mut batch = Vec::new();
            for (hold, end, number) in wanted {
                let hold = HoldId(u128::from(*hold) + 1);
                if seen.contains(&hold) || number.is_some_and(|number| keys.contains(&number)) {
                    continue;
                }
                seen.push(hold);
                keys.extend(*number);
                let end = [HoldEnd::Confirmed, HoldEnd::Cancelled][usize::from(*end)];
                batch.push(EndHold { hold, end, key: number.map(|number| key(number, 2)) });
            }
            let outcomes = ledger.end(Arc::from(batch)).await.expect("an answer");
            let shown = outcomes.into_iter().map(|outcome| match outcome {
                Outcome::Done(_) => "done".to_owned(),
                Outcome::Repeated(_) => "repeated".to_owned(),
                other => format!("{other:?}"),
            });
            shown.collect::<Vec<_>>().join(", ")
        }
        Call::Extend(hold, number) => {
            let hold = HoldId(u128::from(*hold) + 1);
            let request = ExtendRequest::new(hold, Some(60)).expect("valid");
            match ledger.extend(&request, &key(*number, 3)).await.expect("an answer") {
                Outcome::Done(_) => "done".to_owned(),
                Outcome::Repeated(_) => "repeated".to_owned(),
                other => format!("{other:?}"),
            }
        }
        Call::Set(item, place, on_hand, policy, limit) => {
            let policy = [
                None,
                Some(Policy::Strict),
                Some(Policy::OversellUnits(2)),
                Some(Policy::OversellPercent(20)),
            ][usize::from(*policy)];
            let limit = [None, Some(None), Some(Some(3)), Some(Some(6))][usize::from(*limit)];
            let set = SetStock::new(&sku(*item), Some(&location(*place)), *on_hand, policy, limit);
            format!("{:?}", ledger.set_stock(&set.expect("valid")).await.expect("an answer"))
        }
        Call::Adjust(item, place, by, number) => {
            let by = if *by == 0 { 1 } else { *by };
            let adjust = AdjustStock::new(&sku(*item), Some(&location(*place)), by, "a count");
            let adjust = adjust.expect("valid");
            format!("{:?}", ledger.adjust(&adjust, &key(*number, 4)).await.expect("an answer"))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_decides_by_the_rules() {
    let postgres = Fixture::postgres().await;
    let mut runner = TestRunner::new(Config::default());
    let (mut outcomes_done, mut outcomes_refused) = (0, 0);
    for round in 0..5 {
        let drawn = calls().new_tree(&mut runner).expect("a value").current();
        let stocked = (0..8).map(|cell| Call::Set(cell % 4, cell / 4, 12, 0, 0));
        let calls: Vec<Call> = stocked.chain(drawn).collect();
        postgres.sql(
            "truncate tidegate.sku, tidegate.stock, tidegate.hold, tidegate.movement_row, \
             tidegate.customer_units, tidegate.request",
        );
        let sqlite = Fixture::sqlite().await;
        let (ours, theirs) = (postgres.shop().await.ledger, sqlite.shop().await.ledger);
        let mut holds = [Vec::new(), Vec::new()];
        for (at, call) in calls.iter().enumerate() {
            let first = at < calls.len() / 2;
            let ours = run(&*ours, call, &mut holds[0], first).await;
            let theirs = run(&*theirs, call, &mut holds[1], first).await;
            assert_eq!(ours, theirs, "round {round}, call {at} of {calls:#?}");
            outcomes_done += ours.matches("done").count();
            outcomes_refused += ours.matches("Refused").count();
        }
        for item in 0..4 {
            let ours = ours.stock(&sku(item)).await.expect("an answer");
            assert_eq!(ours, theirs.stock(&sku(item)).await.expect("an answer"), "{calls:#?}");
        }
        assert_eq!(ours.audit().await.expect("audited"), [], "{calls:#?}");
        assert_eq!(theirs.audit().await.expect("audited"), [], "{calls:#?}");
    }
    assert!(outcomes_done > 50 && outcomes_refused > 50, "{outcomes_done} {outcomes_refused}");
}
