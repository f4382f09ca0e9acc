//! The loop that takes up checkouts that are due: delayed ones, and those of nodes that died.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::ledger::LedgerError;
use crate::service::sale::Sale;

/// The pause between two passes. All nodes do this, so that any of them suffices.
const PAUSE: Duration = Duration::from_millis(250);

/// The most checkouts that a node works on at once in this loop.
const AT_ONCE: usize = 64;

impl Sale {
    /// Takes up due checkouts, for ever.
    pub(in crate::service) async fn run_resume(&self) {
        if self.payments.is_empty() {
            return;
        }
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            if let Err(error) = self.take_up(&mut running).await {
                tracing::warn!(%error, "due checkouts can't be read");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take_up(&self, running: &mut JoinSet<()>) -> Result<(), LedgerError> {
        let free = AT_ONCE.saturating_sub(running.len());
        let limit = u32::try_from(free).unwrap_or_default();
        if limit == 0 {
            return Ok(());
        }
        for record in self.ledger().lease_due(limit, self.payments.lease_ms()).await? {
            let (sale, id) = (self.clone(), record.id);
            running.spawn(async move {
                if let Err(error) = sale.drive(record).await {
                    tracing::warn!(%error, checkout = %id, "a checkout waits for another try");
                }
            });
        }
        Ok(())
    }
}
