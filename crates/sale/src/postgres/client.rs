//! Calls over a pool of connections.

use std::time::Duration;

use database::postgres::{Access, ConnectConfig, Pool, PostgresUrl, ServerRole, driver_error};
use database::{DatabaseError, Failure};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::ledger::LedgerError;

/// Of all sessions, under any defaults of the role: a commit is on disk (and on the synchronous standby, if there is
/// one) before it is acknowledged, and a statement sees all commits before its begin.
const SETTINGS: &[(&str, &str)] = &[
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read\\ committed"),
    ("jit", "off"),
];

/// Of sessions that call the functions: these find rows by index. A table that is nearly empty when a statement is
/// planned may have a million rows a minute later, before the server plans it again. A plan for the values of one call
/// would be another each time, and planning takes longer than the call.
const CALL_SETTINGS: &[(&str, &str)] = &[
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read\\ committed"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// The time that a statement may take beyond the server's own limit, before its connection is given up.
const GRACE: Duration = Duration::from_secs(1);

/// A client of one database.
#[derive(Clone)]
pub(super) struct Client {
    pool: Pool,
    limit: Duration,
}

/// Returns how sessions are opened. `statement_timeout`: zero for none.
pub(super) fn config(url: &PostgresUrl, statement_timeout: Duration) -> ConnectConfig {
    ConnectConfig {
        url: url.clone(),
        role: ServerRole::Primary,
        access: Access::ReadWrite,
        application_name: "tidegate sale",
        settings: SETTINGS,
        statement_timeout,
    }
}

impl Client {
    /// Creates a client that calls the functions. `limit`: the time limit of the wait for a connection, and of a
    /// statement.
    pub(super) fn new(url: &PostgresUrl, connections: usize, limit: Duration) -> Self {
        let config = ConnectConfig { settings: CALL_SETTINGS, ..config(url, limit) };
        Self { pool: Pool::new(config, connections, limit), limit }
    }

    /// Creates a client with one connection, for statements that read whole tables.
    pub(super) fn for_reports(url: &PostgresUrl, limit: Duration) -> Self {
        Self { pool: Pool::new(config(url, limit), 1, limit), limit }
    }

    /// Returns the rows of a statement, which is a transaction of its own.
    ///
    /// # Errors
    /// [`LedgerError`]. A connection whose statement may still run is closed.
    pub(super) async fn rows(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, LedgerError> {
        let connection = self.pool.borrow().await?;
        let client = connection.client();
        let query = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, parameters).await
        };
        match timeout(self.limit + GRACE, query).await {
            Ok(Ok(rows)) => {
                connection.release();
                Ok(rows)
            }
            Ok(Err(err)) => {
                if err.as_db_error().is_some() {
                    connection.release();
                }
                Err(driver_error(operation, &err).into())
            }
            Err(_) => {
                let failure = Failure::TimedOut(self.limit + GRACE);
                Err(DatabaseError { operation, failure }.into())
            }
        }
    }

    /// Returns the only row of a statement.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), and if there is no row.
    pub(super) async fn row(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, LedgerError> {
        let rows = self.rows(operation, sql, parameters).await?;
        let none = || LedgerError::Unreadable(format!("{operation}: no row"));
        rows.into_iter().next().ok_or_else(none)
    }
}

/// Reports a row without its columns.
pub(super) fn unreadable(err: tokio_postgres::Error) -> LedgerError {
    LedgerError::Unreadable(err.to_string())
}
