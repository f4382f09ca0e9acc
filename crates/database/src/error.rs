//! Errors of databases.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// A failed operation on a database. The text contains no secrets.
#[derive(Debug, Error)]
#[error("{operation}: {failure}")]
pub struct DatabaseError {
    /// The operation, such as `connecting`.
    pub operation: &'static str,
    /// The reason.
    pub failure: Failure,
}

/// Why an operation on a database failed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The server was not reached, or the connection was lost. A retry may help.
    #[error("{0}")]
    Unreachable(Box<dyn StdError + Send + Sync>),
    /// There was no answer within this time. A retry may help.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// All connections of the pool stayed in use for the time limit. A retry may help later.
    #[error("no connection to the database became free in time")]
    NoFreeConnection,
    /// The host is a standby, and a primary is needed. A retry may help after a failover.
    #[error("{0} is a standby, not the primary")]
    NotPrimary(String),
    /// The server can't be used. A retry does not help.
    #[error("{database}: {problem}")]
    Unsuitable {
        /// The database, without secrets.
        database: String,
        /// A sentence.
        problem: String,
        /// The administrator's remedy: SQL, or a comment after `--`.
        remedy: String,
    },
    /// The connection can't be made as it is configured: TLS, a certificate, a password's file. A retry helps after
    /// these have been changed, which needs no restart.
    #[error("{database}: {problem}; {remedy}")]
    Misconfigured {
        /// The database, without secrets.
        database: String,
        /// The problem, without a full stop.
        problem: String,
        /// The remedy, without a full stop.
        remedy: String,
    },
    /// The server rejected a statement, the login or the database's name.
    #[error("{message} ({code})")]
    Rejected {
        /// The server's message.
        message: String,
        /// The server's code.
        code: ServerCode,
    },
    /// SQLite could not open the file or run a statement.
    #[error("{0}")]
    Sqlite(rusqlite::Error),
    /// The answer lacks a part, or has one too many.
    #[error("{0}")]
    Unexpected(String),
}

/// A server's error code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerCode {
    /// PostgreSQL's five characters.
    SqlState(String),
    /// MariaDB's number.
    Number(u16),
}

impl fmt::Display for ServerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SqlState(state) => write!(f, "SQLSTATE {state}"),
            Self::Number(number) => write!(f, "error {number}"),
        }
    }
}

impl DatabaseError {
    /// Whether the server rejected the operation with this number of MariaDB's.
    #[must_use]
    pub fn has_number(&self, number: u16) -> bool {
        matches!(
            &self.failure,
            Failure::Rejected { code: ServerCode::Number(code), .. } if *code == number
        )
    }

    /// Whether the server rejected the operation with this SQLSTATE of PostgreSQL's.
    #[must_use]
    pub fn has_state(&self, state: &str) -> bool {
        matches!(
            &self.failure,
            Failure::Rejected { code: ServerCode::SqlState(code), .. } if code == state
        )
    }

    /// Returns the error of a server that was not reached, or of a connection that was lost.
    pub fn unreachable(
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { operation, failure: Failure::Unreachable(source.into()) }
    }

    pub(crate) fn timed_out(operation: &'static str, limit: Duration) -> Self {
        Self { operation, failure: Failure::TimedOut(limit) }
    }

    pub(crate) fn unexpected(operation: &'static str, problem: impl Into<String>) -> Self {
        Self { operation, failure: Failure::Unexpected(problem.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_operation_and_code() {
        let rejected = |code| DatabaseError {
            operation: "connecting",
            failure: Failure::Rejected { message: "no such user".into(), code },
        };
        let postgres = rejected(ServerCode::SqlState("28000".into()));
        assert_eq!(postgres.to_string(), "connecting: no such user (SQLSTATE 28000)");
        let mariadb = rejected(ServerCode::Number(1045));
        assert_eq!(mariadb.to_string(), "connecting: no such user (error 1045)");
        assert!(
            mariadb.has_number(1045) && !mariadb.has_number(1044) && !postgres.has_number(1045)
        );
        let late = DatabaseError::timed_out("connecting", Duration::from_secs(5));
        assert_eq!(late.to_string(), "connecting: no answer within 5s");
    }
}
