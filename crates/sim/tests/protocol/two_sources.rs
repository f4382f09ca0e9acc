//! A page over two databases: every sequence of steps, and no rule can be omitted.

use coherence::Rule::{self, WitnessOfEveryLog, WitnessOfSameLoad};
use sim::model::two_sources::{BOTH_LOGS, SourcesScene, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: SourcesScene = SourcesScene { commits: 2, loads: 3, omitted: None };

#[test]
fn proven_page_misses_no_applied_commit() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    let broken = found.discovery(BOTH_LOGS).map(stateright::Path::into_actions);
    assert_eq!(broken, None::<Vec<Step>>);
    assert!(found.discovery(USEFUL).is_some(), "no page was proven");
}

#[expect(clippy::print_stdout, reason = "the path to the counterexample is the result")]
fn breaks(rule: Rule) {
    let scene = SourcesScene { omitted: Some(rule), ..SCENE };
    let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let steps = found.discovery(BOTH_LOGS).map(stateright::Path::into_actions);
    println!("without {rule:?}: {steps:?}");
    assert!(steps.is_some(), "holds without {rule:?}");
}

#[test]
fn witness_of_same_load_is_needed() {
    breaks(WitnessOfSameLoad);
}

#[test]
fn witness_of_every_log_is_needed() {
    breaks(WitnessOfEveryLog);
}
