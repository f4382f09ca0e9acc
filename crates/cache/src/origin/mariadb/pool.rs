//! Connections to one server.

use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts, Value};
use tokio::time::timeout;

use super::error::classify;
use super::value::text;
use crate::origin::error::OriginError;

/// A pool of connections to one server.
#[derive(Clone)]
pub struct MariaDbPool {
    pool: Pool,
    database: Arc<str>,
    timeout: Duration,
    /// Identifies the pool among its clones and others.
    identity: Arc<()>,
}

impl MariaDbPool {
    /// Creates a pool without connections: the first load opens the first one. `timeout` limits each
    /// statement in the server as well (`max_statement_time`).
    ///
    /// # Errors
    /// The URL can't be read, or names no database.
    pub fn new(url: &str, connections: usize, timeout: Duration) -> Result<Self, OriginError> {
        let url = match url.strip_prefix("mariadb://") {
            Some(rest) => format!("mysql://{rest}"),
            None => url.to_owned(),
        };
        let opts = Opts::from_url(&url)
            .map_err(|err| OriginError::broken(format!("the source's url can't be read: {err}")))?;
        let database: Arc<str> = opts.db_name().unwrap_or_default().into();
        if database.is_empty() {
            return Err(OriginError::broken("the source's url names no database"));
        }
        let constraints = PoolConstraints::new(0, connections)
            .ok_or_else(|| OriginError::broken("a pool needs at least one connection"))?;
        let pool_opts =
            PoolOpts::default().with_constraints(constraints).with_reset_connection(false);
        let session = [
            "set names utf8mb4".to_owned(),
            "set session transaction isolation level repeatable read, read only".to_owned(),
            format!("set session max_statement_time = {}", timeout.as_secs_f64()),
        ];
        let opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            .pool_opts(pool_opts)
            .init(session.into());
        Ok(Self { pool: Pool::new(opts), database, timeout, identity: Arc::default() })
    }

    /// Returns the name of the database in the URL.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// Whether both are clones of one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.identity, &other.identity)
    }

    /// Runs statements in one round trip, on a connection of the pool.
    pub(super) async fn run(&self, sql: &str) -> Result<Vec<ResultSet>, OriginError> {
        let run = async {
            let mut conn = self.pool.get_conn().await.map_err(classify)?;
            result_sets(&mut conn, sql).await.map_err(classify)
        };
        timeout(self.timeout, run).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    /// Has the server parse one statement without running it.
    pub(super) async fn parse_statement(&self, sql: &str) -> Result<(), OriginError> {
        let parse = async {
            let mut conn = self.pool.get_conn().await.map_err(classify)?;
            let statement = conn.prep(sql).await.map_err(classify)?;
            conn.close(statement).await.map_err(classify)
        };
        timeout(self.timeout, parse).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    fn timed_out(&self) -> OriginError {
        OriginError::timeout(format!("the database did not answer within {:?}", self.timeout))
    }

    /// Runs the statements in one transaction with one snapshot, sent as one packet. Returns the end of the
    /// log with their results.
    pub(super) async fn snapshot(
        &self,
        statements: &[String],
    ) -> Result<(Vec<ResultSet>, Option<Lsn>), OriginError> {
        let sql = format!(
            "start transaction;\n{};\nshow status like 'binlog_snapshot_%';\ncommit",
            statements.join(";\n")
        );
        let results = self.run(&sql).await?;
        let mut results = results.into_iter().skip(1);
        let found: Vec<ResultSet> = results.by_ref().take(statements.len()).collect();
        // The log contains every commit that a snapshot shows.
        let end = results.next().map(|result| result.rows).unwrap_or_default();
        let status = |name: &str| {
            let row = end.iter().find(|row| row.first().and_then(text).as_deref() == Some(name))?;
            text(row.get(1)?)
        };
        let seen = status("Binlog_snapshot_file").zip(status("Binlog_snapshot_position"));
        let seen = seen.and_then(|(file, offset)| Lsn::in_binlog(&file, offset.parse().ok()?));
        Ok((found, seen))
    }
}

/// The result of one statement.
#[derive(Default)]
pub(super) struct ResultSet {
    pub(super) columns: Arc<[Column]>,
    pub(super) rows: Vec<Vec<Value>>,
}

async fn result_sets(conn: &mut Conn, sql: &str) -> Result<Vec<ResultSet>, mysql_async::Error> {
    let mut result = conn.query_iter(sql).await?;
    let mut results = Vec::new();
    while !result.is_empty() {
        let columns = result.columns().unwrap_or_default();
        let rows: Vec<mysql_async::Row> = result.collect().await?;
        let rows = rows.into_iter().map(mysql_async::Row::unwrap).collect();
        results.push(ResultSet { columns, rows });
    }
    Ok(results)
}
