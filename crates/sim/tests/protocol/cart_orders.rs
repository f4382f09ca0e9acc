//! Carts in two tabs: every sequence of steps, and no rule can be omitted.

use sale::rules::Rule;
use sim::model::cart_orders::{
    AS_SHOWN, CartScene, NOTHING_KEPT, NOTHING_LOST, ONE_ORDER, ORDERED, Step,
};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn cart_is_ordered_once_as_shown() {
    let scene = CartScene { omitted: None };
    let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in [ONE_ORDER, AS_SHOWN, NOTHING_LOST, NOTHING_KEPT] {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    assert!(found.discovery(ORDERED).is_some(), "never: {ORDERED}");
}

#[test]
fn every_cart_rule_is_needed() {
    for rule in Rule::CARTS {
        let scene = CartScene { omitted: Some(*rule) };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken: Vec<_> = found
            .discoveries()
            .into_iter()
            .filter(|(name, _)| *name != ORDERED)
            .map(|(name, path)| (name, path.into_actions()))
            .collect();
        println!("without {rule:?}: {broken:?}");
        assert!(!broken.is_empty(), "nothing breaks without {rule:?}");
    }
}
