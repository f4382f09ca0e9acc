//! Errors of database connections.

use std::error::Error as StdError;
use std::fmt;

use thiserror::Error;

/// A failure to connect to a database or to run a statement there. The text contains no secrets.
#[derive(Debug, Error)]
pub(crate) enum ConnectionError {
    /// The URL or the server is unsuitable; a retry does not help.
    #[error("{database}: {problem}")]
    Config {
        /// The database, without secrets.
        database: String,
        /// A sentence.
        problem: String,
        /// The administrator's remedy: SQL, or a comment after `--`.
        remedy: String,
    },
    /// The server was not reached or did not respond in time; a retry may help.
    #[error("{operation}: {source}")]
    Unavailable {
        /// The failed operation.
        operation: &'static str,
        /// The driver's error.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server rejected a statement or request.
    #[error("{operation}: {message} ({code})")]
    Rejected {
        /// The failed operation.
        operation: &'static str,
        /// The server's message.
        message: String,
        /// The server's code.
        code: ServerCode,
    },
}

/// A server's error code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ServerCode {
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

impl ConnectionError {
    pub(crate) fn unavailable(
        operation: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { operation, source: source.into() }
    }

    /// Whether the server rejected the statement with this error number.
    pub(crate) fn has_number(&self, number: u16) -> bool {
        matches!(self, Self::Rejected { code: ServerCode::Number(code), .. } if *code == number)
    }
}
