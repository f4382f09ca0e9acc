//! Pools of connections.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, PoolConstraints, PoolOpts, Value};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::config::{ConnectConfig, is_login_refused};
use super::error::{connect_error, driver_error};
use super::identity::{CurrentServer, ServerIdentity, VARIABLE};
use super::statements::{self, Failed, ResultSet};
use crate::error::DatabaseError;

/// A pool of connections to one server. Clones share the connections.
#[derive(Clone)]
pub struct Pool {
    config: Arc<ConnectConfig>,
    pool_opts: PoolOpts,
    /// The driver's pool; `None` before the first use. Also identifies this pool among its clones and others.
    current: Arc<Mutex<Option<Current>>>,
    /// The time limit of the wait for a connection and of the statements on it, together.
    timeout: Duration,
    server: CurrentServer,
}

/// The results of statements that one connection has run.
#[derive(Debug)]
pub struct Answer {
    /// The result of each statement.
    pub results: Vec<ResultSet>,
    /// The server that has run them.
    pub server: ServerIdentity,
}

/// A pool of the driver, whose connections all log in with one password.
#[derive(Clone)]
struct Current {
    pool: mysql_async::Pool,
    password: Option<String>,
}

impl Pool {
    /// Creates a pool without connections: the first use opens the first one. There are at most `size`
    /// connections, and at least one. `timeout` limits the wait for a connection and the statements on it,
    /// together.
    #[must_use]
    pub fn new(config: &ConnectConfig, size: usize, timeout: Duration) -> Self {
        Self::of_server(config, size, timeout, CurrentServer::default())
    }

    /// As [`new`](Self::new), with answers of the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(
        config: &ConnectConfig,
        size: usize,
        timeout: Duration,
        server: CurrentServer,
    ) -> Self {
        let constraints =
            PoolConstraints::new(0, size.max(1)).expect("zero is less than the largest size");
        let pool_opts =
            PoolOpts::default().with_constraints(constraints).with_reset_connection(false);
        let mut config = config.clone();
        config.session.push(ServerIdentity::remember_sql());
        Self { config: Arc::new(config), pool_opts, current: Arc::default(), timeout, server }
    }

    /// Returns the name of the database in the URL.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.url.database()
    }

    /// Whether both are clones of one pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.current, &other.current)
    }

    /// Returns a connection that nothing else uses until it is dropped. If the password is refused, and has been
    /// changed in its file, a pool with the new one takes the place of the driver's.
    async fn connection(&self, operation: &'static str) -> Result<Conn, DatabaseError> {
        let known = self.current.lock().clone();
        let mut current = match known {
            Some(current) => current,
            None => self.replace(None, self.config.url.read_password().await?),
        };
        loop {
            let err = match current.pool.get_conn().await {
                Ok(conn) => return Ok(conn),
                Err(err) => connect_error(operation, &self.config.url, err),
            };
            let now = match is_login_refused(&err) && self.config.url.has_password_file() {
                true => self.config.url.read_password().await?,
                false => return Err(err),
            };
            if now == current.password {
                return Err(err);
            }
            current = self.replace(Some(&current), now);
        }
    }

    /// Replaces the driver's pool, unless another caller has done so.
    fn replace(&self, old: Option<&Current>, password: Option<String>) -> Current {
        let mut current = self.current.lock();
        let is_old = match (&*current, old) {
            (Some(current), Some(old)) => current.password == old.password,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if is_old || current.as_ref().is_some_and(|current| current.password != password) {
            let opts = self.config.options(password.clone()).pool_opts(self.pool_opts.clone());
            *current = Some(Current { pool: mysql_async::Pool::new(opts), password });
        }
        current.clone().expect("it has just been set where it was missing")
    }

    /// Runs statements in one round trip, on the server that the newest connection leads to. If another one
    /// answers, they are run again.
    ///
    /// # Errors
    /// There was no connection or answer in time, the server rejected one of the statements (then it runs
    /// none after it), or a proxy gave them another session.
    pub async fn run(
        &self,
        operation: &'static str,
        statements: &[impl AsRef<str> + Sync],
    ) -> Result<Answer, DatabaseError> {
        let mut packet: Vec<&str> = statements.iter().map(AsRef::as_ref).collect();
        let identity = format!("select {VARIABLE}");
        packet.push(&identity);
        let run = async {
            loop {
                let mut conn = self.connection(operation).await?;
                let results = statements::run(&mut conn, operation, &packet).await;
                let answer = match results {
                    Ok(results) => Answer::parse(operation, results),
                    Err(Failed { is_fatal, error }) => {
                        // Else a transaction that the statements began would keep its locks until the
                        // connection's next use. If this fails, the driver
                        // closes the connection.
                        if !is_fatal {
                            let _ = conn.query_drop("rollback").await;
                        }
                        return Err(error);
                    }
                };
                let is_current = match &answer {
                    Ok(found) => self.is_of_current(&found.server).await?,
                    Err(_) => false,
                };
                if is_current {
                    return answer;
                }
                let _ = conn.disconnect().await;
                // Another session of a proxy, or an older server: the next statements get another connection.
                answer?;
            }
        };
        self.within_limit(operation, run).await
    }

    /// Whether the address leads to this server. Where another one was known, a new connection decides.
    async fn is_of_current(&self, server: &ServerIdentity) -> Result<bool, DatabaseError> {
        if !self.server.is_current_or_first(server) {
            self.config.connect_to_current(&self.server, self.timeout).await?;
        }
        Ok(self.server.is_current(server))
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
            let mut conn = self.connection(operation).await?;
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

impl Answer {
    /// Takes the last result, which identifies the server.
    fn parse(operation: &'static str, mut results: Vec<ResultSet>) -> Result<Self, DatabaseError> {
        let identity =
            results.pop().and_then(|set| set.rows.into_iter().next()?.into_iter().next());
        let text = match &identity {
            Some(Value::Bytes(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        let server = ServerIdentity::parse(operation, text)?;
        Ok(Self { results, server })
    }
}
