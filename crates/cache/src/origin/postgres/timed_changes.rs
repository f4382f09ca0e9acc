//! The times at which a value changes without a commit, as part of its load.

use coherence::ClockTime;
use contract::{Contract, SqlDialect, number_parameters};
use database::postgres::PooledConnection;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::pool::{column_error, origin_error};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::TimedChange;
use crate::origin::sql::ValueStatement;

/// The statement of a contract's `changes_at`.
pub(super) struct TimedChanges {
    /// With the parameters of the load.
    sql: String,
    columns: usize,
}

impl TimedChanges {
    /// The columns that it adds to a load: the next time, and the one that the clock shows, in µs since 1970. `now()` is
    /// the start of the transaction, before any part of the value is computed.
    pub(super) const COLUMNS: &str = "(extract(epoch from c.at) * 1000000)::bigint, \
                                      (extract(epoch from now()) * 1000000)::bigint";

    /// Checks the columns of the contract's statement, if it has one.
    ///
    /// # Errors
    /// The database refuses it, or a column is no time.
    pub(super) async fn prepare(
        client: &PooledConnection,
        contract: &Contract,
        value: &ValueStatement,
    ) -> Result<Option<Self>, OriginError> {
        let Some(statement) = &contract.changes_at else { return Ok(None) };
        let statement = statement.trim_end().trim_end_matches(';');
        let own = number_parameters(statement, SqlDialect::Postgres).sql;
        // As a table, so that only a query is accepted. The line break ends a comment.
        let described = client.prepare_cached(&format!("select * from ({own}\n) x")).await;
        let described = described.map_err(|err| {
            let OriginError { kind, message } = origin_error(&err);
            match kind {
                OriginErrorKind::Broken | OriginErrorKind::BadRequest => {
                    OriginError::broken(format!(
                        "contract {}: its `changes_at` is refused by the database: {message}",
                        contract.name
                    ))
                }
                kind => OriginError { kind, message },
            }
        })?;
        let columns = described.columns();
        if let Some(column) = columns.iter().find(|column| *column.type_() != Type::TIMESTAMPTZ) {
            let (name, kind) = (column.name(), column.type_());
            return Err(OriginError::broken(format!(
                "contract {}: column {name:?} of `changes_at` is of the type {kind}, which names no moment without a time \
                 zone; it has to be timestamptz, such as `{name} at time zone 'UTC'` for a timestamp, or \
                 `{name}::timestamp at time zone 'UTC'` for a date",
                contract.name
            )));
        }
        let sql = value.changes_sql(|number| format!("${}", number + 1));
        Ok(sql.map(|sql| Self { sql, columns: columns.len() }))
    }

    /// Returns the SQL that joins the next time to a load, as `c.at`.
    pub(super) fn join(&self) -> String {
        let names: Vec<String> = (1..=self.columns).map(|number| format!("c{number}")).collect();
        let rows: Vec<String> = names.iter().map(|name| format!("(s.{name})")).collect();
        format!(
            " left join (select min(t.at) as at from ({}\n) s({}) cross join lateral (values {}) t(at) \
             where t.at > now() and isfinite(t.at)) c on true",
            self.sql,
            names.join(", "),
            rows.join(", ")
        )
    }

    /// Reads its columns, of which the first one has this number.
    pub(super) fn read(row: &Row, first: usize) -> Result<Option<TimedChange>, OriginError> {
        let micros =
            |column| row.try_get::<_, Option<i64>>(column).map_err(|err| column_error(&err));
        let time = |micros: i64| u64::try_from(micros).ok().and_then(ClockTime::from_micros);
        let (at, shown) = (micros(first)?, micros(first + 1)?.and_then(time));
        let Some(at) = at else { return Ok(None) };
        let at = time(at).filter(|_| shown.is_some());
        let at =
            at.ok_or_else(|| OriginError::broken("the database's clock shows no time after 1970"))?;
        Ok(Some(TimedChange { at, shown }))
    }
}
