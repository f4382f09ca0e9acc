//! The operations.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;

use super::calls::{BeginCall, ChangeCall, EndCall, HoldCall, KeyCall, LOCKLESS_LANE, PriceCall};
use super::checkout::Payments;
use super::early::EarlyRefusals;
use super::error::SaleError;
use super::keys::{KeyGuard, KeysInFlight};
use super::lanes::Lanes;
use super::ledger_access::LedgerAccess;
use super::metrics::SaleMetrics;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::lane::Lane;
use crate::ledger::{
    Adjusted, BeginOutcome, ChangeOutcome, CheckoutChange, EndHold, EndRefusal, Granted, HoldView,
    Ledger, NewCheckout, NewHold, Outcome, PricedHold, SkuStock,
};
use crate::request::{
    AdjustStock, ExtendRequest, HoldRequest, IdempotencyKey, RequestKey, SetStock, confirm_digest,
};
use crate::rules::{GrantRefusal, HoldEnd, HoldRefusal, Price, Shortage};

/// A hold that was granted, now or when the same request came before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HoldReceipt {
    /// Its name.
    pub hold: HoldId,
    /// Its deadline when it was granted, in ms since 1970 by the database's clock.
    pub deadline_ms: i64,
}

/// The sale on one ledger. Clones share everything.
#[derive(Clone)]
pub struct Sale {
    ledger: Arc<dyn Ledger>,
    holds: Arc<Lanes<HoldCall>>,
    ends: Arc<Lanes<EndCall>>,
    known: Arc<Lanes<KeyCall>>,
    prices: Arc<Lanes<PriceCall>>,
    begins: Arc<Lanes<BeginCall>>,
    changes: Arc<Lanes<ChangeCall>>,
    early: EarlyRefusals,
    keys: KeysInFlight,
    pub(super) clock: Arc<dyn Clock>,
    metrics: SaleMetrics,
    pub(super) payments: Payments,
}

impl Sale {
    /// Creates a sale. `clock` decides about no hold: names of holds begin with its time, and early refusals end by it.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, metrics: SaleMetrics) -> Self {
        let early = EarlyRefusals::off(Arc::clone(&clock));
        let access = LedgerAccess { ledger, metrics, early };
        Self {
            holds: Lanes::new(HoldCall(access.clone())),
            ends: Lanes::new(EndCall(access.clone())),
            known: Lanes::new(KeyCall(access.clone())),
            prices: Lanes::new(PriceCall(access.clone())),
            begins: Lanes::new(BeginCall(access.clone())),
            changes: Lanes::new(ChangeCall(access.clone())),
            keys: KeysInFlight::default(),
            clock,
            ledger: access.ledger,
            metrics: access.metrics,
            early: access.early,
            payments: Payments::default(),
        }
    }

    /// Refuses requests for stock by the ledger's last refusal, for at most `bound` after it was asked; zero: never.
    #[must_use]
    pub fn with_early_refusals(self, bound: Duration) -> Self {
        self.early.set_bound(bound);
        self
    }

    pub(super) fn access(&self) -> LedgerAccess {
        let ledger = Arc::clone(&self.ledger);
        LedgerAccess { ledger, metrics: self.metrics.clone(), early: self.early.clone() }
    }

    /// Returns the sale with these payment providers.
    #[must_use]
    pub fn with_payments(self, payments: Payments) -> Self {
        Self { payments, ..self }
    }

    pub(in crate::service) fn ledger(&self) -> &dyn Ledger {
        &*self.ledger
    }

    pub(crate) fn metrics(&self) -> &SaleMetrics {
        &self.metrics
    }

    /// Holds all lines of a request or none. The hold is durable when this returns.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn hold(
        &self,
        request: HoldRequest,
        key: &IdempotencyKey,
    ) -> Result<HoldReceipt, SaleError> {
        let guard = self.enter(key)?;
        let key = RequestKey { key: key.clone(), digest: request.digest() };
        let ttl_ms = request.ttl_ms();
        match self.grant(request, key, guard).await? {
            Ok(granted) => {
                Ok(HoldReceipt { hold: granted.hold, deadline_ms: granted.at_ms + ttl_ms })
            }
            Err(NotSettled::Key(err)) => Err(err),
            Err(NotSettled::Refused(refusal)) => {
                let err = SaleError::from(refusal);
                self.count_lost(&err);
                Err(err)
            }
        }
    }

    async fn grant(
        &self,
        request: HoldRequest,
        key: RequestKey,
        guard: KeyGuard,
    ) -> Result<Result<Granted, NotSettled<GrantRefusal>>, SaleError> {
        let short = self.early.shortages(request.lines());
        if short.is_empty() {
            let lane = request.lane();
            let id = HoldId::new(self.clock.wall_ms(), lane, rand::random());
            let hold = NewHold { id, key, request };
            return Ok(settled(self.holds.submit(lane.number(), hold, Some(guard)).await?));
        }
        if let Some(known) = self.known.submit(LOCKLESS_LANE, key, Some(guard)).await? {
            return Ok(settled(known));
        }
        self.metrics.refused_early();
        Ok(Err(NotSettled::Refused(GrantRefusal::SoldOut(short))))
    }

    fn count_lost(&self, err: &SaleError) {
        if let SaleError::SoldOut(lines) | SaleError::CustomerLimit(lines) = err {
            let missing = |Shortage { demand, available }: &Shortage| demand.quantity - available;
            let units = lines.iter().map(missing).filter(|units| *units > 0).sum();
            self.metrics.refused(err.kind(), units);
        }
    }

    /// Sells the units of a hold. Returns when it was confirmed, in ms since 1970 by the database's clock.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn confirm(&self, hold: HoldId, key: &IdempotencyKey) -> Result<i64, SaleError> {
        let guard = self.enter(key)?;
        let key = RequestKey { key: key.clone(), digest: confirm_digest(hold) };
        let end = EndHold { hold, end: HoldEnd::Confirmed, key: Some(key) };
        let outcome = self.ends.submit(hold.lane().number(), end, Some(guard)).await?;
        settled(outcome).map_err(|not| not.into_error(|refusal| SaleError::of_hold(hold, refusal)))
    }

    /// Gives the units of a hold back, unless it has ended without a sale.
    ///
    /// # Errors
    /// [`SaleError`]: the hold is confirmed, or not known.
    pub async fn cancel(&self, hold: HoldId) -> Result<HoldEnd, SaleError> {
        let end = EndHold { hold, end: HoldEnd::Cancelled, key: None };
        match settled(self.ends.submit(hold.lane().number(), end, None).await?) {
            Ok(_) => Ok(HoldEnd::Cancelled),
            Err(NotSettled::Refused(EndRefusal::Hold(HoldRefusal::Ended(end))))
                if end != HoldEnd::Confirmed =>
            {
                Ok(end)
            }
            Err(not) => Err(not.into_error(|refusal| SaleError::of_hold(hold, refusal))),
        }
    }

    /// Moves the deadline of a hold, once. Returns the new one, in ms since 1970 by the database's clock.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn extend(
        &self,
        request: &ExtendRequest,
        key: &IdempotencyKey,
    ) -> Result<i64, SaleError> {
        let _guard = self.enter(key)?;
        let key = RequestKey { key: key.clone(), digest: request.digest() };
        let outcome = settled(self.ledger.extend(request, &key).await?);
        outcome.map_err(|not| not.into_error(|refusal| SaleError::of_hold(request.hold, refusal)))
    }

    /// Returns a hold.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn find_hold(&self, hold: HoldId) -> Result<HoldView, SaleError> {
        self.ledger.find_hold(hold).await?.ok_or(SaleError::UnknownHold(hold))
    }

    /// Sets the stock of a SKU at a location.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn set_stock(&self, request: &SetStock) -> Result<(), SaleError> {
        let outcome = self.ledger.set_stock(request).await;
        self.early.freed(Lane::of_sku(&request.cell.sku));
        outcome??;
        if let Some(price) = request.price {
            self.ledger.set_price(&request.cell.sku, price).await?;
        }
        Ok(())
    }

    /// Returns the price of a SKU.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn price(&self, sku: &str) -> Result<Option<Price>, SaleError> {
        Ok(self.ledger.price(sku).await?)
    }

    /// Changes the units on hand of a SKU at a location.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn adjust(
        &self,
        request: &AdjustStock,
        key: &IdempotencyKey,
    ) -> Result<Adjusted, SaleError> {
        let _guard = self.enter(key)?;
        let key = RequestKey { key: key.clone(), digest: request.digest() };
        let outcome = self.ledger.adjust(request, &key).await;
        self.early.freed(Lane::of_sku(&request.cell.sku));
        let outcome = settled(outcome?);
        outcome.map_err(|not| not.into_error(SaleError::from))
    }

    /// Returns the stock of a SKU.
    ///
    /// # Errors
    /// [`SaleError`].
    pub async fn stock(&self, sku: &str) -> Result<SkuStock, SaleError> {
        self.ledger.stock(sku).await?.ok_or_else(|| SaleError::UnknownSku(sku.to_owned()))
    }

    /// Returns a hold with its prices.
    pub(super) async fn priced_hold(&self, hold: HoldId) -> Result<PricedHold, SaleError> {
        let found = self.prices.submit(LOCKLESS_LANE, hold, None).await?;
        found.ok_or(SaleError::UnknownHold(hold))
    }

    pub(super) async fn submit_begin(&self, new: NewCheckout) -> Result<BeginOutcome, SaleError> {
        // One that needs more than its hold is a call of its own: others do not wait for it.
        let lane = if new.needs_hold_alone() {
            new.hold.lane().number()
        } else {
            u32::try_from(new.hold.0 & u128::from(u32::MAX)).unwrap_or_default()
        };
        Ok(self.begins.submit(lane, new, None).await?)
    }

    /// Records a change of a checkout.
    pub(super) async fn record(&self, change: CheckoutChange) -> Result<ChangeOutcome, SaleError> {
        let CheckoutId(name) = change.id;
        Ok(self.changes.submit(name.lane().number(), change, None).await?)
    }

    /// `lane`: units of its SKUs have come back, or may have.
    pub(super) fn freed(&self, lane: Lane) {
        self.early.freed(lane);
    }

    pub(super) fn enter(&self, key: &IdempotencyKey) -> Result<KeyGuard, SaleError> {
        self.keys.enter(key).ok_or(SaleError::KeyInFlight)
    }
}

/// Why an outcome has no value.
enum NotSettled<R> {
    Key(SaleError),
    Refused(R),
}

impl<R> NotSettled<R> {
    fn into_error(self, refused: impl FnOnce(R) -> SaleError) -> SaleError {
        match self {
            Self::Key(err) => err,
            Self::Refused(refusal) => refused(refusal),
        }
    }
}

/// The answer to a request is the same, now and later.
fn settled<T, R>(outcome: Outcome<T, R>) -> Result<T, NotSettled<R>> {
    match outcome {
        Outcome::Done(value) | Outcome::Repeated(value) => Ok(value),
        Outcome::Refused(refusal) => Err(NotSettled::Refused(refusal)),
        Outcome::KeyReused => Err(NotSettled::Key(SaleError::KeyReused)),
        Outcome::KeyInFlight => Err(NotSettled::Key(SaleError::KeyInFlight)),
    }
}
