//! The roll of the rows that exist, of which some contracts keep a filter.

use std::sync::Arc;

use async_trait::async_trait;
use cache::origin::{Page, Roll};
use cache::{Engine, Origin, OriginError, Policy};
use contract::Contract;

use super::node::{Rows, unavailable};
use super::setup::KEYS;
use super::trace::What;

/// Rows whose absence is known by a filter: their contracts allow a second, and ten.
pub(super) const FILTERED: [usize; 2] = [0, 3];

/// Keeps a filter for a row's policy, for ever.
pub(super) async fn keep(engine: Engine, policy: Arc<Policy>, origin: Arc<dyn Origin>) {
    let text = "key = \"v1:sim:row:{id}\"\nvalue = \"select value from rows where id = $id\"\n\
                from = { source = \"sim\", table = \"rows\" }\nstaleness = \"1s\"\n\
                absent_filter = { rebuild = \"60s\" }\n";
    let contract = Contract::from_toml("filtered", &text.parse().expect("TOML"));
    engine.keep_filter(&contract.expect("a contract"), &policy, &origin).await;
}

#[async_trait]
impl Roll for Rows {
    async fn rows(&self) -> Result<cache::origin::Rows, OriginError> {
        self.way().await?;
        self.way().await?;
        Ok(cache::origin::Rows { about: KEYS as u64, unfit: None })
    }

    async fn page(&self, after: Option<&str>, _: usize) -> Result<Page, OriginError> {
        debug_assert_eq!(after, None, "one page holds them all");
        self.way().await?;
        self.thinks().await;
        let (life, ids, end) = {
            let db = self.stage.db.lock();
            if !db.up {
                return Err(unavailable("down"));
            }
            let there = |key: &usize| db.read(*key).present;
            let ids: Vec<String> = (0..=KEYS).filter(there).map(|key| key.to_string()).collect();
            (db.life, ids, db.end)
        };
        self.thinks().await;
        self.way().await?;
        if self.stage.db.lock().life != life {
            return Err(unavailable("the server was shut down"));
        }
        self.stage.note(Some(self.node), What::Roll(ids.len()));
        Ok(Page { ids, seen: Some(end) })
    }
}
