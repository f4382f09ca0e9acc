//! Tests of the life of a checkout.

use super::*;

const NEW: CheckoutState = CheckoutState::new(1_000, false);

fn after(state: CheckoutState, inputs: &[CheckoutInput]) -> CheckoutState {
    inputs.iter().fold(state, |state, input| {
        step_checkout(state, *input).unwrap_or_else(|err| panic!("{state:?} {input:?}: {err:?}")).0
    })
}

use CheckoutInput::{
    Cancel, Capture, Declined, Done, Facts, GiveUp, HoldEnded, Ordered, Refund, Sent,
};

#[test]
fn paid_order_in_order() {
    let paid = after(NEW, &[Sent, Done, Sent, Done, Ordered, Sent, Done]);
    assert_eq!((paid.phase, paid.captured, paid.task()), (Phase::Captured, 1_000, Task::Rest));
}

#[test]
fn expired_hold_voids_its_payment() {
    let voiding = after(NEW, &[Sent, Done, Sent, Done, HoldEnded]);
    assert_eq!(voiding.task(), Task::Call(Operation::Void));
    assert_eq!(after(voiding, &[Sent, Done]).phase, Phase::Released);
}

#[test]
fn giving_up_voids_sent_authorisation() {
    assert_eq!(after(NEW, &[Sent, GiveUp]).phase, Phase::Released);
    for sent in [&[Sent, Done][..], &[Sent, Done, Sent]] {
        assert_eq!(after(after(NEW, sent), &[GiveUp]).phase, Phase::Voiding);
    }
}

#[test]
fn unknown_operation_keeps_its_key() {
    let capturing = after(NEW, &[Sent, Done, Sent, Done, Ordered, Sent]);
    let undecided = Facts(PaymentFacts { authorised: true, ..PaymentFacts::default() });
    let again = after(capturing, &[undecided, Sent]);
    assert_eq!((again, again.task()), (capturing, Task::Resolve(Operation::Capture)));
    let taken = PaymentFacts { authorised: true, captured: 1_000, ..PaymentFacts::default() };
    assert_eq!(after(capturing, &[Facts(taken)]).phase, Phase::Captured);
}

#[test]
fn declined_capture_cancels_the_order_once() {
    let capturing = after(NEW, &[Sent, Done, Sent, Done, Ordered, Sent]);
    let (voiding, effect) = step_checkout(capturing, Declined { retryable: false }).expect("taken");
    assert_eq!((voiding.phase, effect), (Phase::Voiding, CheckoutEffect::Restock));
    let (end, effect) = step_checkout(after(voiding, &[Sent]), Done).expect("taken");
    assert_eq!((end.phase, effect), (Phase::Cancelled, CheckoutEffect::Nothing));
    assert!(step_checkout(end, Cancel).is_err());
}

#[test]
fn refunds_stay_within_the_capture() {
    let later = after(CheckoutState::new(1_000, true), &[Sent, Done, Sent, Done, Ordered]);
    assert_eq!(later.phase, Phase::Authorised);
    assert_eq!(step_checkout(later, Capture(1_001)), Err(CheckoutRefusal::Amount(1_000)));
    let part = after(later, &[Capture(600), Sent, Done]);
    assert_eq!(part.refundable(), 600);
    assert_eq!(step_checkout(part, Refund(601)), Err(CheckoutRefusal::Amount(600)));
    let rest = after(part, &[Refund(100), Sent, Done]);
    assert_eq!(step_checkout(rest, Refund(501)), Err(CheckoutRefusal::Amount(500)));
    let cancelled = after(rest, &[Cancel, Sent, Done]);
    assert_eq!((cancelled.phase, cancelled.refunded), (Phase::Cancelled, 600));
}

#[test]
fn void_of_taken_payment_refunds_it() {
    let voiding = after(NEW, &[Sent, Done, Sent, Done, HoldEnded, Sent]);
    let refused = after(voiding, &[Declined { retryable: false }]);
    assert_eq!(refused.task(), Task::Resolve(Operation::Void));
    let taken = PaymentFacts { authorised: true, captured: 1_000, ..PaymentFacts::default() };
    let refunding = after(refused, &[Facts(taken)]);
    assert_eq!((refunding.phase, refunding.amount), (Phase::Refunding, 1_000));
    assert_eq!(after(refunding, &[Sent, Done]).phase, Phase::Cancelled);
}

/// Random inputs: each transition is in the table, and each open phase has work.
#[test]
fn transitions_are_those_of_the_table() {
    use proptest::prelude::{any, prop, proptest};
    use proptest::strategy::Strategy;
    let facts = (any::<[bool; 3]>(), 0..3_i64, 0..3_i64).prop_map(
        |([authorised, declined, closed], captured, refunded)| {
            Facts(PaymentFacts {
                authorised,
                declined,
                closed,
                captured: captured * 500,
                refunded: refunded * 500,
            })
        },
    );
    let plain = prop::sample::select(vec![
        Sent,
        Done,
        Ordered,
        HoldEnded,
        GiveUp,
        Cancel,
        Capture(500),
        Refund(500),
        Declined { retryable: true },
        Declined { retryable: false },
    ]);
    let inputs = prop::collection::vec(proptest::prop_oneof![4 => plain, 1 => facts], 0..40);
    let parts = prop::sample::select(vec![(1_000, 0), (700, 300), (0, 1_000)]);
    proptest!(|(inputs in inputs, later in any::<bool>(), (by_provider, gift) in parts)| {
        let mut state = CheckoutState::with_gift(by_provider, gift, later);
        for input in inputs {
            let Ok((next, _)) = step_checkout(state, input) else { continue };
            let moved = (state.phase, next.phase);
            let is_known = Phase::TRANSITIONS.contains(&moved);
            assert!(moved.0 == moved.1 || is_known, "{moved:?} by {input:?}");
            assert_eq!(next.phase.is_open(), next.task() != Task::Rest);
            assert!(next.number >= state.number);
            assert!((state.gift_returned..=gift).contains(&next.gift_returned));
            state = next;
        }
    });
}

#[test]
fn words_name_phases() {
    for phase in Phase::ALL {
        assert_eq!(Phase::parse(phase.word()), Some(phase));
    }
}
