//! Loads from a service that lags: every order of steps of some short histories, and the rule that
//! holds its fills back can't be left out.

use coherence::Rule::LagHoldsToken;
use sim::service::{MISSES_NOTHING, Service, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

fn scenes() -> [Service; 2] {
    let scene = Service { commits: 2, loads: 2, ticks: 4, lag: 2, without: None };
    [Service { commits: 3, ticks: 5, lag: 1, ..scene.clone() }, scene]
}

#[test]
fn what_stands_misses_nothing_though_the_service_lags() {
    for scene in scenes() {
        let found = scene.clone().checker().finish_when(HasDiscoveries::AnyFailures);
        let found = found.spawn_bfs().join();
        println!("{scene:?}: {} states", found.unique_state_count());
        let broken = found.discovery(MISSES_NOTHING).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{scene:?}");
        assert!(found.discovery(USEFUL).is_some(), "nothing was kept in {scene:?}");
    }
}

#[test]
fn race_05_its_fills_are_held_back_for_as_long_as_it_may_lag() {
    for scene in scenes() {
        let scene = Service { without: Some(LagHoldsToken), ..scene };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let steps = found.discovery(MISSES_NOTHING).map(stateright::Path::into_actions);
        println!("without {LagHoldsToken:?}: {steps:?}");
        assert!(steps.is_some(), "holds without it");
    }
}
