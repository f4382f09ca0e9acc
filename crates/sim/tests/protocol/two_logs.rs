//! Two databases on one tier: every sequence of steps, and no rule can be omitted.

use coherence::Rule::{self, FillOfOwnLog, LiveClaimStands};
use sim::model::two_logs::{CLAIM_STANDS, LogsScene, OWN_ROWS, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: LogsScene = LogsScene { commits: 1, loads: 3, claims: 4, omitted: None };

#[test]
fn databases_never_mixed() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in [OWN_ROWS, CLAIM_STANDS] {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    assert!(found.discovery(USEFUL).is_some(), "nothing was stored");
}

#[expect(clippy::print_stdout, reason = "the path to the counterexample is the result")]
fn breaks(rule: Rule, invariant: &'static str) {
    let scene = LogsScene { omitted: Some(rule), ..SCENE };
    let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let steps = found.discovery(invariant).map(stateright::Path::into_actions);
    println!("without {rule:?}: {steps:?}");
    assert!(steps.is_some(), "{invariant} holds without {rule:?}");
}

#[test]
fn fill_of_own_log_is_needed() {
    breaks(FillOfOwnLog, OWN_ROWS);
}

#[test]
fn live_claim_is_needed() {
    breaks(LiveClaimStands, CLAIM_STANDS);
}
