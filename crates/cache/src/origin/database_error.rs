//! From errors of databases to origin errors.

use database::{DatabaseError, Failure, ServerCode};

use super::error::{OriginError, OriginErrorKind};

impl From<DatabaseError> for OriginError {
    fn from(err: DatabaseError) -> Self {
        match err.failure {
            failure @ (Failure::Unreachable(_)
            | Failure::NotPrimary(_)
            | Failure::Misconfigured { .. }) => {
                Self::unavailable(format!("the database can't be reached: {failure}"))
            }
            Failure::TimedOut(limit) => {
                Self::timeout(format!("the database did not answer within {limit:?}"))
            }
            failure @ Failure::NoFreeConnection => Self::timeout(failure.to_string()),
            ref failure @ Failure::Rejected { ref code, .. } => {
                Self { kind: kind_of_code(code), message: failure.to_string() }
            }
            Failure::Sqlite(err) => Self { kind: kind_in_sqlite(&err), message: err.to_string() },
            failure @ (Failure::Unsuitable { .. } | Failure::Unexpected(_)) => {
                Self::broken(failure.to_string())
            }
        }
    }
}

fn kind_of_code(code: &ServerCode) -> OriginErrorKind {
    match code {
        ServerCode::SqlState(state) => kind_of_state(state),
        ServerCode::Number(number) => kind_of_number(*number),
    }
}

/// Returns the kind for an SQLSTATE of PostgreSQL. No code says that the id is wrong: a data exception may come
/// from the rows, such as a division by zero.
fn kind_of_state(state: &str) -> OriginErrorKind {
    match state.get(..2).unwrap_or_default() {
        // Cancelled, by the statement's time limit; or a lock was not available in time.
        _ if matches!(state, "57014" | "55P03") => OriginErrorKind::Timeout,
        // Connection exception, rolled back because of others, insufficient resources, operator intervention,
        // system error.
        "08" | "40" | "53" | "57" | "58" => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    }
}

/// Returns the kind for an error number of MariaDB.
fn kind_of_number(number: u16) -> OriginErrorKind {
    match number {
        // Statement time exceeded, lock wait timed out.
        1969 | 3024 | 1205 => OriginErrorKind::Timeout,
        // Too many connections, shutdown, killed.
        1040 | 1053 | 1203 | 1226 | 1317 | 1927 => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    }
}

fn kind_in_sqlite(err: &rusqlite::Error) -> OriginErrorKind {
    match err.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OriginErrorKind::Timeout
        }
        Some(rusqlite::ErrorCode::CannotOpen) => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn server_code_decides_kind() {
        let origin_error = |code| {
            let failure = Failure::Rejected { message: "no".into(), code };
            OriginError::from(DatabaseError { operation: "loading", failure })
        };
        for (state, kind) in [
            ("57014", OriginErrorKind::Timeout),
            ("57P01", OriginErrorKind::Unavailable),
            ("40001", OriginErrorKind::Unavailable),
            ("55P03", OriginErrorKind::Timeout),
            ("22P02", OriginErrorKind::Broken),
            ("22012", OriginErrorKind::Broken),
            ("42703", OriginErrorKind::Broken),
            ("", OriginErrorKind::Broken),
        ] {
            let err = origin_error(ServerCode::SqlState(state.to_owned()));
            assert_eq!((err.kind, err.message), (kind, format!("no (SQLSTATE {state})")));
        }
        for (number, kind) in [
            (1969, OriginErrorKind::Timeout),
            (1040, OriginErrorKind::Unavailable),
            (1292, OriginErrorKind::Broken),
            (1690, OriginErrorKind::Broken),
            (1054, OriginErrorKind::Broken),
        ] {
            let err = origin_error(ServerCode::Number(number));
            assert_eq!((err.kind, err.message), (kind, format!("no (error {number})")));
        }
    }

    #[test]
    fn unanswered_load_is_never_broken() {
        for (failure, kind) in [
            (Failure::Unreachable("reset".into()), OriginErrorKind::Unavailable),
            (Failure::NotPrimary("h:5432".into()), OriginErrorKind::Unavailable),
            (Failure::TimedOut(Duration::from_secs(5)), OriginErrorKind::Timeout),
            (Failure::NoFreeConnection, OriginErrorKind::Timeout),
        ] {
            let err = OriginError::from(DatabaseError { operation: "loading", failure });
            assert_eq!(err.kind, kind, "{err}");
        }
    }
}
