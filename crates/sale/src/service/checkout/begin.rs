//! The begin of a checkout, and its first change.

use super::draft::Draft;
use super::drive::{KEEP_HOLD_MS, announce, take};
use crate::checkout_id::CheckoutId;
use crate::ledger::{BeginOutcome, CheckoutRecord, NewCheckout};
use crate::request::{CheckoutRequest, RequestKey};
use crate::rules::{CheckoutInput, CheckoutState, Operation};
use crate::service::error::SaleError;
use crate::service::sale::Sale;

/// Returns a checkout as the ledger records it at its begin.
pub(super) fn new_record(
    id: CheckoutId,
    customer: String,
    provider: String,
    request: &CheckoutRequest,
) -> CheckoutRecord {
    CheckoutRecord {
        id,
        hold: request.hold,
        customer,
        provider,
        method: request.method().to_owned(),
        price: request.price,
        reference: None,
        state: CheckoutState::new(request.price.amount, request.captures_later),
        version: 1,
        tries: 1,
        reason: None,
        due_in_ms: Some(0),
        age_ms: 0,
        ordered_at_ms: None,
    }
}

impl Sale {
    /// Returns the first change of a checkout, which is recorded with its begin: where the provider registers payments without
    /// a call, and may be called now, the authorisation is announced at once. Else there is none.
    pub(super) fn first_draft(&self, record: CheckoutRecord) -> Result<Draft, SaleError> {
        let mut draft = Draft::new(record);
        let Some(provider) = self.payments.get(&draft.record.provider) else { return Ok(draft) };
        let name = provider.unguarded().name_without_call(&draft.record.id.to_string());
        let Some(name) = name.filter(|_| provider.reserve()) else { return Ok(draft) };
        draft.is_reserved = true;
        draft.record.reference = Some(name);
        draft.note(Operation::Prepare, draft.state(), "done");
        take(&mut draft, CheckoutInput::Done)?;
        announce(&mut draft, Operation::Authorise)?;
        Ok(draft)
    }

    /// Begins a checkout. Returns the draft as it is recorded then.
    pub(super) async fn begin(
        &self,
        draft: Draft,
        key: RequestKey,
    ) -> Result<(BeginOutcome, Draft), SaleError> {
        let lease_ms = self.payments.lease_ms();
        let CheckoutRecord { id, hold, price, .. } = draft.record;
        let first = draft.is_announced.then(|| draft.change(Some(0), lease_ms, KEEP_HOLD_MS));
        let new = NewCheckout {
            id,
            key,
            hold,
            provider: draft.record.provider.clone(),
            method: draft.record.method.clone(),
            price,
            captures_later: draft.state().captures_later,
            lease_ms,
            keep_hold_ms: KEEP_HOLD_MS,
            first,
        };
        let outcome = self.submit_begin(new).await;
        if !matches!(outcome, Ok(BeginOutcome::Begun)) && draft.is_reserved {
            self.payments.get(&draft.record.provider).into_iter().for_each(|it| it.give_back());
        }
        let draft = if draft.is_announced { draft.recorded(None) } else { draft };
        Ok((outcome?, draft))
    }
}
