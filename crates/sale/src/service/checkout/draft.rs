//! Changes of a checkout that are not recorded yet.

use serde_json::json;

use crate::ledger::{CheckoutChange, CheckoutRecord, PaymentAttempt};
use crate::request::RequestKey;
use crate::rules::{
    CheckoutEffect, CheckoutInput, CheckoutRefusal, CheckoutState, Operation, Phase, step_checkout,
};

/// A checkout as it was recorded, and its changes since.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) record: CheckoutRecord,
    path: Vec<Phase>,
    restocks: bool,
    places_order: bool,
    attempts: Vec<PaymentAttempt>,
    events: Vec<(&'static str, String)>,
    pub(super) request: Option<RequestKey>,
    /// The operation of the phase is recorded as sent, and this node has not sent it yet.
    pub(super) is_announced: bool,
    /// A call to the provider is reserved for it.
    pub(super) is_reserved: bool,
}

impl Draft {
    pub(super) fn new(record: CheckoutRecord) -> Self {
        Self {
            path: vec![record.state.phase],
            record,
            restocks: false,
            places_order: false,
            attempts: Vec::new(),
            events: Vec::new(),
            request: None,
            is_announced: false,
            is_reserved: false,
        }
    }

    pub(super) fn state(&self) -> CheckoutState {
        self.record.state
    }

    /// Takes an input.
    ///
    /// # Errors
    /// The rules refuse it; nothing has changed.
    pub(super) fn step(&mut self, input: CheckoutInput) -> Result<(), CheckoutRefusal> {
        let before = self.record.state;
        let (after, effect) = step_checkout(before, input)?;
        self.record.state = after;
        self.restocks |= effect == CheckoutEffect::Restock;
        self.places_order |= after.ordered && !before.ordered;
        if after.phase != before.phase {
            self.path.push(after.phase);
            self.is_announced = false;
        }
        if let Some(kind) = event(before, after) {
            self.events.push((kind, self.event_body()));
        }
        Ok(())
    }

    /// Notes a call to the provider under the operation's key.
    pub(super) fn note(
        &mut self,
        operation: Operation,
        state: CheckoutState,
        outcome: &'static str,
    ) {
        let attempt =
            PaymentAttempt { key: self.key(state), operation, amount: state.amount, outcome };
        self.attempts.retain(|other| other.key != attempt.key);
        self.attempts.push(attempt);
    }

    /// Returns the key of the operation towards the provider.
    pub(super) fn key(&self, state: CheckoutState) -> String {
        format!("{}-{}", self.record.id, state.number)
    }

    fn event_body(&self) -> String {
        let CheckoutRecord { id, hold, customer, price, state, .. } = &self.record;
        let mut body = json!({
            "order": id.to_string(), "hold": hold.to_string(), "customer": customer,
            "amount": price.amount, "currency": price.currency.to_string(),
            "captured": state.captured, "refunded": state.refunded,
        });
        if state.gift > 0 {
            body["gift_card_amount"] = state.gift.into();
            body["gift_card_returned"] = state.gift_returned.into();
        }
        body.to_string()
    }

    /// Returns the changes.
    pub(super) fn change(
        &self,
        due_in_ms: Option<i64>,
        lease_ms: i64,
        keep_hold_ms: i64,
    ) -> CheckoutChange {
        let waits_for_order = self.state().phase.is_without_order_yet();
        CheckoutChange {
            id: self.record.id,
            version: self.record.version,
            state: self.record.state,
            path: self.path.clone(),
            places_order: self.places_order,
            restocks: self.restocks,
            reference: self.record.reference.clone(),
            reason: self.record.reason.clone(),
            attempts: self.attempts.clone(),
            events: self.events.clone(),
            due_in_ms,
            lease_ms,
            keep_hold_ms: if waits_for_order { keep_hold_ms } else { 0 },
            request: self.request.clone(),
        }
    }

    /// The changes are recorded. `ordered_at_ms`: when, if they place the order.
    pub(super) fn recorded(self, ordered_at_ms: Option<i64>) -> Self {
        let tries = if self.path.len() > 1 { 0 } else { self.record.tries };
        let record = CheckoutRecord {
            version: self.record.version + 1,
            tries,
            ordered_at_ms: ordered_at_ms.or(self.record.ordered_at_ms),
            ..self.record
        };
        let (is_announced, is_reserved) = (self.is_announced, self.is_reserved);
        Self { is_announced, is_reserved, ..Self::new(record) }
    }
}

/// Returns the kind of the event that a transition is for those who listen to orders.
fn event(before: CheckoutState, after: CheckoutState) -> Option<&'static str> {
    if after.ordered && !before.ordered {
        return Some("order-placed");
    }
    if after.phase == Phase::Cancelled && before.phase != Phase::Cancelled {
        return Some("order-cancelled");
    }
    if after.captured > before.captured {
        return Some("order-captured");
    }
    let is_returned = after.gift_returned > before.gift_returned && !after.cancelling;
    (after.refunded > before.refunded || is_returned).then_some("order-refunded")
}
