use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const IDLE: Load = Load { under_way: 1, limit: 8, waiting: 0, slowness: 1.0, turned_away: false };
const STORM: Load = Load { under_way: 8, limit: 8, waiting: 40, slowness: 1.0, turned_away: false };

fn under(load: Load, from_ms: u64, until_ms: u64, governor: &mut Governor) -> f64 {
    for ms in from_ms..until_ms {
        governor.observe(Mono(ms * MS), load);
    }
    governor.spend(Mono(until_ms * MS))
}

#[test]
fn nothing_is_spent_while_the_origin_has_time() {
    let mut governor = Governor::default();
    assert!(under(IDLE, 0, 10_000, &mut governor) == 0.0);
}

#[test]
fn a_storm_is_answered_quickly_and_forgotten_slowly() {
    let mut governor = Governor::default();
    let spend = under(STORM, 1_000, 1_300, &mut governor);
    assert!(spend > 0.89, "{spend} after 0.3 s of storm");
    let spend = under(IDLE, 1_300, 3_000, &mut governor);
    assert!(spend > 0.5, "{spend}: a pause in the storm is not its end");
    assert!(under(IDLE, 3_000, 30_000, &mut governor) == 0.0);
}

#[test]
fn one_moment_is_no_storm() {
    let mut governor = Governor::default();
    let spend = under(STORM, 60_000, 60_001, &mut governor);
    assert!(spend <= 0.2, "{spend} after one look");
}

#[test]
fn slowness_counts_as_far_as_there_is_something_to_do() {
    let slow = |under_way| Load { under_way, limit: 100, slowness: 100.0, ..IDLE }.pressure();
    assert!(slow(1) <= 0.01, "one slow load is nothing");
    assert!((0.2..=0.3).contains(&slow(25)), "{}", slow(25));
    assert!(slow(50) <= 0.5, "slowness alone is no storm");
}

#[test]
fn somebody_turned_away_counts_more_than_a_queue() {
    let away = Load { turned_away: true, ..IDLE };
    let (mut told, mut seen) = (Governor::default(), Governor::default());
    assert!(under(away, 0, 5, &mut told) > under(STORM, 0, 5, &mut seen));
}

#[test]
fn refreshes_of_entries_marked_together_spread() {
    let budget = Duration::from_secs(1);
    let due = |lot: f64| {
        let due = |ms: &u64| use_of(Mono(0), Mono(ms * MS), budget, 0.9, lot);
        (0..1_000).find(|ms| due(ms) == Use::Serve { refresh: true }).expect("it gets due")
    };
    assert!(due(0.0) >= 300 && due(1.0) < 850 && due(1.0) - due(0.0) > 400);
}

fn loads() -> impl Strategy<Value = Load> {
    (0_usize..100, 0_usize..100, 0_usize..100, any::<f64>(), any::<bool>()).prop_map(
        |(under_way, limit, waiting, slowness, turned_away)| Load {
            under_way,
            limit,
            waiting,
            slowness,
            turned_away,
        },
    )
}

proptest! {
    /// Whatever is observed, in whatever order of times.
    #[test]
    fn the_spend_stays_in_its_range_and_ends(
        steps in proptest::collection::vec((any::<u32>(), loads()), 1..50),
    ) {
        let mut governor = Governor::default();
        for (at, load) in steps {
            governor.observe(Mono(u64::from(at)), load);
            let spend = governor.spend(Mono(u64::from(at)));
            prop_assert!((0.0..=SPEND_MOST).contains(&spend), "{spend}");
        }
        prop_assert_eq!(governor.spend(Mono(u64::MAX)), 0.0, "without pressure nothing is spent");
    }

    /// The one that contracts rely on.
    #[test]
    fn no_marked_entry_is_served_past_its_budget(
        as_of in 0_u64..1 << 50, age in 0_u64..1 << 50, budget in 0_u64..1 << 50,
        spend in any::<f64>(), lot in any::<f64>(),
    ) {
        let budget = Duration::from_nanos(budget);
        let used = use_of(Mono(as_of), Mono(as_of + age), budget, spend, lot);
        if used != Use::Miss {
            prop_assert!(Duration::from_nanos(age) <= budget && !budget.is_zero());
            prop_assert!(spend > 0.0, "nothing is served while nothing is spent");
        }
        prop_assert!(window(budget, spend) <= budget);
    }

    /// More pressure never means less to spend.
    #[test]
    fn more_pressure_spends_more(
        steps in proptest::collection::vec((0_u64..200 * MS, 0_usize..10, 0_usize..10), 1..40),
        more in 0_usize..10,
    ) {
        let (mut calm, mut pressed, mut now) = (Governor::default(), Governor::default(), 0);
        for (passed, under_way, waiting) in steps {
            now += passed;
            let load = Load { under_way, limit: 8, waiting, ..Load::default() };
            calm.observe(Mono(now), load);
            pressed.observe(Mono(now), Load { waiting: waiting + more, ..load });
            prop_assert!(pressed.spend(Mono(now)) >= calm.spend(Mono(now)) - 1e-9);
        }
    }
}
