//! The loops that expire holds and take up checkouts.

use std::time::Duration;

use super::expiry::{PASS_MAX, expire_due};
use super::sale::Sale;
use crate::ledger::LedgerError;

/// The pause between two passes. All nodes do this, so that any of them suffices.
const PAUSE: Duration = Duration::from_millis(250);

/// The passes between two that also forget old idempotency keys: a minute.
const PASSES_PER_FORGET: u32 = 240;

impl Sale {
    /// Records the ends of due holds and takes up due checkouts, for ever. `report` gets the outcome of each pass over
    /// the holds.
    pub async fn run_sweeper(&self, report: impl Fn(Result<(), LedgerError>) + Send) {
        tokio::join!(self.run_expiry(report), self.run_resume());
    }

    async fn run_expiry(&self, report: impl Fn(Result<(), LedgerError>) + Send) {
        let mut pass = 0_u32;
        loop {
            let forget = pass.is_multiple_of(PASSES_PER_FORGET);
            report(self.sweep(forget).await);
            pass = pass.wrapping_add(1);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn sweep(&self, forget: bool) -> Result<(), LedgerError> {
        let access = self.access();
        while expire_due(&access).await? == PASS_MAX as usize {}
        if forget {
            access.ledger.forget_keys().await?;
        }
        Ok(())
    }
}
