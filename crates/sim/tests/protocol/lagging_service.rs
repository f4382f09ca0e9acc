//! Loads from a service that lags: every sequence of steps of some short histories, and the rule that delays
//! their fills can't be omitted.

use coherence::Rule::LagDelaysToken;
use sim::model::lagging_service::{NO_STALE_ENTRY, ServiceScene, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

fn scenes() -> [ServiceScene; 2] {
    let scene = ServiceScene { commits: 2, loads: 2, ticks: 4, lag: 2, omitted: None };
    [ServiceScene { commits: 3, ticks: 5, lag: 1, ..scene.clone() }, scene]
}

#[test]
fn lagging_service_entries_not_stale() {
    for scene in scenes() {
        let found = scene.clone().checker().finish_when(HasDiscoveries::AnyFailures);
        let found = found.spawn_bfs().join();
        println!("{scene:?}: {} states", found.unique_state_count());
        let broken = found.discovery(NO_STALE_ENTRY).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{scene:?}");
        assert!(found.discovery(USEFUL).is_some(), "no value was stored in {scene:?}");
    }
}

#[test]
fn race_05_lag_rule_is_needed() {
    for scene in scenes() {
        let scene = ServiceScene { omitted: Some(LagDelaysToken), ..scene };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let steps = found.discovery(NO_STALE_ENTRY).map(stateright::Path::into_actions);
        println!("without {LagDelaysToken:?}: {steps:?}");
        assert!(steps.is_some(), "holds without the rule");
    }
}
