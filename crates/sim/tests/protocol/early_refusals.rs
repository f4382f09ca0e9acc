//! The fast counter of the sale: every sequence of steps, and no rule can be omitted.

use sale::rules::Rule;
use sim::model::early_refusals::{BOUNDED, EXACT, REFUSED, RefusalScene, Step};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: RefusalScene = RefusalScene { asks: 3, returns: 3, until: 6, omitted: None };

#[test]
fn early_refusal_is_true_or_within_its_bound() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in [BOUNDED, EXACT] {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    assert!(found.discovery(REFUSED).is_some(), "nothing was refused early");
}

#[test]
fn every_rule_of_refusals_is_needed() {
    for (rule, invariant) in [(Rule::RefusalsFenced, EXACT), (Rule::RefusalsBounded, BOUNDED)] {
        let scene = RefusalScene { omitted: Some(rule), ..SCENE };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let steps = found.discovery(invariant).map(stateright::Path::into_actions);
        println!("without {rule:?}: {steps:?}");
        assert!(steps.is_some(), "{invariant} holds without {rule:?}");
    }
}
