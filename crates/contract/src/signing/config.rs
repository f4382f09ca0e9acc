//! Keys in a configuration: a list of texts, or the name of a file.

use std::path::{Path, PathBuf};

use super::keys::SigningKeys;
use crate::config::{TableReader, ValueError};

/// Where a node gets its keys from.
#[derive(Clone, Debug)]
pub enum SigningKeysSource {
    /// From the configuration or the environment.
    Listed(SigningKeys),
    /// From a file, which is read at the start.
    File(PathBuf),
}

impl SigningKeysSource {
    /// Reads the list `key`, or the name of a file at `file_key`. `None`: there is neither, or a problem was recorded.
    pub fn read(
        table: &mut TableReader<'_>,
        [key, file_key]: [&str; 2],
        folder: &Path,
    ) -> Option<Self> {
        let file = table.file(file_key, folder);
        if table.has(key) && table.has(file_key) {
            let message = format!("is there beside {key}");
            table.problem("conflict", file_key, message, "remove one of them");
        }
        let is_listed = table.has(key);
        let texts = table.list_with(key, SigningKeys::check);
        let texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
        match file {
            Some(path) => Some(Self::File(path)),
            None if is_listed && !texts.is_empty() => match SigningKeys::new(&texts) {
                Ok(keys) => Some(Self::Listed(keys)),
                Err(err) => {
                    table.problem(err.rule, key, err.message, &err.help);
                    None
                }
            },
            None => None,
        }
    }

    /// Returns the keys. `read` reads a file.
    ///
    /// # Errors
    /// A sentence with the name of the file, and nothing of its content.
    pub fn keys(
        &self,
        read: impl FnOnce(&Path) -> std::io::Result<String>,
    ) -> Result<SigningKeys, String> {
        match self {
            Self::Listed(keys) => Ok(keys.clone()),
            Self::File(path) => {
                let text = read(path).map_err(|err| format!("{path:?}: {err}"))?;
                SigningKeys::parse_lines(&text).map_err(|ValueError { message, help, .. }| {
                    format!("{path:?}: {message}; {help}")
                })
            }
        }
    }
}
