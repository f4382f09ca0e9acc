//! The ledger with its observers.

use std::sync::Arc;

use super::early::EarlyRefusals;
use super::metrics::SaleMetrics;
use crate::ledger::Ledger;

/// The parts that all batched calls share.
#[derive(Clone)]
pub(super) struct LedgerAccess {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) metrics: SaleMetrics,
    pub(super) early: EarlyRefusals,
}
