//! The ledger.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use database::sqlite::{OpenMode, Pool};
use rusqlite::Connection;

use super::transaction::{NOW, Session, failed};
use super::{audit, holds, migrate, stock};
use crate::hold_id::HoldId;
use crate::ledger::{
    AdjustOutcome, EndHold, EndOutcome, ExtendOutcome, Finding, History, HoldOutcome, HoldView,
    Ledger, LedgerError, LedgerStatus, NewHold, SkuStock, StockRefusal,
};
use crate::request::{AdjustStock, ExtendRequest, RequestKey, SetStock};
use crate::rules::{HoldEnd, HoldState};
use crate::schema::SchemaError;

/// The ledger in an SQLite file.
#[derive(Clone)]
pub struct SqliteLedger {
    pool: Pool,
}

impl SqliteLedger {
    /// Opens an existing file and checks its schema. `limit`: the time limit of the wait for the write lock.
    ///
    /// # Errors
    /// The file can't be opened, or its schema can't be used.
    pub async fn open(path: &Path, limit: Duration) -> Result<Self, SchemaError> {
        let pool = Pool::new(path, OpenMode::ReadWrite, limit);
        pool.run(migrate::check).await?;
        Ok(Self { pool })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.pool.run(work).await
    }

    /// Runs `work` in a transaction, which is durable afterwards.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Session<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let transaction = move |connection: &Connection| {
            let session = Session::begin(connection)?;
            let done = work(&session)?;
            session.commit()?;
            Ok(done)
        };
        self.run(transaction).await
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn hold(&self, batch: Arc<[NewHold]>) -> Result<Vec<HoldOutcome>, LedgerError> {
        self.write(move |session| holds::hold_batch(session, &batch)).await
    }

    async fn find_granted(
        &self,
        keys: Arc<[RequestKey]>,
    ) -> Result<Vec<Option<HoldOutcome>>, LedgerError> {
        let read = move |connection: &Connection| {
            let read = Session::snapshot(connection)?;
            keys.iter().map(|key| holds::granted_before(&read, key)).collect()
        };
        self.run(read).await
    }

    async fn end(&self, batch: Arc<[EndHold]>) -> Result<Vec<EndOutcome>, LedgerError> {
        self.write(move |session| batch.iter().map(|end| holds::end(session, end)).collect()).await
    }

    async fn extend(
        &self,
        request: &ExtendRequest,
        key: &RequestKey,
    ) -> Result<ExtendOutcome, LedgerError> {
        let (request, key) = (*request, key.clone());
        self.write(move |session| holds::extend(session, &request, &key)).await
    }

    async fn set_stock(&self, request: &SetStock) -> Result<Result<(), StockRefusal>, LedgerError> {
        let request = request.clone();
        self.write(move |session| stock::set(session, &request)).await
    }

    async fn adjust(
        &self,
        request: &AdjustStock,
        key: &RequestKey,
    ) -> Result<AdjustOutcome, LedgerError> {
        let (request, key) = (request.clone(), key.clone());
        self.write(move |session| stock::adjust(session, &request, &key)).await
    }

    async fn stock(&self, sku: &str) -> Result<Option<SkuStock>, LedgerError> {
        let sku = sku.to_owned();
        let read = move |connection: &Connection| {
            let read = Session::snapshot(connection)?;
            let mut found = stock::of_sku(&read, &sku)?;
            if let Some(found) = &mut found {
                stock::without_due(&read, &sku, found)?;
            }
            Ok(found)
        };
        self.run(read).await
    }

    async fn find_hold(&self, hold: HoldId) -> Result<Option<HoldView>, LedgerError> {
        let read = move |connection: &Connection| {
            let read = Session::snapshot(connection)?;
            let mut found = holds::find(&read, hold)?;
            if let Some(HoldView { state, deadline_ms, .. }) = &mut found
                && matches!(state, HoldState::Active { .. })
                && *deadline_ms <= read.now_ms
            {
                *state = HoldState::Ended(HoldEnd::Expired);
            }
            Ok(found)
        };
        self.run(read).await
    }

    async fn due(&self, limit: u32) -> Result<Vec<HoldId>, LedgerError> {
        let read = move |connection: &Connection| {
            let sql = format!(
                "select id from tidegate_hold where state = 'active' and expires_at <= {NOW} \
                 order by expires_at limit ?1"
            );
            let mut statement = connection.prepare_cached(&sql).map_err(failed)?;
            let names = statement.query_map([limit], |row| row.get::<_, String>(0));
            let names: Vec<String> = names.and_then(Iterator::collect).map_err(failed)?;
            let parse = |name: String| {
                name.parse().map_err(|_| LedgerError::Unreadable(format!("the hold {name:?}")))
            };
            names.into_iter().map(parse).collect()
        };
        self.run(read).await
    }

    async fn forget_keys(&self) -> Result<u64, LedgerError> {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        let forget = |session: &Session<'_>| {
            let old = "delete from tidegate_webhook where at < ?1";
            session.run(old, [session.now_ms - 30 * DAY_MS])?;
            let sql = "delete from tidegate_request where at < ?1";
            session.run(sql, [session.now_ms - DAY_MS])
        };
        Ok(self.write(forget).await? as u64)
    }

    async fn status(&self) -> Result<LedgerStatus, LedgerError> {
        self.run(audit::status).await
    }

    async fn audit(&self) -> Result<Vec<Finding>, LedgerError> {
        self.run(audit::findings).await
    }

    async fn history(&self) -> Result<History, LedgerError> {
        self.run(audit::history).await
    }
}
