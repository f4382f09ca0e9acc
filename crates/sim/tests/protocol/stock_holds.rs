//! The ledger of the sale: every sequence of steps, and no rule can be omitted.

use sale::rules::Rule;
use sim::model::stock_holds::{
    BY_THE_DEADLINE, CONSERVED, HoldsScene, NOT_OVERSOLD, ONE_EFFECT, ONE_END, ONE_EXTENSION,
    ONE_REQUEST, SOLD_OUT, Step, WITHIN_LIMIT,
};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: HoldsScene = HoldsScene { asks: 4, until: 4, omitted: None };

#[test]
fn stock_is_never_sold_twice() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in [
        NOT_OVERSOLD,
        CONSERVED,
        ONE_END,
        BY_THE_DEADLINE,
        ONE_EXTENSION,
        WITHIN_LIMIT,
        ONE_EFFECT,
        ONE_REQUEST,
    ] {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    assert!(found.discovery(SOLD_OUT).is_some(), "nothing was sold");
}

#[test]
fn every_sale_rule_is_needed() {
    for rule in Rule::STOCK {
        let invariant = match rule {
            Rule::EveryLineFits => NOT_OVERSOLD,
            Rule::WithinCustomerLimit => WITHIN_LIMIT,
            Rule::OneEnd => ONE_END,
            Rule::ConfirmedInTime | Rule::ExpiredWhenDue | Rule::ExtendedInTime => BY_THE_DEADLINE,
            Rule::ExtendedOnce => ONE_EXTENSION,
            Rule::OneEffectPerKey => ONE_EFFECT,
            Rule::OneRequestPerKey => ONE_REQUEST,
            other => panic!("{other:?} is no rule of stock"),
        };
        let scene = HoldsScene { omitted: Some(*rule), ..SCENE };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let mut broken =
            found.discoveries().into_iter().map(|(name, path)| (name, path.into_actions()));
        let steps = broken.find(|(name, _)| *name == invariant);
        println!("without {rule:?}: {steps:?}");
        assert!(steps.is_some(), "{invariant} holds without {rule:?}");
    }
}
