//! Errors of feeds and sources.

use std::fmt;

use contract::UnwatchedColumns;
use database::{DatabaseError, Failure};
use thiserror::Error;

use crate::message::MessageTooLarge;

/// An error of a feed or a source.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The database is not set up for a feed; the text lists the statements that an administrator
    /// has to run. A retry does not help before that.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The database was not reached, or the connection was lost. A retry may help.
    #[error("{operation}: {source}")]
    Unavailable {
        /// The failed operation.
        operation: &'static str,
        /// The driver's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database sent data that its protocol does not allow.
    #[error("the database sent malformed data: {0}")]
    Malformed(String),
    /// A log message exceeds the size limit.
    #[error(transparent)]
    TooLarge(#[from] MessageTooLarge),
}

impl FeedError {
    pub(crate) fn unavailable(
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { operation, source: source.into() }
    }

    /// Whether a retry may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Malformed(_) => true,
            Self::Setup(_) | Self::TooLarge(_) => false,
        }
    }
}

impl From<DatabaseError> for FeedError {
    fn from(err: DatabaseError) -> Self {
        match err.failure {
            Failure::Unsuitable { database, problem, remedy } => Self::Setup(SetupError {
                database,
                issues: vec![SetupIssue::new(problem, [remedy])],
            }),
            failure => Self::unavailable(err.operation, failure),
        }
    }
}

/// All issues that keep a database from being followed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct SetupError {
    /// The database, without secrets.
    pub database: String,
    /// Never empty.
    pub issues: Vec<SetupIssue>,
}

/// One issue of a database's setup, and its remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetupIssue {
    /// The issue and its consequence, in a sentence or two.
    pub description: String,
    /// The statements for a database administrator, line by line: SQL, or a comment after `--`.
    pub remedy: Vec<String>,
    /// The name in contracts that it is about, if it is about one.
    pub subject: Option<Subject>,
}

/// A name in contracts, as they write it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A table.
    Table(String),
    /// A column.
    Column {
        /// Its table.
        table: String,
        /// The column.
        column: String,
    },
}

impl SetupIssue {
    pub(crate) fn new<const N: usize>(description: impl Into<String>, remedy: [String; N]) -> Self {
        Self { description: description.into(), remedy: remedy.into(), subject: None }
    }

    /// The statement of a value itself reads columns whose changes do not count.
    pub(crate) fn unwatched(found: &UnwatchedColumns) -> Self {
        Self::new(format!("{found}."), [format!("-- {}", UnwatchedColumns::REMEDY)])
    }

    /// The database does not accept the statement of a value. `otherwise`: a further remedy.
    pub(crate) fn unreadable_value(contract: &str, problem: &str, otherwise: &str) -> Self {
        let description = format!(
            "The tables, views and functions that the value of contract `{contract}` reads can't be listed: \
             {problem}."
        );
        Self::new(description, [format!("-- correct the value{otherwise};")])
    }

    pub(crate) fn about(self, subject: Subject) -> Self {
        Self { subject: Some(subject), ..self }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be followed yet.", self.database)?;
        for (number, issue) in self.issues.iter().enumerate() {
            write!(f, "\n\n{}. {}", number + 1, issue.description)?;
            for line in &issue.remedy {
                write!(f, "\n     {line}")?;
            }
        }
        Ok(())
    }
}
