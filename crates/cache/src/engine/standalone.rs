//! An engine of one process that follows no log, for programs that use the engine as a library.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Batch, Cause, Clock, CoverageDigest, Epoch, Event, Lsn, Subject};
use contract::Contract;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::handle::Engine;
use super::metrics::Metrics;
use super::options::EngineOptions;
use super::policy::Policy;
use crate::clock::SystemClock;
use crate::shared::{MemoryTier, SharedTier, TierError};

/// The memory of the tier that stands for a shared one, in bytes: lookups end in the in-process tier before it.
const TIER_BYTES: u64 = 16 << 20;

/// How often the engine is asked whether it has received a batch.
const POLL: Duration = Duration::from_millis(1);

/// An engine of one process that follows no log: its entries end by their TTL and by [`invalidate`](Self::invalidate),
/// and age is the evidence of their bounds. It stops with this handle.
pub struct Standalone {
    engine: Engine,
    /// The position of the last invalidation.
    position: Mutex<u64>,
    follower: JoinHandle<()>,
}

/// A contract whose entries nothing would invalidate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "contract {contract}: rows of `{table}` invalidate its entries, and a standalone engine follows no log, so nothing \
     would be proven. Remove `from`, so that age is the evidence and `staleness` limits it, or apply the batches of a \
     feed to an engine of `Engine::new`"
)]
pub struct NeverFed {
    /// The contract.
    pub contract: String,
    /// The table of its `from`.
    pub table: String,
}

impl Engine {
    /// Starts an engine of one process that follows no log, with default settings.
    ///
    /// # Errors
    /// As [`Standalone::start`].
    pub async fn standalone() -> Result<Standalone, TierError> {
        Standalone::start(EngineOptions::default()).await
    }
}

impl Standalone {
    const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

    /// Starts an engine. Needs a runtime of tokio, with time.
    ///
    /// # Errors
    /// The tier did not start.
    pub async fn start(options: EngineOptions) -> Result<Self, TierError> {
        let clock = Arc::new(SystemClock::start());
        let tier = Arc::new(MemoryTier::new(clock.clone(), TIER_BYTES));
        let engine = Engine::new(options, tier.clone(), clock.clone(), Metrics::detached());
        let followed = engine.clone();
        let follower = tokio::spawn(async move { followed.follow(std::future::pending()).await });
        let standalone = Self { engine, position: Mutex::new(0), follower };
        tier.reset_epoch(Self::EPOCH, Lsn::ZERO, Lsn::ZERO).await?;
        // Nothing is stored before a sample shows that the tier's log is the one that is read.
        standalone.engine.sample(Self::EPOCH.log(), clock.mono(), Lsn::ZERO);
        while standalone.engine.status().epoch.is_none() {
            // The stream may not be subscribed yet.
            standalone.apply(0, Vec::new()).await?;
            tokio::time::sleep(POLL).await;
        }
        Ok(standalone)
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the policy of a contract's reads.
    ///
    /// # Errors
    /// Rows of a table invalidate the contract's entries: nothing feeds them here.
    pub fn policy(&self, contract: &Contract) -> Result<Arc<Policy>, NeverFed> {
        match &contract.from {
            None => Ok(Arc::new(Policy::from(contract))),
            Some(from) => {
                Err(NeverFed { contract: contract.name.clone(), table: from.table.clone() })
            }
        }
    }

    /// Invalidates keys, tags or patterns; in force for every read that begins after it has returned. A load that began
    /// before it is not stored.
    ///
    /// # Errors
    /// The tier failed.
    pub async fn invalidate(&self, subjects: Vec<Subject>) -> Result<(), TierError> {
        let mut position = self.position.lock().await;
        let lsn = Lsn(*position + 1);
        let event =
            Event { lsn, cause: Cause::Purge, committed_us: 0, subjects, renewals: Vec::new() };
        self.apply(*position, vec![event]).await?;
        *position = lsn.0;
        while self.engine.status().applied < lsn {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn apply(&self, prev: u64, events: Vec<Event>) -> Result<(), TierError> {
        let upto = events.last().map_or(Lsn(prev), |event| event.lsn);
        let (prev, watermark) = (Lsn(prev), upto);
        let coverage = CoverageDigest::NONE;
        let batch = Batch { epoch: Self::EPOCH, prev, upto, watermark, coverage, events };
        self.engine
            .shared()
            .apply(&batch)
            .await?
            .map_err(|gap| TierError::Malformed(gap.to_string()))
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
