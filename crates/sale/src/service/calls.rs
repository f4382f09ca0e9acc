//! The batched calls.

use std::sync::Arc;

use async_trait::async_trait;
use contract::fnv1a;

use super::expiry::expire_due;
use super::lanes::BatchCall;
use super::ledger_access::LedgerAccess;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{
    BeginOutcome, ChangeOutcome, CheckoutChange, EndHold, EndOutcome, HoldOutcome, LedgerError,
    NewCheckout, NewHold, Outcome, PricedHold,
};
use crate::request::RequestKey;
use crate::rules::{GrantRefusal, HoldEnd};

/// Grants holds.
pub(super) struct HoldCall(pub(super) LedgerAccess);

#[async_trait]
impl BatchCall for HoldCall {
    type Item = NewHold;
    type Outcome = HoldOutcome;

    fn identity(hold: &NewHold) -> u128 {
        hold.id.0
    }

    /// A refusal counts only if no hold is past its deadline: the stock of those is available.
    async fn call(&self, batch: Arc<[NewHold]>) -> Result<Vec<HoldOutcome>, LedgerError> {
        let LedgerAccess { ledger, metrics, early } = &self.0;
        metrics.observe_batch("hold", batch.len());
        let asking = early.ask();
        let mut outcomes = ledger.hold(Arc::clone(&batch)).await?;
        let is_short = |outcome: &HoldOutcome| {
            matches!(
                outcome,
                Outcome::Refused(GrantRefusal::SoldOut(_) | GrantRefusal::CustomerLimit(_))
            )
        };
        if !outcomes.iter().any(is_short) {
            return Ok(outcomes);
        }
        if expire_due(&self.0).await? == 0 {
            early.learn(&asking, &outcomes);
            return Ok(outcomes);
        }
        let refused: Vec<usize> = (0..batch.len()).filter(|at| is_short(&outcomes[*at])).collect();
        let again: Arc<[NewHold]> = refused.iter().map(|at| batch[*at].clone()).collect();
        let asking = early.ask();
        for (at, outcome) in refused.into_iter().zip(ledger.hold(again).await?) {
            outcomes[at] = outcome;
        }
        early.learn(&asking, &outcomes);
        Ok(outcomes)
    }
}

/// Ends holds, all of one lane.
pub(super) struct EndCall(pub(super) LedgerAccess);

#[async_trait]
impl BatchCall for EndCall {
    type Item = EndHold;
    type Outcome = EndOutcome;

    fn identity(end: &EndHold) -> u128 {
        end.hold.0
    }

    async fn call(&self, batch: Arc<[EndHold]>) -> Result<Vec<EndOutcome>, LedgerError> {
        let LedgerAccess { ledger, metrics, early } = &self.0;
        metrics.observe_batch("end", batch.len());
        let outcomes = ledger.end(Arc::clone(&batch)).await;
        // A call without an answer may have freed units too.
        let freeing = batch.iter().find(|end| end.end != HoldEnd::Confirmed);
        if let Some(end) = freeing {
            early.freed(end.hold.lane());
        }
        outcomes
    }
}

/// Looks for requests that had their effect before: a repeat gets its stored answer, not a refusal.
pub(super) struct KeyCall(pub(super) LedgerAccess);

/// The only lane of calls that lock nothing.
pub(super) const LOCKLESS_LANE: u32 = 0;

#[async_trait]
impl BatchCall for KeyCall {
    type Item = RequestKey;
    type Outcome = Option<HoldOutcome>;

    fn identity(key: &RequestKey) -> u128 {
        u128::from(fnv1a(key.key.as_str().bytes()))
    }

    async fn call(&self, batch: Arc<[RequestKey]>) -> Result<Vec<Self::Outcome>, LedgerError> {
        let LedgerAccess { ledger, metrics, .. } = &self.0;
        metrics.observe_batch("find key", batch.len());
        ledger.find_granted(batch).await
    }
}

/// Reads holds with their prices.
pub(super) struct PriceCall(pub(super) LedgerAccess);

#[async_trait]
impl BatchCall for PriceCall {
    type Item = HoldId;
    type Outcome = Option<PricedHold>;

    fn identity(hold: &HoldId) -> u128 {
        hold.0
    }

    async fn call(&self, batch: Arc<[HoldId]>) -> Result<Vec<Self::Outcome>, LedgerError> {
        let LedgerAccess { ledger, metrics, .. } = &self.0;
        metrics.observe_batch("read prices", batch.len());
        ledger.priced_holds(batch).await
    }
}

/// Begins checkouts, all of one lane.
pub(super) struct BeginCall(pub(super) LedgerAccess);

#[async_trait]
impl BatchCall for BeginCall {
    type Item = NewCheckout;
    type Outcome = BeginOutcome;

    fn identity(new: &NewCheckout) -> u128 {
        new.hold.0
    }

    async fn call(&self, batch: Arc<[NewCheckout]>) -> Result<Vec<BeginOutcome>, LedgerError> {
        let LedgerAccess { ledger, metrics, .. } = &self.0;
        metrics.observe_batch("begin checkout", batch.len());
        ledger.begin_checkouts(batch).await
    }
}

/// Records changes of checkouts, all of one lane: orders, announcements and ends are in one call.
pub(super) struct ChangeCall(pub(super) LedgerAccess);

#[async_trait]
impl BatchCall for ChangeCall {
    type Item = CheckoutChange;
    type Outcome = ChangeOutcome;

    fn identity(change: &CheckoutChange) -> u128 {
        let CheckoutId(name) = change.id;
        name.0
    }

    async fn call(&self, batch: Arc<[CheckoutChange]>) -> Result<Vec<ChangeOutcome>, LedgerError> {
        let LedgerAccess { ledger, metrics, .. } = &self.0;
        metrics.observe_batch("change checkout", batch.len());
        ledger.change_checkouts(batch).await
    }
}
