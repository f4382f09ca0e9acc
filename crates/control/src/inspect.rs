//! Inspection of this node's tiers by another node's auditor.

use async_trait::async_trait;
use cache::audit::PeerReply;
use serde::Deserialize;
use thiserror::Error;

/// The longest salt, in bytes.
const SALT_MAX: usize = 64;

/// A query for one value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectQuery {
    /// The name of the contract.
    pub contract: String,
    /// The id, as a client names it.
    pub id: String,
    /// The salt of the digests, at most 64 bytes.
    #[serde(default)]
    pub salt: String,
}

impl InspectQuery {
    pub(crate) fn check(&self) -> Result<(), InvalidQuery> {
        if self.salt.len() > SALT_MAX {
            return Err(InvalidQuery(format!("salt: use at most {SALT_MAX} bytes")));
        }
        Ok(())
    }
}

/// The query is invalid; the text says how to correct it.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct InvalidQuery(pub String);

/// Reads the tiers of this node.
#[async_trait]
pub trait TierInspector: Send + Sync + 'static {
    /// Returns the entry that each tier holds, and whether it would be served. Fills, warms and counts
    /// nothing.
    ///
    /// # Errors
    /// [`InvalidQuery`].
    async fn inspect(&self, query: &InspectQuery) -> Result<PeerReply, InvalidQuery>;
}
