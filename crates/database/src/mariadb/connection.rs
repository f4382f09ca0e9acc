//! A connection without a pool.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::ConnectConfig;
use super::error::driver_error;
use super::identity::{CurrentServer, ServerIdentity};
use super::statements;
use crate::error::{DatabaseError, Failure};

/// The rows of a result, as texts.
pub type Rows = Vec<Vec<Option<String>>>;

/// An open connection. Closed on drop, and after a query that was given up.
pub struct Connection {
    conn: Mutex<Option<Conn>>,
    /// The time limit of an answer.
    timeout: Duration,
    server: ServerIdentity,
}

impl ConnectConfig {
    /// Opens a connection. Rejects servers other than MariaDB. `timeout` is the time limit of connecting, and
    /// later of each answer.
    ///
    /// # Errors
    /// The server was not reached in time, refused, or is not MariaDB.
    pub async fn connect(&self, timeout: Duration) -> Result<Connection, DatabaseError> {
        const OPERATION: &str = "connecting";
        // Another server may reject the session's statements with an error that does not name the cause.
        let bare = Self { session: Vec::new(), ..self.clone() };
        let connection = Connection {
            conn: Mutex::new(Some(bare.open(timeout).await?)),
            timeout,
            server: ServerIdentity::default(),
        };
        let version = connection.value(OPERATION, "select version()").await?;
        if !version.contains("MariaDB") {
            let failure = Failure::Unsuitable {
                database: self.url.name(),
                problem: format!("The server is not MariaDB; its version is {version:?}."),
                remedy: "-- MySQL is not supported yet; MariaDB 10.5 or later is needed".to_owned(),
            };
            return Err(DatabaseError { operation: OPERATION, failure });
        }
        if !self.session.is_empty() {
            connection.query(OPERATION, &self.session).await?;
        }
        let identity = connection.value(OPERATION, &ServerIdentity::select_sql()).await?;
        let server = ServerIdentity::parse(OPERATION, Some(&identity))?;
        Ok(Connection { server, ..connection })
    }

    /// As [`connect`](Self::connect), and records which server the address leads to.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_to_current(
        &self,
        server: &CurrentServer,
        timeout: Duration,
    ) -> Result<Connection, DatabaseError> {
        let connection = self.connect(timeout).await?;
        server.opened(&connection.server);
        Ok(connection)
    }

    /// Opens a connection of the driver to this server.
    ///
    /// # Errors
    /// The server was not reached in time, refused, or the address leads to another one.
    pub async fn open_on(
        &self,
        server: &ServerIdentity,
        limit: Duration,
    ) -> Result<Conn, DatabaseError> {
        const OPERATION: &str = "connecting";
        let mut conn = self.open(limit).await?;
        let asked = timeout(limit, conn.query_first(ServerIdentity::select_sql())).await;
        let identity: Option<String> = asked
            .map_err(|_| DatabaseError::timed_out(OPERATION, limit))?
            .map_err(|err| driver_error(OPERATION, err))?;
        if ServerIdentity::parse(OPERATION, identity.as_deref())? != *server {
            let problem = "the address has come to lead to another server";
            return Err(DatabaseError::unreachable(OPERATION, problem));
        }
        Ok(conn)
    }
}

impl Connection {
    /// Returns the identity of the server and the database in it.
    #[must_use]
    pub fn server(&self) -> &ServerIdentity {
        &self.server
    }

    /// Runs statements in one round trip and returns the result of each. Dropping the future closes the
    /// connection.
    ///
    /// # Errors
    /// The server did not answer in time, or rejected one of the statements; then it runs none after it.
    pub async fn query(
        &self,
        operation: &'static str,
        statements: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<Rows>, DatabaseError> {
        let mut slot = self.conn.lock().await;
        let Some(mut conn) = slot.take() else {
            return Err(DatabaseError::unreachable(operation, "the connection was lost"));
        };
        let running = statements::run(&mut conn, operation, statements);
        let Ok(results) = timeout(self.timeout, running).await else {
            return Err(DatabaseError::timed_out(operation, self.timeout));
        };
        if !results.as_ref().is_err_and(|failed| failed.is_fatal) {
            *slot = Some(conn);
        }
        let results = results.map_err(|failed| failed.error)?;
        let texts = |row: Vec<Value>| row.into_iter().map(text).collect();
        Ok(results.into_iter().map(|set| set.rows.into_iter().map(texts).collect()).collect())
    }

    /// Returns the rows of one statement.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn rows(&self, operation: &'static str, sql: &str) -> Result<Rows, DatabaseError> {
        let results = self.query(operation, &[sql]).await?;
        Ok(results.into_iter().flatten().collect())
    }

    /// Returns the first row of one statement.
    ///
    /// # Errors
    /// As [`query`](Self::query), and if there is no row.
    pub async fn row(
        &self,
        operation: &'static str,
        sql: &str,
    ) -> Result<Vec<Option<String>>, DatabaseError> {
        let row = self.rows(operation, sql).await?.into_iter().next();
        row.ok_or_else(|| DatabaseError::unexpected(operation, "the query returned no row"))
    }

    /// Returns the first value of one statement.
    ///
    /// # Errors
    /// As [`query`](Self::query), and if there is no value.
    pub async fn value(&self, operation: &'static str, sql: &str) -> Result<String, DatabaseError> {
        let value = self.row(operation, sql).await?.into_iter().next().flatten();
        value.ok_or_else(|| DatabaseError::unexpected(operation, "the query returned no value"))
    }

    /// Runs statements in one round trip.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn run(
        &self,
        operation: &'static str,
        statements: &[impl AsRef<str> + Sync],
    ) -> Result<(), DatabaseError> {
        self.query(operation, statements).await.map(drop)
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}
