//! Secrets in files, which are read again for each use: a rotated one needs no restart.

use std::path::PathBuf;

/// More is no secret: another file was named.
const BYTES_MAX: usize = 4 << 10;

/// A file with a secret. The secret is never printed.
#[derive(Clone, Debug)]
pub(crate) struct SecretFile(pub(crate) PathBuf);

impl SecretFile {
    /// Reads the secret: the file's content without white space at its ends.
    ///
    /// # Errors
    /// The file can't be read, is empty, too long or has other characters than printable ASCII. The text shows nothing of it.
    pub(crate) async fn read(&self) -> Result<String, String> {
        let failed = |problem: &str| format!("{}: {problem}", self.0.display());
        let bytes = tokio::fs::read(&self.0).await.map_err(|err| failed(&err.to_string()))?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let secret = text.trim();
        let is_secret = !secret.is_empty()
            && secret.len() <= BYTES_MAX
            && secret.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_secret {
            return Err(failed("is no file with one secret of printable characters"));
        }
        Ok(secret.to_owned())
    }
}
