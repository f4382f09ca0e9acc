//! Connections to one server.

use std::time::Duration;

use coherence::bound::ServerLog;
use coherence::{Log, server_digest};
use contract::{Contract, split_table_name};
use database::postgres::{
    Access, BorrowedConnection, ConnectConfig, CurrentServer, DatabaseIdentity, Pool,
    PooledConnection, PostgresUrl, ServerRole, driver_error,
};
use database::quoting::identifier;

use crate::origin::error::OriginError;

/// A pool of connections to one server.
#[derive(Clone)]
pub struct PostgresPool(Pool);

impl PostgresPool {
    /// Creates a pool without connections: the first load opens the first one. Of the URL's hosts, only the
    /// primary is used. `timeout` limits each statement in the server as well (`statement_timeout`).
    #[must_use]
    pub fn new(url: &PostgresUrl, connections: usize, timeout: Duration) -> Self {
        Self::of_server(url, connections, timeout, CurrentServer::default())
    }

    /// As [`new`](Self::new), with connections to the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(
        url: &PostgresUrl,
        connections: usize,
        timeout: Duration,
        server: CurrentServer,
    ) -> Self {
        let config = config(url, ServerRole::Primary, timeout);
        Self(Pool::of_server(config, connections, timeout, server))
    }

    /// As [`new`](Self::new), for a server of the role.
    pub(super) fn with_role(
        url: &PostgresUrl,
        role: ServerRole,
        connections: usize,
        timeout: Duration,
    ) -> Self {
        Self(Pool::new(config(url, role, timeout), connections, timeout))
    }

    /// Whether the log's record of a row is also the answer to a reader of that row: the key of the
    /// contract's table is unique (else several rows would answer), no row security hides the row, and no
    /// other table inherits from it.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn rows_match_log(&self, contract: &Contract) -> Result<bool, OriginError> {
        let Some(from) = &contract.from else { return Ok(false) };
        let table = table_identifier(&from.table);
        let client = self.connection().await?;
        let sql = "select c.relkind in ('r', 'p') and not c.relrowsecurity \
                     and (c.relkind = 'p' or not c.relhassubclass) \
                     and exists (select from pg_index i join pg_attribute a \
                       on a.attrelid = c.oid and a.attnum = i.indkey[0] \
                       where i.indrelid = c.oid and i.indisunique and i.indisvalid \
                       and i.indnkeyatts = 1 and i.indpred is null and i.indexprs is null \
                       and a.attname = $2) \
                   from pg_class c where c.oid = to_regclass($1)";
        let row =
            client.query_opt(sql, &[&table, &from.key]).await.map_err(|err| origin_error(&err))?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// Replaces the connections that were opened under another schema, each when it becomes free.
    pub(super) fn renew(&self, schema: u64) {
        self.0.renew(schema);
    }

    /// Whether both are clones of one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }

    pub(super) async fn connection(&self) -> Result<PooledConnection, OriginError> {
        Ok(self.0.connection().await?)
    }

    pub(super) async fn borrow(&self) -> Result<BorrowedConnection, OriginError> {
        Ok(self.0.borrow().await?)
    }
}

fn config(url: &PostgresUrl, role: ServerRole, timeout: Duration) -> ConnectConfig {
    ConnectConfig {
        url: url.clone(),
        role,
        access: Access::ReadOnly,
        application_name: "tidegate-origin",
        settings: &[],
        statement_timeout: timeout,
    }
}

/// Returns the log of the primary behind a connection.
pub(super) fn log_of(connection: &PooledConnection) -> Option<ServerLog> {
    let DatabaseIdentity { system, timeline, started } = connection.identity()?;
    Some(Log { system: *system, timeline: *timeline, server: server_digest(started) }.run().into())
}

pub(super) fn origin_error(err: &tokio_postgres::Error) -> OriginError {
    // Origin errors don't show the operation.
    driver_error("loading", err).into()
}

/// Returns the error of an answer whose columns are not of the expected types or encoding.
pub(super) fn column_error(err: &tokio_postgres::Error) -> OriginError {
    let source = std::error::Error::source(err).map(|source| format!(": {source}"));
    OriginError::broken(format!("the answer can't be read: {err}{}", source.unwrap_or_default()))
}

/// Returns the name of a table as an SQL identifier.
pub(super) fn table_identifier(name: &str) -> String {
    let (schema, table) = split_table_name(name);
    let schema = schema.map(|schema| identifier(&schema) + ".").unwrap_or_default();
    schema + &identifier(&table)
}
