//! The operations of clients.

use std::time::Duration;

use axum::http::HeaderMap;

use super::draft::Draft;
use super::drive::KEEP_HOLD_MS;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{BeginOutcome, ChangeOutcome, CheckoutRecord, NewCheckout, OrderEvent};
use crate::request::{
    CheckoutRequest, IdempotencyKey, InvalidRequest, OrderChange, OrderRequest, PaymentRequest,
    RequestKey,
};
use crate::rules::{CheckoutInput, CheckoutRefusal, Price, PricedLine, quote, step_checkout};
use crate::service::error::SaleError;
use crate::service::keys::KeyGuard;
use crate::service::sale::Sale;

/// The time for which a client waits for a payment before it is told to ask again.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How a checkout was begun.
pub(super) enum Begun {
    /// Now, and this node has its lease.
    Now,
    /// It is known under this name.
    Before(CheckoutId),
    /// Not at all.
    Refused(SaleError),
}

impl Begun {
    pub(super) fn of(outcome: BeginOutcome, hold: HoldId) -> Self {
        Self::Refused(match outcome {
            BeginOutcome::Begun => return Self::Now,
            BeginOutcome::Known(known) => return Self::Before(known),
            BeginOutcome::Other(other) => SaleError::CheckoutExists(other),
            BeginOutcome::TooMany => SaleError::TooManyPayments,
            BeginOutcome::UnknownHold => SaleError::UnknownHold(hold),
            BeginOutcome::HoldEnded(end) => SaleError::HoldEnded(end),
            BeginOutcome::Gift(refusal) => SaleError::Gift(refusal),
            BeginOutcome::KeyReused => SaleError::KeyReused,
            BeginOutcome::KeyInFlight => SaleError::KeyInFlight,
        })
    }
}

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
        let new = self.new_checkout(hold, payment, provider, key).await?;
        let lease_ms = self.payments.lease_ms();
        let outcome = self.ledger().begin_checkout(&new, lease_ms, KEEP_HOLD_MS).await?;
        self.go_on(Begun::of(outcome, hold), new.id, guard).await
    }

    /// Composes a checkout of a hold at the price of its lines.
    ///
    /// # Errors
    /// The customer was shown another price.
    pub(super) async fn new_checkout(
        &self,
        hold: HoldId,
        payment: &PaymentRequest,
        provider: String,
        key: RequestKey,
    ) -> Result<NewCheckout, SaleError> {
        let price = self.price_of(hold).await?;
        if price != payment.price {
            return Err(SaleError::PriceChanged(price));
        }
        Ok(NewCheckout {
            id: CheckoutId(HoldId::new(self.clock.wall_ms(), hold.lane(), rand::random())),
            key,
            hold,
            provider,
            method: payment.method().to_owned(),
            price,
            gift: payment.gift.clone(),
            captures_later: payment.captures_later,
        })
    }

    /// Works on a checkout that was begun now, or returns the known one.
    pub(super) async fn go_on(
        &self,
        begun: Begun,
        id: CheckoutId,
        guard: KeyGuard,
    ) -> Result<CheckoutRecord, SaleError> {
        match begun {
            Begun::Now => {
                let record = self.find_checkout(id).await?;
                self.await_drive(Draft::new(record), guard).await
            }
            Begun::Before(known) => self.find_checkout(known).await,
            Begun::Refused(err) => Err(err),
        }
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
        if let Ok(ended) = tokio::time::timeout(ANSWER_WAIT, driven).await {
            ended.map_err(|_| SaleError::Stopped)??;
        }
        // The times of the database's clock are in its record only.
        self.find_checkout(id).await
    }

    /// Returns the price of a hold: that of its lines when it was granted.
    async fn price_of(&self, hold: HoldId) -> Result<Price, SaleError> {
        let lines = self.ledger().priced_lines(hold).await?;
        if lines.is_empty() {
            return Err(SaleError::UnknownHold(hold));
        }
        quote(&lines).map_err(SaleError::Unpriced)
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
        Ok(self.ledger().priced_lines(record.hold).await?)
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
            self.ledger().change_checkout(&draft.change(due_in_ms, 0, 0)).await?;
            return Err(refused(refusal));
        }
        draft.request = Some(RequestKey { key: key.clone(), digest });
        match self.ledger().change_checkout(&draft.change(Some(0), lease_ms, 0)).await? {
            ChangeOutcome::Recorded => self.await_drive(draft.recorded(), guard).await,
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
        Ok(self.ledger().order_events(after, limit).await?)
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
