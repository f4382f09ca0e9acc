//! The batched calls.

use std::sync::Arc;

use async_trait::async_trait;

use super::expiry::expire_due;
use super::lanes::BatchCall;
use super::metrics::SaleMetrics;
use crate::ledger::{EndHold, EndOutcome, HoldOutcome, Ledger, LedgerError, NewHold, Outcome};
use crate::rules::GrantRefusal;

/// Grants holds.
pub(super) struct HoldCall {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) metrics: SaleMetrics,
}

#[async_trait]
impl BatchCall for HoldCall {
    type Item = NewHold;
    type Outcome = HoldOutcome;

    fn identity(hold: &NewHold) -> u128 {
        hold.id.0
    }

    /// A refusal counts only if no hold is past its deadline: the stock of those is available.
    async fn call(&self, batch: Arc<[NewHold]>) -> Result<Vec<HoldOutcome>, LedgerError> {
        self.metrics.observe_batch("hold", batch.len());
        let mut outcomes = self.ledger.hold(Arc::clone(&batch)).await?;
        let is_short = |outcome: &HoldOutcome| {
            matches!(
                outcome,
                Outcome::Refused(GrantRefusal::SoldOut(_) | GrantRefusal::CustomerLimit(_))
            )
        };
        if !outcomes.iter().any(is_short) || expire_due(&*self.ledger, &self.metrics).await? == 0 {
            return Ok(outcomes);
        }
        let refused: Vec<usize> = (0..batch.len()).filter(|at| is_short(&outcomes[*at])).collect();
        let again: Arc<[NewHold]> = refused.iter().map(|at| batch[*at].clone()).collect();
        for (at, outcome) in refused.into_iter().zip(self.ledger.hold(again).await?) {
            outcomes[at] = outcome;
        }
        Ok(outcomes)
    }
}

/// Ends holds.
pub(super) struct EndCall {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) metrics: SaleMetrics,
}

#[async_trait]
impl BatchCall for EndCall {
    type Item = EndHold;
    type Outcome = EndOutcome;

    fn identity(end: &EndHold) -> u128 {
        end.hold.0
    }

    async fn call(&self, batch: Arc<[EndHold]>) -> Result<Vec<EndOutcome>, LedgerError> {
        self.metrics.observe_batch("end", batch.len());
        self.ledger.end(batch).await
    }
}
