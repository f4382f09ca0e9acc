//! Passwords in files, which are read again for each connection: a rotated password needs no restart.

use std::path::Path;

use crate::error::{DatabaseError, Failure};

/// More is no password: another file was named.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the password in a file: its content without line breaks at the end.
pub(crate) async fn read(database: &str, path: &Path) -> Result<Vec<u8>, DatabaseError> {
    let misconfigured = |problem: String| DatabaseError {
        operation: "reading the password",
        failure: Failure::Misconfigured {
            database: database.to_owned(),
            problem: format!("password_file = {}: {problem}", path.display()),
            remedy: "name a file with the password alone, which Tidegate's user may read"
                .to_owned(),
        },
    };
    let content = async {
        if tokio::fs::metadata(path).await?.len() > MAX_BYTES {
            return Err(std::io::Error::other("it is too large for a password"));
        }
        tokio::fs::read(path).await
    };
    let content = content.await.map_err(|err| misconfigured(err.to_string()))?;
    let end =
        content.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    match &content[..end] {
        [] => Err(misconfigured("it is empty".to_owned())),
        password => Ok(password.to_vec()),
    }
}
