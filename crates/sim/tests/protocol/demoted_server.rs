//! A demoted server that goes on answering: every sequence of steps, and no rule can be omitted.

use coherence::Rule::ProofOfOwnLog;
use sim::model::demoted_server::{DemotedScene, Omitted, PROVEN, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: DemotedScene = DemotedScene { commits: 3, loads: 2, omitted: None };

#[test]
fn demoted_server_proves_nothing() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    let broken = found.discovery(PROVEN).map(stateright::Path::into_actions);
    assert_eq!(broken, None::<Vec<Step>>);
    assert!(found.discovery(USEFUL).is_some(), "nothing of the promoted server was proven");
}

#[expect(clippy::print_stdout, reason = "the path to the counterexample is the result")]
fn breaks(omitted: Omitted) {
    let scene = DemotedScene { omitted: Some(omitted), ..SCENE };
    let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let steps = found.discovery(PROVEN).map(stateright::Path::into_actions);
    println!("without {omitted:?}: {steps:?}");
    assert!(steps.is_some(), "{PROVEN} holds without {omitted:?}");
}

#[test]
fn proof_of_own_log_is_needed() {
    breaks(Omitted::Rule(ProofOfOwnLog));
}

#[test]
fn newest_connection_decides() {
    breaks(Omitted::NewestConnectionDecides);
}
