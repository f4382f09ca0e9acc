//! What the tiers of this node would answer, for another node's auditor.

use async_trait::async_trait;
use serde::Deserialize;
use thiserror::Error;

/// The longest salt, in bytes.
const SALT_MAX: usize = 64;

/// A question about one value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Under which contract.
    pub contract: String,
    /// As a reader would name it.
    pub id: String,
    /// What the digest is salted with; at most 64 bytes.
    #[serde(default)]
    pub salt: String,
}

impl Asked {
    pub(crate) fn check(&self) -> Result<(), Senseless> {
        if self.salt.len() > SALT_MAX {
            return Err(Senseless(format!("salt: use at most {SALT_MAX} bytes")));
        }
        Ok(())
    }
}

/// The question makes no sense; says what to ask instead.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Senseless(pub String);

/// Who can say what would be answered.
#[async_trait]
pub trait Inspect: Send + Sync + 'static {
    /// What each tier would answer, as JSON; fills, warms and counts nothing.
    ///
    /// # Errors
    /// [`Senseless`].
    async fn inspect(&self, asked: &Asked) -> Result<serde_json::Value, Senseless>;
}
