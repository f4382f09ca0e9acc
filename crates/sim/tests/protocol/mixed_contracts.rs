//! Leaders with different contracts: every sequence of steps, and no rule can be omitted.

use coherence::Rule::{
    self, BatchOfStatedCoverage, CoverageGainedByEvent, CoverageNeeded, EntryOfOwnDefinition,
    StatedWhenCaughtUp,
};
use sim::model::mixed_contracts::{ContractsScene, NO_STALE_ENTRY, OWN_FORM, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: ContractsScene = ContractsScene { commits: 2, loads: 2, takeovers: 2, omitted: None };

#[test]
fn mixed_contracts_not_stale() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in [NO_STALE_ENTRY, OWN_FORM] {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    assert!(found.discovery(USEFUL).is_some(), "nothing was proven");
}

#[expect(clippy::print_stdout, reason = "the path to the counterexample is the result")]
fn breaks(rule: Rule, invariant: &'static str) {
    let scene = ContractsScene { omitted: Some(rule), ..SCENE };
    let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let steps = found.discovery(invariant).map(stateright::Path::into_actions);
    println!("without {rule:?}: {steps:?}");
    assert!(steps.is_some(), "{invariant} holds without {rule:?}");
}

#[test]
fn coverage_is_needed() {
    breaks(CoverageNeeded, NO_STALE_ENTRY);
}

#[test]
fn invalidation_of_gained_entries_is_needed() {
    breaks(CoverageGainedByEvent, NO_STALE_ENTRY);
}

#[test]
fn batches_of_stated_coverage_are_needed() {
    breaks(BatchOfStatedCoverage, NO_STALE_ENTRY);
}

#[test]
fn catching_up_is_needed() {
    breaks(StatedWhenCaughtUp, NO_STALE_ENTRY);
}

#[test]
fn definitions_are_needed() {
    breaks(EntryOfOwnDefinition, OWN_FORM);
}
