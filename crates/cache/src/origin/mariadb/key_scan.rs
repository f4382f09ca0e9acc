//! The scan of a table's ids, page by page along the index of its key.

use async_trait::async_trait;

use super::origin::MariaDbOrigin;
use super::pool::Snapshot;
use super::table_facts::TableFacts;
use super::value::text;
use crate::origin::error::OriginError;
use crate::origin::key_scan::{KeyPage, KeyScan, ScanEstimate};

#[async_trait]
impl KeyScan for MariaDbOrigin {
    async fn estimate(&self) -> Result<ScanEstimate, OriginError> {
        // The form was checked without the server's own dialect.
        let (contract, key) = (&self.statements.contract, &self.statements.key);
        if let Err(why) = contract.projection(self.statements.dialect) {
            return Ok(ScanEstimate { keys: 0, unsuitable: Some(why.to_owned()) });
        }
        let facts =
            TableFacts::read(&self.pool, key.key().written_table(), key.key().name()).await?;
        Ok(ScanEstimate { keys: facts.rows, unsuitable: facts.unsuitable.map(str::to_owned) })
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Result<KeyPage, OriginError> {
        let key = &self.statements.key;
        let Snapshot { results, source } = self.pool.snapshot(&[key.page(after, limit)]).await?;
        let result = results.into_iter().next();
        let Some(result) = result.filter(|result| key.applies_to(&result.columns)) else {
            key.refresh(&self.pool).await?;
            return Err(OriginError::unavailable("the table is being altered"));
        };
        let ids = result.rows.iter().filter_map(|row| text(row.last()?)).collect();
        Ok(KeyPage { ids, seen: source.seen })
    }
}
