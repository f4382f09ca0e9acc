//! The register of keys: every order of steps of some short histories, and none of its rules can be
//! left out.

use coherence::Rule::{self, *};
use sim::absence::{ABSENT, Absence, Commit::*, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

fn scenes() -> [Absence; 4] {
    let scene = |script: &[sim::absence::Commit]| Absence {
        script: script.to_vec(),
        readings: 1,
        losses: 0,
        crashes: 0,
        without: None,
    };
    [
        Absence { readings: 2, ..scene(&[Insert(0), Delete(0), Insert(0), Bulk]) },
        Absence { readings: 2, ..scene(&[Large, Delete(0), Insert(1)]) },
        Absence { losses: 1, ..scene(&[Insert(1), Insert(0), Insert(0), Large]) },
        Absence { crashes: 1, ..scene(&[Insert(0), Delete(0), Insert(1), Bulk]) },
    ]
}

#[test]
fn a_key_that_is_said_to_be_absent_has_no_row() {
    for scene in scenes() {
        let found = scene.clone().checker().finish_when(HasDiscoveries::AnyFailures);
        let found = found.spawn_bfs().join();
        println!("{:?}: {} states", scene.script, found.unique_state_count());
        let broken = found.discovery(ABSENT).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{scene:?}");
        assert!(found.discovery(USEFUL).is_some(), "nothing was said in {scene:?}");
    }
}

/// Whether some scene finds a wrong answer without the rule.
fn breaks(rule: Rule) -> Option<Vec<Step>> {
    scenes().into_iter().find_map(|scene| {
        let scene = Absence { without: Some(rule), ..scene };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        found.discovery(ABSENT).map(stateright::Path::into_actions)
    })
}

#[test]
fn none_of_its_rules_can_be_left_out() {
    for rule in [
        RegisterOfOwnHistory,
        RegisterWithoutGap,
        RegisterFromHeard,
        RegisterReadsSettled,
        RegisterNotesKeys,
        RegisterEndsWithEverything,
        RegisterWaitsForSeen,
    ] {
        let steps = breaks(rule);
        println!("without {rule:?}: {steps:?}");
        assert!(steps.is_some(), "holds without {rule:?}");
    }
}
