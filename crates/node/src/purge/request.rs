//! Purge requests and their results.

use std::collections::BTreeMap;
use std::time::Duration;

use coherence::{CausalToken, Cause, Lsn, Subject};
use contract::Key;
use thiserror::Error;

/// The most subjects of one request.
pub const SUBJECTS_MAX: usize = 1_000;

/// A checked purge request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidationRequest {
    cause: Cause,
    subjects: Vec<Subject>,
}

impl InvalidationRequest {
    /// Creates a request for `subjects`, each of which counts once.
    ///
    /// # Errors
    /// [`InvalidationError::Invalid`]: there is no subject, or there are more than [`SUBJECTS_MAX`].
    pub fn new(cause: Cause, mut subjects: Vec<Subject>) -> Result<Self, InvalidationError> {
        subjects.sort_unstable();
        subjects.dedup();
        match subjects.len() {
            0 => Err(InvalidationError::Invalid("the request names no subject".into())),
            n if n > SUBJECTS_MAX => Err(InvalidationError::Invalid(format!(
                "{n} keys, tags and wildcards in one request; at most {SUBJECTS_MAX}, send several"
            ))),
            _ => Ok(Self { cause, subjects }),
        }
    }

    /// Returns whether an operator or an application sent the request.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the subjects, sorted: at least one, at most [`SUBJECTS_MAX`].
    #[must_use]
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    pub(super) fn into_subjects(self) -> Vec<Subject> {
        self.subjects
    }

    /// Returns the part of the request about the subjects that `concerns` selects; `None`: there are none.
    #[must_use]
    pub fn part(&self, concerns: impl Fn(&Subject) -> bool) -> Option<Self> {
        let subjects: Vec<Subject> =
            self.subjects.iter().filter(|subject| concerns(subject)).cloned().collect();
        (!subjects.is_empty()).then_some(Self { cause: self.cause, subjects })
    }
}

/// The result of an applied request: no answer given from now on misses the invalidation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidationReceipt {
    /// The request's name in logs.
    pub id: String,
    /// The request's position in the log.
    pub position: Lsn,
    /// A causal token: a read with it includes every commit up to the request.
    pub token: CausalToken,
    /// The number of keys, tags and wildcards.
    pub subjects: usize,
    /// The time until the shared tier and this node's own tier had applied the request.
    pub elapsed: Duration,
}

/// The entries that a request would remove. Nothing was removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DryRun {
    /// The subjects of the request.
    pub subjects: Vec<Subject>,
    /// The matches in the shared tier.
    pub shared: TierMatches,
    /// The matches in this node's own tier.
    pub local: TierMatches,
}

/// The entries of one tier that a request matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TierMatches {
    /// Their number.
    pub entries: u64,
    /// False: the scan of the tier was cut short, so there are at least as many.
    pub complete: bool,
    /// Their number by contract; the gateway's pages are under `pages`, keys of no contract under their
    /// prefix.
    pub contracts: BTreeMap<String, u64>,
    /// Some of the keys.
    pub examples: Vec<Key>,
}

impl TierMatches {
    /// Adds the matches in the same tier of another source.
    pub(super) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.complete &= other.complete;
        for (name, entries) in other.contracts {
            *self.contracts.entry(name).or_default() += entries;
        }
        self.examples.extend(other.examples);
    }
}

/// Why a request was not applied, or not completely.
#[derive(Debug, Error)]
pub enum InvalidationError {
    /// The request is invalid; the text says why.
    #[error("{0}")]
    Invalid(String),
    /// The database's log could not be written, so the request has no position. Entries were dropped if
    /// `dropped`; a load in flight may store an old value again until the log is writable.
    #[error(
        "the purge request could not be written to the database's log ({cause}); entries dropped: {dropped}"
    )]
    NotLogged {
        /// The reason.
        cause: String,
        /// The entries were dropped from the shared tier nevertheless.
        dropped: bool,
    },
    /// Too many dry runs are waiting.
    #[error(
        "{} dry runs are waiting on this node, or the one before did not end; send it again in {} s, or once \
         instead of by many",
        super::survey_line::DRY_RUNS_MAX,
        InvalidationError::RETRY_AFTER_S
    )]
    Busy,
    /// The matching entries could not be counted.
    #[error("the shared tier could not be scanned ({cause})")]
    NotScanned {
        /// The reason.
        cause: String,
    },
    /// The request is in the log but was not applied in time; it will be.
    #[error(
        "written at {position}, not applied within {waited_ms} ms; it is applied as soon as the log is followed again"
    )]
    NotApplied {
        /// The request's position.
        position: Lsn,
        /// The time waited, in ms.
        waited_ms: u64,
    },
}

impl InvalidationError {
    /// The seconds after which a dry run that was refused may be sent again.
    pub const RETRY_AFTER_S: u64 = 5;
}
