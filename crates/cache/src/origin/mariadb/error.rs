//! From MariaDB's errors to origin errors.

use crate::origin::error::{OriginError, OriginErrorKind};

/// Maps an error by the server's error number.
pub(super) fn classify(err: mysql_async::Error) -> OriginError {
    let mysql_async::Error::Server(err) = err else {
        return OriginError::unavailable(format!("the database can't be reached: {err}"));
    };
    let kind = match err.code {
        // Statement time exceeded, lock wait timed out.
        1969 | 3024 | 1205 => OriginErrorKind::Timeout,
        // Too many connections, shutdown, killed.
        1040 | 1053 | 1203 | 1226 | 1317 | 1927 => OriginErrorKind::Unavailable,
        // Values out of range, truncated or incorrect.
        1264 | 1292 | 1366 | 1690 => OriginErrorKind::BadRequest,
        _ => OriginErrorKind::Broken,
    };
    OriginError { kind, message: format!("{} (error {})", err.message, err.code) }
}
