//! Opening a session: its settings, also through a connection pooler, and its identity.
//!
//! A pooler between (PgBouncer) refuses or drops startup options. The settings are then made by statements, and
//! the session counts only if it stays the same one: behind a pooler that gives each transaction another
//! session of the database, settings and prepared statements would be those of somewhere else.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::attempts::Attempts;
use super::config::{ConnectConfig, ServerRole};
use super::error::{SHARED_SESSION, SHARED_SESSION_REMEDY, driver_error, login_error};
use super::identity::{DatabaseIdentity, IDENTITY_SQL};
use super::stream::{self, OPERATION};
use super::text::parse_options;
use super::url::Address;
use crate::error::{DatabaseError, Failure};
use crate::quoting::literal;

/// A setting of every session, by which a session is known to have got its settings.
const MARKER: &str = "tidegate.session";

/// SQLSTATE: protocol violation. PgBouncer's answer to a startup parameter that it does not know.
const PROTOCOL_VIOLATION: &str = "08P01";

/// An open session.
pub(super) struct Opened {
    pub(super) client: Client,
    /// Drives the connection's I/O.
    pub(super) driver: JoinHandle<()>,
    pub(super) address: Address,
    pub(super) id: SessionId,
    /// The identity of the database; `None`: the server need not be a primary, and was not asked.
    pub(super) identity: Option<DatabaseIdentity>,
}

/// A session of the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionId {
    /// The server's process.
    pub process: i32,
    /// Whether a connection pooler is between this process and the server.
    pub pooled: bool,
}

impl SessionId {
    /// Checks that a statement was executed in this session. `process`: `pg_backend_pid()` of the statement.
    ///
    /// # Errors
    /// A pooler gave the statement another session.
    pub fn check(self, process: i32) -> Result<(), DatabaseError> {
        if self.process == process {
            return Ok(());
        }
        Err(DatabaseError::unexpected(
            "checking the session",
            format!("{SHARED_SESSION}; {SHARED_SESSION_REMEDY}"),
        ))
    }
}

/// The state of a session, as it reports it.
struct Report {
    in_recovery: bool,
    process: i32,
    has_settings: bool,
    /// The value of [`IDENTITY_SQL`], of a primary.
    identity: String,
}

impl ConnectConfig {
    /// Connects to the first host that has the role. `limit` is the time limit for each host.
    ///
    /// # Errors
    /// The last host's failure.
    pub(super) async fn open(&self, limit: Duration) -> Result<Opened, DatabaseError> {
        let mut last = None;
        for at in 0..self.url.hosts().len() {
            let opening = timeout(limit, self.open_host(at)).await;
            match opening.unwrap_or_else(|_| Err(DatabaseError::timed_out(OPERATION, limit))) {
                Ok(opened) => return Ok(opened),
                Err(err) => last = Some(err),
            }
        }
        Err(last.expect("a URL has at least one host"))
    }

    /// Opens a session on one of the hosts.
    async fn open_host(&self, at: usize) -> Result<Opened, DatabaseError> {
        let options = format!("{} -c {MARKER}=1", self.options());
        let mut refused = false;
        let (client, driver) = match self.log_in(at, Some(&options)).await {
            Err(err) if is_refused_parameter(&err) => {
                refused = true;
                self.log_in(at, None).await?
            }
            connected => connected?,
        };
        let mut report = Report::of(&client, self.role).await?;
        let pooled = refused || !report.has_settings;
        if pooled {
            let process = report.process;
            self.set(&client, &options).await?;
            report = Report::of(&client, self.role).await?;
            if !report.has_settings || report.process != process {
                return Err(self.unsuitable(SHARED_SESSION));
            }
        }
        let address = self.url.hosts()[at].clone();
        if self.role == ServerRole::Primary && report.in_recovery {
            let failure = Failure::NotPrimary(address.to_string());
            return Err(DatabaseError { operation: OPERATION, failure });
        }
        let identity = match self.role {
            ServerRole::Primary => Some(report.identity()?),
            ServerRole::Any => None,
        };
        let id = SessionId { process: report.process, pooled };
        Ok(Opened { client, driver: driver.keep(), address, id, identity })
    }

    /// Logs in to one of the hosts.
    async fn log_in(
        &self,
        at: usize,
        options: Option<&str>,
    ) -> Result<(Client, AbortOnDrop), DatabaseError> {
        let mut attempts = Attempts::new(&self.url, at);
        loop {
            let stream = attempts.open().await?;
            let mut config = self.driver_config(attempts.password(), stream.is_encrypted());
            options.iter().for_each(|options| {
                config.options(*options);
            });
            let err = match config.connect_raw(stream, stream::Opened).await {
                Ok((client, connection)) => {
                    let driver = tokio::spawn(async move {
                        // The queries that fail because of its error report it.
                        let _ = connection.await;
                    });
                    return Ok((client, AbortOnDrop(Some(driver))));
                }
                Err(err) => login_error(&self.url, at, &err),
            };
            if !attempts.can_retry(&err).await {
                return Err(err);
            }
        }
    }

    /// Makes the settings of the options by a statement.
    async fn set(&self, client: &Client, options: &str) -> Result<(), DatabaseError> {
        let settings = parse_options(options).ok_or_else(|| {
            self.unsuitable(
                "A connection pooler in front of it takes no startup options, and the `options` of the url are more than \
                 settings such as `-c search_path=shop`",
            )
        })?;
        let calls: Vec<String> = settings
            .iter()
            .map(|(name, value)| {
                format!("set_config({}, {}, false)", literal(name), literal(value))
            })
            .collect();
        let set = client.batch_execute(&format!("select {}", calls.join(", "))).await;
        set.map_err(|err| driver_error(OPERATION, &err))
    }

    fn unsuitable(&self, problem: &str) -> DatabaseError {
        let (database, problem) = (self.url.name(), format!("{problem}."));
        let failure = Failure::Unsuitable {
            database,
            problem,
            remedy: format!("-- {SHARED_SESSION_REMEDY}"),
        };
        DatabaseError { operation: OPERATION, failure }
    }
}

impl Report {
    async fn of(client: &Client, role: ServerRole) -> Result<Self, DatabaseError> {
        let identity = match role {
            ServerRole::Primary => IDENTITY_SQL,
            ServerRole::Any => "''",
        };
        let sql = format!(
            "select pg_is_in_recovery(), pg_backend_pid(), current_setting('{MARKER}', true) = '1', \
             case when pg_is_in_recovery() then '' else {identity} end"
        );
        let answer =
            client.simple_query(&sql).await.map_err(|err| driver_error(OPERATION, &err))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let parse = || {
            let row = row?;
            Some(Self {
                in_recovery: row.get(0)? == "t",
                process: row.get(1)?.parse().ok()?,
                has_settings: row.get(2) == Some("t"),
                identity: row.get(3)?.to_owned(),
            })
        };
        parse().ok_or_else(|| {
            DatabaseError::unexpected(OPERATION, "the server does not report its state")
        })
    }

    fn identity(&self) -> Result<DatabaseIdentity, DatabaseError> {
        let text = &self.identity;
        let malformed = || DatabaseError::unexpected(OPERATION, format!("the server is {text:?}"));
        DatabaseIdentity::parse(text).ok_or_else(malformed)
    }
}

/// Whether the error is a connection pooler's refusal of a startup parameter.
fn is_refused_parameter(err: &DatabaseError) -> bool {
    err.has_state(PROTOCOL_VIOLATION) && err.to_string().contains("startup parameter")
}

/// Ends the driver of a session that can't be used.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    fn keep(mut self) -> JoinHandle<()> {
        self.0.take().expect("keep takes self, so the task is there until then")
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_of_other_session_refused() {
        let session = SessionId { process: 7, pooled: true };
        assert!(session.check(7).is_ok());
        let err = session.check(8).expect_err("another session");
        assert!(err.to_string().contains("pool_mode = session"), "{err}");
    }
}
