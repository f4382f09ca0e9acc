use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const IDLE: OriginLoad =
    OriginLoad { in_flight: 1, limit: 8, waiting: 0, slowness: 1.0, overloaded: false };
const STORM: OriginLoad =
    OriginLoad { in_flight: 8, limit: 8, waiting: 40, slowness: 1.0, overloaded: false };

fn under(load: OriginLoad, from_ms: u64, until_ms: u64, governor: &mut Governor) -> f64 {
    for ms in from_ms..until_ms {
        governor.observe(Mono(ms * MS), load);
    }
    governor.spend(Mono(until_ms * MS))
}

#[test]
fn idle_origin_spends_nothing() {
    let mut governor = Governor::default();
    assert!(under(IDLE, 0, 10_000, &mut governor) == 0.0);
}

#[test]
fn spend_rises_fast_and_falls_slowly() {
    let mut governor = Governor::default();
    let spend = under(STORM, 1_000, 1_300, &mut governor);
    assert!(spend > 0.89, "{spend} after 0.3 s of storm");
    let spend = under(IDLE, 1_300, 3_000, &mut governor);
    assert!(spend > 0.5, "{spend}: a pause in the storm is not its end");
    assert!(under(IDLE, 3_000, 30_000, &mut governor) == 0.0);
}

#[test]
fn one_observation_spends_little() {
    let mut governor = Governor::default();
    let spend = under(STORM, 60_000, 60_001, &mut governor);
    assert!(spend <= 0.2, "{spend} after one observation");
}

#[test]
fn slowness_weighs_by_load() {
    let slow = |in_flight| OriginLoad { in_flight, limit: 100, slowness: 100.0, ..IDLE }.pressure();
    assert!(slow(1) <= 0.01, "one slow load is no pressure");
    assert!((0.2..=0.3).contains(&slow(25)), "{}", slow(25));
    assert!(slow(50) <= 0.5, "slowness alone is limited");
}

#[test]
fn shed_load_outweighs_queue() {
    let shedding = OriginLoad { overloaded: true, ..IDLE };
    let (mut shed, mut queued) = (Governor::default(), Governor::default());
    assert!(under(shedding, 0, 5, &mut shed) > under(STORM, 0, 5, &mut queued));
}

#[test]
fn refreshes_spread_over_the_window() {
    let budget = Duration::from_secs(1);
    let due = |jitter: f64| {
        let due = |ms: &u64| decide(Mono(0), Mono(ms * MS), budget, 0.9, jitter);
        (0..1_000).find(|ms| due(ms) == Decision::Serve { refresh: true }).expect("it becomes due")
    };
    assert!(due(0.0) >= 300 && due(1.0) < 850 && due(1.0) - due(0.0) > 400);
}

fn loads() -> impl Strategy<Value = OriginLoad> {
    (0_usize..100, 0_usize..100, 0_usize..100, any::<f64>(), any::<bool>()).prop_map(
        |(in_flight, limit, waiting, slowness, overloaded)| OriginLoad {
            in_flight,
            limit,
            waiting,
            slowness,
            overloaded,
        },
    )
}

proptest! {
    /// For any observations, at any sequence of times.
    #[test]
    fn spend_stays_in_range_and_ends(
        steps in proptest::collection::vec((any::<u32>(), loads()), 1..50),
    ) {
        let mut governor = Governor::default();
        for (at, load) in steps {
            governor.observe(Mono(u64::from(at)), load);
            let spend = governor.spend(Mono(u64::from(at)));
            prop_assert!((0.0..=MAX_SPEND).contains(&spend), "{spend}");
        }
        prop_assert_eq!(governor.spend(Mono(u64::MAX)), 0.0, "it decays to zero without pressure");
    }

    /// The property that contracts rely on.
    #[test]
    fn no_soft_stale_entry_past_its_budget(
        as_of in 0_u64..1 << 50, age in 0_u64..1 << 50, budget in 0_u64..1 << 50,
        spend in any::<f64>(), jitter in any::<f64>(),
    ) {
        let budget = Duration::from_nanos(budget);
        let used = decide(Mono(as_of), Mono(as_of + age), budget, spend, jitter);
        if used != Decision::Miss {
            prop_assert!(Duration::from_nanos(age) <= budget && !budget.is_zero());
            prop_assert!(spend > 0.0, "no entry is served at zero spend");
        }
        prop_assert!(window(budget, spend) <= budget);
    }

    /// More pressure never lowers the spend.
    #[test]
    fn more_pressure_spends_more(
        steps in proptest::collection::vec((0_u64..200 * MS, 0_usize..10, 0_usize..10), 1..40),
        more in 0_usize..10,
    ) {
        let (mut calm, mut pressed, mut now) = (Governor::default(), Governor::default(), 0);
        for (passed, in_flight, waiting) in steps {
            now += passed;
            let load = OriginLoad { in_flight, limit: 8, waiting, ..OriginLoad::default() };
            calm.observe(Mono(now), load);
            pressed.observe(Mono(now), OriginLoad { waiting: waiting + more, ..load });
            prop_assert!(pressed.spend(Mono(now)) >= calm.spend(Mono(now)) - 1e-9);
        }
    }
}
