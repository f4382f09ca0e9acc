//! What can go wrong between a feed and its database.

use std::fmt;

use thiserror::Error;

/// A feed's or a source's failure.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The database is not set up for this; says what an administrator has to run. Retrying does
    /// not help until they did.
    #[error(transparent)]
    Setup(#[from] Setup),
    /// The database could not be reached, or went away. Retrying helps.
    #[error("{doing}: {source}")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// What the driver says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database sent something that is not its protocol.
    #[error("the database sent something unintelligible: {0}")]
    Malformed(String),
    /// A log message that no feed would accept.
    #[error("the message has {bytes} bytes, at most {} are allowed", crate::LogMessage::MAX_BYTES)]
    TooLarge {
        /// How many it would have.
        bytes: usize,
    },
}

impl FeedError {
    pub(crate) fn unavailable(
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { doing, source: source.into() }
    }

    /// Whether the same may work a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Malformed(_) => true,
            Self::Setup(_) | Self::TooLarge { .. } => false,
        }
    }
}

/// Everything that is missing before a database can be followed, at once.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct Setup {
    /// What database, without secrets.
    pub database: String,
    /// What is missing; never empty.
    pub problems: Vec<Problem>,
}

/// One thing that is missing, and what mends it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What is wrong and why it matters, in a sentence or two.
    pub what: String,
    /// What a database administrator has to run, line by line: SQL, or a comment after `--`.
    pub fix: Vec<String>,
}

impl Problem {
    pub(crate) fn new<const N: usize>(what: impl Into<String>, fix: [String; N]) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} can't be followed yet.", self.database)?;
        for (number, problem) in self.problems.iter().enumerate() {
            write!(f, "\n\n{}. {}", number + 1, problem.what)?;
            for line in &problem.fix {
                write!(f, "\n     {line}")?;
            }
        }
        Ok(())
    }
}
