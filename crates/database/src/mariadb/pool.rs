//! Pools of connections.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{PoolConstraints, PoolOpts};
use tokio::time::timeout;

use super::config::ConnectConfig;
use super::error::driver_error;
use super::statements::{self, ResultSet};
use crate::error::DatabaseError;

/// A pool of connections to one server. Clones share the connections.
#[derive(Clone)]
pub struct Pool {
    pool: mysql_async::Pool,
    database: Arc<str>,
    /// The time limit of the wait for a connection and of the statements on it, together.
    timeout: Duration,
    /// Identifies the pool among its clones and others.
    identity: Arc<()>,
}

impl Pool {
    /// Creates a pool without connections: the first use opens the first one. There are at most `size`
    /// connections, and at least one. `timeout` limits the wait for a connection and the statements on it,
    /// together.
    #[must_use]
    pub fn new(config: &ConnectConfig, size: usize, timeout: Duration) -> Self {
        let constraints =
            PoolConstraints::new(0, size.max(1)).expect("zero is less than the largest size");
        let pool_opts =
            PoolOpts::default().with_constraints(constraints).with_reset_connection(false);
        Self {
            pool: mysql_async::Pool::new(config.options().pool_opts(pool_opts)),
            database: config.url.database().into(),
            timeout,
            identity: Arc::default(),
        }
    }

    /// Returns the name of the database in the URL.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether both are clones of one pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    /// Runs statements in one round trip and returns the result of each.
    ///
    /// # Errors
    /// There was no connection or answer in time, or the server rejected one of the statements; then it runs
    /// none after it.
    pub async fn run(
        &self,
        operation: &'static str,
        statements: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<ResultSet>, DatabaseError> {
        let run = async {
            let failed = |err| driver_error(operation, err);
            let mut conn = self.pool.get_conn().await.map_err(failed)?;
            match statements::run(&mut conn, operation, statements).await {
                Ok(results) => Ok(results),
                Err(failed) => {
                    // Else a transaction that the statements began would keep its locks until the
                    // connection's next use. If this fails, the driver
                    // closes the connection.
                    if !failed.is_fatal {
                        let _ = conn.query_drop("rollback").await;
                    }
                    Err(failed.error)
                }
            }
        };
        self.within_limit(operation, run).await
    }

    /// Has the server parse one statement without running it.
    ///
    /// # Errors
    /// There was no connection or answer in time, or the server rejected the statement.
    pub async fn parse_statement(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<(), DatabaseError> {
        let parse = async {
            let failed = |err| driver_error(operation, err);
            let mut conn = self.pool.get_conn().await.map_err(failed)?;
            let statement = conn.prep(sql).await.map_err(failed)?;
            conn.close(statement).await.map_err(failed)
        };
        self.within_limit(operation, parse).await
    }

    async fn within_limit<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let done = timeout(self.timeout, work).await;
        done.unwrap_or_else(|_| Err(DatabaseError::timed_out(operation, self.timeout)))
    }
}
