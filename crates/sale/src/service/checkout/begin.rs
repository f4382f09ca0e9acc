//! The begin of a checkout, and its first change.

use super::draft::Draft;
use super::drive::{KEEP_HOLD_MS, announce, take};
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{BeginOutcome, CheckoutRecord, NewCheckout, PricedHold, ShownCart};
use crate::request::{PaymentRequest, RequestKey};
use crate::rules::{CheckoutInput, CheckoutState, Operation, quote};
use crate::service::error::SaleError;
use crate::service::sale::Sale;

/// Returns a checkout as the ledger records it at its begin.
fn new_record(
    id: CheckoutId,
    hold: HoldId,
    customer: String,
    provider: String,
    payment: &PaymentRequest,
) -> CheckoutRecord {
    let gift = payment.gift.as_ref().map_or(0, |part| part.amount);
    let by_provider = payment.price.amount - gift;
    CheckoutRecord {
        id,
        hold,
        customer,
        provider,
        method: payment.method().to_owned(),
        price: payment.price,
        gift_card: payment.gift.as_ref().map(|part| part.code.hash().to_owned()),
        reference: None,
        state: CheckoutState::with_gift(by_provider, gift, payment.captures_later),
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
    fn first_draft(&self, record: CheckoutRecord) -> Result<Draft, SaleError> {
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

    /// Begins a checkout of a hold at the price of its lines. Returns the draft as it is recorded then.
    ///
    /// # Errors
    /// The customer was shown another price, or [`SaleError`].
    pub(super) async fn begin(
        &self,
        hold: HoldId,
        payment: &PaymentRequest,
        provider: String,
        key: RequestKey,
        cart: Option<ShownCart>,
    ) -> Result<(BeginOutcome, Draft), SaleError> {
        let PricedHold { customer, lines } = self.priced_hold(hold).await?;
        let price = quote(&lines).map_err(SaleError::Unpriced)?;
        if price != payment.price {
            return Err(SaleError::PriceChanged(price));
        }
        let id = CheckoutId(HoldId::new(self.clock.wall_ms(), hold.lane(), rand::random()));
        let draft = self.first_draft(new_record(id, hold, customer, provider, payment))?;
        let lease_ms = self.payments.lease_ms();
        let first = draft.is_announced.then(|| draft.change(Some(0), lease_ms, KEEP_HOLD_MS));
        let new = NewCheckout {
            id,
            key,
            hold,
            provider: draft.record.provider.clone(),
            method: draft.record.method.clone(),
            price,
            gift: payment.gift.clone(),
            cart,
            captures_later: payment.captures_later,
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
