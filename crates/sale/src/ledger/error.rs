//! Errors of ledgers.

use database::{DatabaseError, Failure, ServerCode};
use thiserror::Error;

/// A call that has no outcome. It may have had its effect: repeat it with the same keys.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The database did not answer. A repeat may help.
    #[error("{0}")]
    Unavailable(DatabaseError),
    /// The database refused the statement, and will refuse it again.
    #[error("{0}")]
    Rejected(DatabaseError),
    /// The database's answer has another form than this version's statements have.
    #[error("the database's answer can't be read: {0}")]
    Unreadable(String),
    /// The cursor of a request is none of this ledger's.
    #[error("the cursor is none of this ledger's events")]
    UnknownCursor,
}

/// Classes of SQLSTATE after which a repeat may help: connection, resources, intervention, serialization,
/// read-only (a primary that was demoted).
const TRANSIENT_CLASSES: [&str; 5] = ["08", "53", "57", "40", "25"];

/// SQLSTATEs of the same kind: a lock was not free in time.
const TRANSIENT: [&str; 1] = ["55P03"];

impl LedgerError {
    /// Whether a repeat may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<DatabaseError> for LedgerError {
    fn from(err: DatabaseError) -> Self {
        let is_transient = match &err.failure {
            Failure::Unreachable(_)
            | Failure::TimedOut(_)
            | Failure::NoFreeConnection
            | Failure::Misconfigured { .. }
            | Failure::NotPrimary(_) => true,
            Failure::Rejected { code: ServerCode::SqlState(state), .. } => {
                let class = state.get(..2).unwrap_or_default();
                TRANSIENT_CLASSES.contains(&class) || TRANSIENT.contains(&state.as_str())
            }
            Failure::Sqlite(err) => matches!(
                err.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::DatabaseBusy
                        | rusqlite::ErrorCode::DatabaseLocked
                        | rusqlite::ErrorCode::SystemIoFailure
                        | rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::CannotOpen
                )
            ),
            Failure::Rejected { .. } | Failure::Unsuitable { .. } | Failure::Unexpected(_) => false,
        };
        if is_transient { Self::Unavailable(err) } else { Self::Rejected(err) }
    }
}
