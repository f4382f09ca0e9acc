//! Gift cards: every sequence of checkouts on one balance, and no rule can be omitted.

use sale::rules::Rule;
use sim::model::gift_cards::{
    ADDS_UP, GIVEN_BACK, GiftScene, SPLIT, Step, USED_UP, WITHIN_BALANCE,
};
use stateright::{Checker, HasDiscoveries, Model};

/// Two checkouts that together use the balance up, or want more than it has: the second is paid once a part was given back.
const SCENES: [[(i64, i64); 2]; 2] = [[(1, 2), (0, 1)], [(1, 2), (0, 2)]];

fn scene(parts: [(i64, i64); 2], omitted: Option<Rule>) -> GiftScene {
    GiftScene { parts: parts.to_vec(), omitted }
}

#[test]
fn balance_pays_once_and_adds_up() {
    for parts in SCENES {
        let checker = scene(parts, None).checker().finish_when(HasDiscoveries::AnyFailures);
        let found = checker.spawn_bfs().join();
        println!("{} states", found.unique_state_count());
        for invariant in [WITHIN_BALANCE, ADDS_UP, GIVEN_BACK] {
            let broken = found.discovery(invariant).map(stateright::Path::into_actions);
            assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
        }
        for reached in [SPLIT, USED_UP] {
            assert!(found.discovery(reached).is_some(), "never: {reached}");
        }
    }
}

#[test]
fn every_gift_rule_is_needed() {
    for rule in Rule::GIFTS {
        let [_, too_much] = SCENES;
        let checker = scene(too_much, Some(*rule)).checker();
        let found = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken: Vec<_> = found
            .discoveries()
            .into_iter()
            .filter(|(name, _)| ![SPLIT, USED_UP].contains(name))
            .map(|(name, path)| (name, path.into_actions()))
            .collect();
        println!("without {rule:?}: {broken:?}");
        assert!(!broken.is_empty(), "nothing breaks without {rule:?}");
    }
}
