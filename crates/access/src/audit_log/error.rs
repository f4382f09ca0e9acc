//! Errors of the audit log.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a record was not written. Its action must not happen.
#[derive(Debug, Error)]
pub enum AuditLogError {
    /// The file can't be read or written.
    #[error("audit log {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Other users may change the file.
    #[error(
        "audit log {}: other users may write it (mode {mode:03o}); run `chmod 600 {}`",
        path.display(), path.display()
    )]
    Unprotected {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The last record is complete and wrong, so the chain can't go on.
    #[error(
        "audit log {}: the last record is damaged ({reason}); keep the file as evidence under another name, \
         and the log goes on in a new one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The record was not written in time.
    #[error("audit log {}: not written in time; is its disk slow or full?", .0.display())]
    Slow(PathBuf),
    /// The task that writes has ended.
    #[error("audit log {}: its task has ended; restart the node", .0.display())]
    Ended(PathBuf),
}
