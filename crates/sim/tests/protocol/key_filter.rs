//! The key filter: every sequence of steps of some short histories, and none of its rules can be omitted.

use coherence::Rule::{self, *};
use sim::model::key_filter::{ABSENT, Commit, Commit::*, FilterScene, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

fn scenes() -> [FilterScene; 4] {
    let scene = |script: &[Commit]| FilterScene {
        script: script.to_vec(),
        scans: 1,
        losses: 0,
        crashes: 0,
        omitted: None,
    };
    [
        FilterScene { scans: 2, ..scene(&[Insert(0), Delete(0), Insert(0), Bulk]) },
        FilterScene { scans: 2, ..scene(&[Large, Delete(0), Insert(1)]) },
        FilterScene { losses: 1, ..scene(&[Insert(1), Insert(0), Insert(0), Large]) },
        FilterScene { crashes: 1, ..scene(&[Insert(0), Delete(0), Insert(1), Bulk]) },
    ]
}

#[test]
fn absent_key_has_no_row() {
    for scene in scenes() {
        let found = scene.clone().checker().finish_when(HasDiscoveries::AnyFailures);
        let found = found.spawn_bfs().join();
        println!("{:?}: {} states", scene.script, found.unique_state_count());
        let broken = found.discovery(ABSENT).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{scene:?}");
        assert!(found.discovery(USEFUL).is_some(), "no key was reported as absent in {scene:?}");
    }
}

/// Returns the shortest path to a wrong answer without the rule, in the first scene that has one.
fn breaks(rule: Rule) -> Option<Vec<Step>> {
    scenes().into_iter().find_map(|scene| {
        let scene = FilterScene { omitted: Some(rule), ..scene };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        found.discovery(ABSENT).map(stateright::Path::into_actions)
    })
}

#[test]
fn every_filter_rule_is_needed() {
    for rule in [
        KeyFilterOfOwnEpoch,
        KeyFilterWithoutGap,
        KeyFilterFromReceived,
        KeyFilterScansVisible,
        KeyFilterAddsKeys,
        KeyFilterClearedByEverything,
        KeyFilterWaitsForScan,
    ] {
        let steps = breaks(rule);
        println!("without {rule:?}: {steps:?}");
        assert!(steps.is_some(), "holds without {rule:?}");
    }
}
