//! Values that change by the clock: every sequence of steps of some short histories, and no part of the protocol can be
//! omitted.

use coherence::Rule::{TurnCountsFromQuestion, TurnEndsEntry};
use sim::model::timed_values::{LOCAL, NO_LATE_ANSWER, Omitted, SHARED, Step, TimedScene};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: TimedScene = TimedScene { ticks: 6, change: 4, omitted: None };

#[test]
fn no_answer_is_fresh_past_its_change() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    let broken = found.discovery(NO_LATE_ANSWER).map(stateright::Path::into_actions);
    assert_eq!(broken, None::<Vec<Step>>);
    for useful in [LOCAL, SHARED] {
        assert!(found.discovery(useful).is_some(), "never: {useful}");
    }
}

#[test]
fn every_part_of_the_clock_is_needed() {
    for omitted in [
        Omitted::Rule(TurnEndsEntry),
        Omitted::Rule(TurnCountsFromQuestion),
        Omitted::ChangesBeforeValue,
        Omitted::ReaderChecks,
    ] {
        let scene = TimedScene { omitted: Some(omitted), ..SCENE };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let steps = found.discovery(NO_LATE_ANSWER).map(stateright::Path::into_actions);
        println!("without {omitted:?}: {steps:?}");
        assert!(steps.is_some(), "holds without {omitted:?}");
    }
}
