//! The ledger.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use database::postgres::PostgresUrl;
use tokio_postgres::types::ToSql;

use super::audit;
use super::batches::{EndArrays, all_done, end_outcome, granted_before, hold_outcome};
use super::client::{Client, unreadable};
use super::grant;
use super::migrate;
use super::stock;
use super::uuid::Uuid;
use crate::hold_id::HoldId;
use crate::ledger::{
    AdjustOutcome, EndHold, EndOutcome, ExtendOutcome, Finding, Granted, History, HoldOutcome,
    HoldView, Ledger, LedgerError, LedgerStatus, NewHold, Outcome, SkuStock, StockRefusal,
};
use crate::request::{AdjustStock, ExtendRequest, RequestKey, SetStock};
use crate::schema::SchemaError;

/// The ledger in a PostgreSQL.
#[derive(Clone)]
pub struct PostgresLedger {
    pub(super) client: Client,
    pub(super) reports: Client,
}

/// The time limit of a report.
const REPORT_LIMIT: Duration = Duration::from_secs(600);

impl PostgresLedger {
    /// Checks the schema. There are at most `connections`, and `limit` is the time limit of the wait for one and of
    /// a statement.
    ///
    /// # Errors
    /// The database does not answer, or its schema can't be used.
    pub async fn open(
        url: &PostgresUrl,
        connections: usize,
        limit: Duration,
    ) -> Result<Self, SchemaError> {
        let client = Client::new(url, connections, limit);
        migrate::check(&client).await?;
        Ok(Self { client, reports: Client::for_reports(url, REPORT_LIMIT) })
    }
}

const END_OF_ONE_LINE: &str = "select * from tidegate.finish_batch($1, $2, $3, $4)";
const END_BASKETS: &str = "select * from tidegate.end_batch($1, $2, $3, $4)";
const FIND_KEYS: &str = "select r.digest, r.hold, tidegate.ms(r.at) as at_ms \
    from unnest($1::text[]) with ordinality u(key, n) left join tidegate.request r on r.key = u.key \
    order by u.n";
const EXTEND: &str = "select * from tidegate.extend_hold($1, $2, $3, $4)";
/// With a volatile clock the server would read every active hold, since it could not use the index.
const DUE: &str = "select id from tidegate.hold where state = 'active' \
    and expires_at <= statement_timestamp() order by expires_at limit $1";
const FORGET: &str = "with old_webhooks as (delete from tidegate.webhook \
    where at < statement_timestamp() - interval '30 days'), gone as (delete from tidegate.request \
    where at < statement_timestamp() - interval '24 hours' returning 1) select count(*) from gone";

#[async_trait]
impl Ledger for PostgresLedger {
    async fn hold(&self, batch: Arc<[NewHold]>) -> Result<Vec<HoldOutcome>, LedgerError> {
        let rows = grant::rows(&self.client, &batch).await?;
        if let Some(at_ms) = all_done(&rows)? {
            let granted = |hold: &NewHold| Outcome::Done(Granted { hold: hold.id, at_ms });
            return Ok(batch.iter().map(granted).collect());
        }
        check_count(batch.len(), rows.len())?;
        rows.iter().zip(&*batch).map(|(row, hold)| hold_outcome(row, hold)).collect()
    }

    async fn find_granted(
        &self,
        keys: Arc<[RequestKey]>,
    ) -> Result<Vec<Option<HoldOutcome>>, LedgerError> {
        let texts: Vec<&str> = keys.iter().map(|key| key.key.as_str()).collect();
        let rows = self.client.rows("finding keys", FIND_KEYS, &[&texts]).await?;
        check_count(keys.len(), rows.len())?;
        rows.iter().zip(&*keys).map(|(row, key)| granted_before(row, key.digest)).collect()
    }

    async fn end(&self, batch: Arc<[EndHold]>) -> Result<Vec<EndOutcome>, LedgerError> {
        let a = EndArrays::new(&batch);
        let parameters: [&(dyn ToSql + Sync); 4] = [&a.ids, &a.ends, &a.keys, &a.digests];
        let has_baskets = batch.iter().any(|end| !end.hold.lane().is_of_one_sku());
        let sql = if has_baskets { END_BASKETS } else { END_OF_ONE_LINE };
        let rows = self.client.rows("ending holds", sql, &parameters).await?;
        if let Some(at_ms) = all_done(&rows)? {
            return Ok(batch.iter().map(|_| Outcome::Done(at_ms)).collect());
        }
        check_count(batch.len(), rows.len())?;
        rows.iter().map(end_outcome).collect()
    }

    async fn extend(
        &self,
        request: &ExtendRequest,
        key: &RequestKey,
    ) -> Result<ExtendOutcome, LedgerError> {
        let (hold, by_ms) = (Uuid(request.hold), request.by_ms());
        let (key, digest) = (key.key.as_str(), key.digest.cast_signed());
        let row =
            self.client.row("extending a hold", EXTEND, &[&hold, &by_ms, &key, &digest]).await?;
        end_outcome(&row)
    }

    async fn set_stock(&self, request: &SetStock) -> Result<Result<(), StockRefusal>, LedgerError> {
        stock::set(&self.client, request).await
    }

    async fn adjust(
        &self,
        request: &AdjustStock,
        key: &RequestKey,
    ) -> Result<AdjustOutcome, LedgerError> {
        stock::adjust(&self.client, request, key).await
    }

    async fn stock(&self, sku: &str) -> Result<Option<SkuStock>, LedgerError> {
        stock::of_sku(&self.client, sku).await
    }

    async fn find_hold(&self, hold: HoldId) -> Result<Option<HoldView>, LedgerError> {
        stock::hold(&self.client, hold).await
    }

    async fn due(&self, limit: u32) -> Result<Vec<HoldId>, LedgerError> {
        let rows = self.client.rows("finding due holds", DUE, &[&i64::from(limit)]).await?;
        rows.iter().map(|row| row.try_get(0).map(|Uuid(hold)| hold).map_err(unreadable)).collect()
    }

    async fn forget_keys(&self) -> Result<u64, LedgerError> {
        let row = self.client.row("forgetting idempotency keys", FORGET, &[]).await?;
        row.try_get::<_, i64>(0).map(i64::cast_unsigned).map_err(unreadable)
    }

    async fn status(&self) -> Result<LedgerStatus, LedgerError> {
        audit::status(&self.reports).await
    }

    async fn audit(&self) -> Result<Vec<Finding>, LedgerError> {
        audit::findings(&self.reports).await
    }

    async fn history(&self) -> Result<History, LedgerError> {
        audit::history(&self.reports).await
    }
}

fn check_count(sent: usize, answered: usize) -> Result<(), LedgerError> {
    if sent == answered {
        return Ok(());
    }
    Err(LedgerError::Unreadable(format!("{answered} outcomes for {sent} requests")))
}
