//! The operations of clients.

use std::time::Duration;

use axum::http::HeaderMap;

use super::carts::cart_refused;
use super::draft::Draft;
use crate::checkout_id::CheckoutId;
use crate::ledger::{BeginOutcome, ChangeOutcome, CheckoutRecord, LedgerError, OrderEvent};
use crate::request::{
    CheckoutRequest, IdempotencyKey, InvalidRequest, OrderChange, OrderRequest, RequestKey,
};
use crate::rules::{CheckoutInput, CheckoutRefusal, PricedLine, step_checkout};
use crate::service::error::SaleError;
use crate::service::keys::KeyGuard;
use crate::service::sale::Sale;

/// The time for which a client waits for a payment before it is told to ask again.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

impl Sale {
    /// Pays for a hold. Returns the checkout as it is recorded: with an order, declined, or under way.
    ///
    /// # Errors
    /// [`SaleError`]. A declined payment is none.
    pub async fn check_out(
        &self,
        request: &CheckoutRequest,
        key: &IdempotencyKey,
    ) -> Result<CheckoutRecord, SaleError> {
        let guard = self.enter(key)?;
        let (hold, payment) = (request.hold, &request.payment);
        let provider = self.payments.choose_for(payment)?;
        let key = RequestKey { key: key.clone(), digest: request.digest(&provider) };
        let (outcome, draft) = self.begin(hold, payment, provider, key, None).await?;
        self.go_on(outcome, draft, guard).await
    }

    /// Works on a checkout that was begun now, or returns the known one.
    pub(super) async fn go_on(
        &self,
        outcome: BeginOutcome,
        draft: Draft,
        guard: KeyGuard,
    ) -> Result<CheckoutRecord, SaleError> {
        let CheckoutRecord { id, hold, .. } = draft.record;
        Err(match outcome {
            BeginOutcome::Begun => return self.await_drive(draft, guard).await,
            // The call was repeated, since the first answer was lost.
            BeginOutcome::Known(known) if known == id => {
                let begun = self.find_checkout(id).await?;
                return self.await_drive(Draft::new(begun), guard).await;
            }
            BeginOutcome::Known(known) => return self.find_checkout(known).await,
            BeginOutcome::Other(other) => SaleError::CheckoutExists(other),
            BeginOutcome::TooMany => SaleError::TooManyPayments,
            BeginOutcome::UnknownHold => SaleError::UnknownHold(hold),
            BeginOutcome::HoldEnded(end) => SaleError::HoldEnded(end),
            BeginOutcome::Gift(refusal) => SaleError::Gift(refusal),
            BeginOutcome::Cart(cart, refused) => cart_refused(&cart, refused),
            BeginOutcome::KeyReused => SaleError::KeyReused,
            BeginOutcome::KeyInFlight => SaleError::KeyInFlight,
        })
    }

    /// Works on a checkout in a task of its own, which goes on when the client goes away.
    async fn await_drive(
        &self,
        draft: Draft,
        guard: KeyGuard,
    ) -> Result<CheckoutRecord, SaleError> {
        let (sale, id) = (self.clone(), draft.record.id);
        let driven = tokio::spawn(async move {
            let _guard = guard;
            sale.drive_draft(draft).await
        });
        match tokio::time::timeout(ANSWER_WAIT, driven).await {
            Ok(ended) => ended.map_err(|_| SaleError::Stopped)?,
            Err(_) => self.find_checkout(id).await,
        }
    }

    /// Returns a checkout.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn find_checkout(&self, id: CheckoutId) -> Result<CheckoutRecord, SaleError> {
        self.ledger().find_checkout(id).await?.ok_or(SaleError::UnknownCheckout(id))
    }

    /// Returns the lines of a checkout with their prices.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn order_lines(&self, record: &CheckoutRecord) -> Result<Vec<PricedLine>, SaleError> {
        Ok(self.priced_hold(record.hold).await?.lines)
    }

    /// Captures, cancels or refunds an order. Returns it as it is recorded: changed, or under way.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn change_order(
        &self,
        request: &OrderRequest,
        key: &IdempotencyKey,
    ) -> Result<CheckoutRecord, SaleError> {
        let guard = self.enter(key)?;
        let digest = request.digest();
        match self.ledger().find_request(key).await? {
            Some((known, Some(id))) if known == digest => return self.find_checkout(id).await,
            Some(_) => return Err(SaleError::KeyReused),
            None => {}
        }
        let record = self.find_checkout(request.order).await?;
        if !record.state.ordered {
            return Err(SaleError::UnknownCheckout(request.order));
        }
        step_checkout(record.state, input(request, &record)).map_err(refused)?;
        let lease_ms = self.payments.lease_ms();
        let leased = self.ledger().lease_checkout(request.order, lease_ms).await?;
        let record = leased.ok_or(SaleError::CheckoutBusy)?;
        let due_in_ms = record.due_in_ms;
        let mut draft = Draft::new(record);
        let wanted = input(request, &draft.record);
        if let Err(refusal) = draft.step(wanted) {
            self.record(draft.change(due_in_ms, 0, 0)).await?;
            return Err(refused(refusal));
        }
        draft.request = Some(RequestKey { key: key.clone(), digest });
        match self.record(draft.change(Some(0), lease_ms, 0)).await? {
            ChangeOutcome::Recorded { .. } => self.await_drive(draft.recorded(None), guard).await,
            ChangeOutcome::KeyKnown => Err(SaleError::KeyInFlight),
            ChangeOutcome::Stale | ChangeOutcome::HoldEnded => Err(SaleError::CheckoutBusy),
        }
    }

    /// Takes an event of a provider: the checkout that it is about is looked at soon. Returns false for a repeat.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn take_webhook(
        &self,
        provider: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<bool, SaleError> {
        let unknown = || InvalidRequest::new("provider", "is none of the configured providers");
        let known = self.payments.get(provider).ok_or_else(unknown)?;
        let now_seconds = self.clock.wall_ms() / 1_000;
        let event = known.unguarded().check_webhook(headers, body, now_seconds).await;
        let event = event.map_err(SaleError::Webhook)?;
        Ok(self.ledger().note_webhook(provider, &event.id, &event.reference).await?)
    }

    /// Returns events of orders after a cursor.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn order_events(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OrderEvent>, SaleError> {
        let events = self.ledger().order_events(after, limit).await;
        events.map_err(|err| match err {
            LedgerError::UnknownCursor => {
                let problem = "write the `next` of an earlier answer, or leave it out";
                InvalidRequest::new("after", problem).into()
            }
            other => other.into(),
        })
    }
}

fn input(request: &OrderRequest, record: &CheckoutRecord) -> CheckoutInput {
    let state = &record.state;
    match request.change {
        OrderChange::Capture(amount) => CheckoutInput::Capture(amount.unwrap_or(state.total)),
        OrderChange::Refund(amount) => {
            CheckoutInput::Refund(amount.unwrap_or(state.refundable_with_gift()))
        }
        OrderChange::Cancel => CheckoutInput::Cancel,
    }
}

fn refused(refusal: CheckoutRefusal) -> SaleError {
    match refusal {
        CheckoutRefusal::Phase(phase) => SaleError::OrderState(phase),
        CheckoutRefusal::Amount(most) => SaleError::AmountTooLarge { most },
    }
}
