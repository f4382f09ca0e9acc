//! The ids of a table, a page at a time along the index of its key.

use async_trait::async_trait;
use coherence::Lsn;

use super::super::{Page, Roll, Rows};
use super::{AsText, LOG_END, OriginError, OriginErrorKind, PostgresOrigin, classify, unavailable};

/// What is asked.
pub(super) struct Statements {
    table: String,
    first: String,
    after: String,
}

impl Statements {
    /// `table` and `key` as identifiers.
    pub(super) fn new(table: &str, key: &str, key_type: &str) -> Self {
        let page = |which: &str, most: &str| {
            // A bare name would be the text's in `order by`, and pages would leave ids out.
            format!(
                "select array(select t.{key}::text from {table} t where {which} order by t.{key} \
                 limit {most}::bigint), {LOG_END}"
            )
        };
        Self {
            table: table.to_owned(),
            first: page(&format!("t.{key} is not null"), "$1"),
            after: page(&format!("t.{key} > $2::{key_type}"), "$1"),
        }
    }
}

/// Whether rows come and go by what the log tells only, and no id has two names.
const FIT: &str = "select case \
      when c.relkind <> 'r' then 'it is no plain table, so rows may come without being inserted \
(attached partitions)' \
      when c.relrowsecurity then 'row security may hide rows and show them again' \
      when c.relhassubclass then 'other tables inherit from it' \
      when not exists (select from pg_index i join pg_attribute a \
        on a.attrelid = c.oid and a.attnum = i.indkey[0] \
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indnkeyatts = 1 \
        and i.indpred is null and i.indexprs is null and a.attname = $2) \
        then 'its key column has no unique index' \
      when exists (select from pg_attribute a join pg_collation o on o.oid = a.attcollation \
        where a.attrelid = c.oid and a.attname = $2 and not o.collisdeterministic) \
        then 'its key column takes different texts for equal' \
      end, greatest(c.reltuples, 0)::bigint \
    from pg_class c where c.oid = to_regclass($1)";

#[async_trait]
impl Roll for PostgresOrigin {
    async fn rows(&self) -> Result<Rows, OriginError> {
        let key = self.contract.from.as_ref().map(|from| from.key.as_str());
        let client = self.pool.pool.get().await.map_err(|err| unavailable(&err))?;
        let row = client.query_opt(FIT, &[&self.roll.table, &key]).await;
        let Some(row) = row.map_err(|err| classify(&err))? else {
            return Ok(Rows { about: 0, unfit: Some("its table is not there".into()) });
        };
        let about = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
        Ok(Rows { about, unfit: row.get(0) })
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Page, OriginError> {
        let sql = if after.is_some() { &self.roll.after } else { &self.roll.first };
        let client = self.pool.pool.get().await.map_err(|err| unavailable(&err))?;
        let statement = client.prepare_cached(sql).await.map_err(|err| classify(&err))?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let row = match after {
            None => client.query_one(&statement, &[&most]).await,
            Some(after) => client.query_one(&statement, &[&most, &AsText(after)]).await,
        };
        let row = row.map_err(|err| classify(&err))?;
        let broken = |message| OriginError { kind: OriginErrorKind::Broken, message };
        let seen = row.get::<_, Option<&str>>(1).map(str::parse::<Lsn>).transpose();
        Ok(Page { ids: row.get(0), seen: seen.map_err(|err| broken(err.to_string()))? })
    }
}
