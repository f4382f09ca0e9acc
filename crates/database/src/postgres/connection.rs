//! A connection without a pool.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Row, SimpleQueryMessage, types::ToSql};

use super::config::ConnectConfig;
use super::error::driver_error;
use super::identity::{CurrentServer, DatabaseIdentity};
use super::session::{Opened, SessionId};
use super::url::Address;
use crate::error::DatabaseError;

/// An open connection. Closed on drop.
pub struct Connection {
    client: Client,
    /// Drives the connection's I/O.
    driver: JoinHandle<()>,
    address: Address,
    session: SessionId,
    identity: Option<DatabaseIdentity>,
    /// The time limit of an answer, on this side.
    timeout: Duration,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl ConnectConfig {
    /// Connects to the first host that has the role. `timeout` is the time limit of connecting to each host, and
    /// later of each answer.
    ///
    /// # Errors
    /// The last host's failure.
    pub async fn connect(&self, timeout: Duration) -> Result<Connection, DatabaseError> {
        let Opened { client, driver, address, id, identity } = self.open(timeout).await?;
        Ok(Connection { client, driver, address, session: id, identity, timeout })
    }

    /// As [`connect`](Self::connect), and records which server the address leads to.
    ///
    /// # Errors
    /// The last host's failure.
    pub async fn connect_to_current(
        &self,
        server: &CurrentServer,
        timeout: Duration,
    ) -> Result<Connection, DatabaseError> {
        let connection = self.connect(timeout).await?;
        connection.identity.iter().for_each(|identity| server.opened(identity));
        Ok(connection)
    }
}

impl Connection {
    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the session of the server.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whether it leads to the server that the newest of the connections which share `server` leads to.
    #[must_use]
    pub fn is_current(&self, server: &CurrentServer) -> bool {
        self.identity.as_ref().is_none_or(|identity| server.is_current(identity))
    }

    /// Whether the connection is known to be closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the server has run without a crash since the connection was opened: all its child
    /// processes end when one of them crashes.
    pub async fn is_alive(&self) -> bool {
        self.rows("checking the connection", "select 1", &[]).await.is_ok()
    }

    /// Returns the rows of a query.
    ///
    /// # Errors
    /// The server did not answer in time or rejected the statement.
    pub async fn rows(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DatabaseError> {
        match timeout(self.timeout, self.client.query(sql, parameters)).await {
            Ok(rows) => rows.map_err(|err| driver_error(operation, &err)),
            Err(_) => Err(DatabaseError::timed_out(operation, self.timeout)),
        }
    }

    /// Returns the first row of a query.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), and if there is no row.
    pub async fn row(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, DatabaseError> {
        let rows = self.rows(operation, sql, parameters).await?;
        let none = || DatabaseError::unexpected(operation, "the query returned no row");
        rows.into_iter().next().ok_or_else(none)
    }

    /// Queries one value by the simple protocol: a single round trip, where preparing, running and
    /// closing a statement takes three.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), and if there is no value.
    pub async fn text(&self, operation: &'static str, sql: &str) -> Result<String, DatabaseError> {
        let response = match timeout(self.timeout, self.client.simple_query(sql)).await {
            Ok(response) => response.map_err(|err| driver_error(operation, &err))?,
            Err(_) => return Err(DatabaseError::timed_out(operation, self.timeout)),
        };
        let value = response.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.ok_or_else(|| DatabaseError::unexpected(operation, "the query returned no value"))
    }

    /// Runs several statements, or one that may take long: there is no timeout on this side.
    ///
    /// # Errors
    /// The connection was lost, or the server rejected a statement.
    pub async fn run(&self, sql: &str) -> Result<(), DatabaseError> {
        let ran = self.client.batch_execute(sql).await;
        ran.map_err(|err| driver_error("running a statement", &err))
    }
}
