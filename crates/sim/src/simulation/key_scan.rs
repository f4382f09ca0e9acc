//! The scan of the existing rows, for the contracts that keep a key filter.

use std::sync::Arc;

use async_trait::async_trait;
use cache::origin::{KeyPage, KeyScan};
use cache::{Engine, Origin, OriginError, Policy};
use contract::Contract;
use rand::RngExt;

use super::rows_origin::{RowsOrigin, error, unavailable};
use super::setup::KEYS;
use super::trace::TraceEvent;
use crate::model::composition::CompositionRule;

/// Maintains the key filter of a contract, without end.
pub(super) async fn maintain(
    engine: Engine,
    contract: Contract,
    policy: Arc<Policy>,
    origin: Arc<dyn Origin>,
) {
    engine.keep_filter(&contract, &policy, &origin).await;
}

#[async_trait]
impl KeyScan for RowsOrigin {
    async fn estimate(&self) -> Result<cache::origin::ScanEstimate, OriginError> {
        self.transmit().await?;
        self.transmit().await?;
        if self.env.fails() {
            return Err(error(&self.env));
        }
        Ok(cache::origin::ScanEstimate { keys: KEYS as u64, unsuitable: None })
    }

    async fn page(&self, after: Option<&str>, _: usize) -> Result<KeyPage, OriginError> {
        debug_assert_eq!(after, None, "one page holds them all");
        self.transmit().await?;
        self.think_time().await;
        let (generation, mut ids, end) = {
            let db = self.env.db.lock();
            if !db.up {
                return Err(unavailable("down"));
            }
            let there = |key: &usize| db.read(*key).present;
            let ids: Vec<String> = (0..=KEYS).filter(there).map(|key| key.to_string()).collect();
            (db.generation, ids, db.end)
        };
        self.think_time().await;
        self.transmit().await?;
        if self.env.db.lock().generation != generation {
            return Err(unavailable("the server was shut down"));
        }
        if self.env.fails() {
            if self.env.enforces(CompositionRule::FailedPageIsNoPage) {
                return Err(error(&self.env));
            }
            ids.truncate(self.env.draw(|rng| rng.random_range(0..=KEYS)));
        }
        self.env.note(Some(self.node), TraceEvent::KeyScan(ids.len()));
        Ok(KeyPage { ids, seen: Some(end) })
    }
}
