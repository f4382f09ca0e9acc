//! From SQLite's errors to origin errors.

use crate::origin::error::{OriginError, OriginErrorKind};

pub(super) fn classify(err: rusqlite::Error) -> OriginError {
    let kind = match err.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OriginErrorKind::Timeout
        }
        Some(rusqlite::ErrorCode::CannotOpen) => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    };
    OriginError { kind, message: err.to_string() }
}
