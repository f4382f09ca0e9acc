//! Checkouts and payments: every sequence of steps, crashes and lost replies, and no rule can be omitted.

use sale::rules::Rule;
use sim::model::checkout_payments::{
    BOOKS_AGREE, CANCELLED, CheckoutScene, NOTHING_STRANDED, ONE_RESERVATION, PAID, PAID_FOR_ORDER,
    PAID_ONCE, REFUNDED_WITHIN, Step,
};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: CheckoutScene = CheckoutScene { checkouts: 1, faults: 2, omitted: None };

#[test]
fn order_is_paid_once_or_not_at_all() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in
        [PAID_ONCE, PAID_FOR_ORDER, NOTHING_STRANDED, REFUNDED_WITHIN, BOOKS_AGREE, ONE_RESERVATION]
    {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    for reached in [PAID, CANCELLED] {
        assert!(found.discovery(reached).is_some(), "never: {reached}");
    }
}

#[test]
fn every_checkout_rule_is_needed() {
    for rule in Rule::CHECKOUT {
        let checkouts = if *rule == Rule::OneCheckoutPerHold { 2 } else { 1 };
        let scene = CheckoutScene { checkouts, omitted: Some(*rule), ..SCENE };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken: Vec<_> = found
            .discoveries()
            .into_iter()
            .filter(|(name, _)| ![PAID, CANCELLED].contains(name))
            .map(|(name, path)| (name, path.into_actions()))
            .collect();
        println!("without {rule:?}: {broken:?}");
        assert!(!broken.is_empty(), "nothing breaks without {rule:?}");
    }
}
