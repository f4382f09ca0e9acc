//! Entries whose data is in the databases of several sources.
//!
//! One engine stores the value; the engines of the other sources store [witnesses](coherence::joint). A read asks for
//! their proof wherever it asks for that of its own tier.

use std::fmt;

use async_trait::async_trait;
use coherence::{JointProof, Mono};
use contract::Key;

use crate::entry::Entry;

/// The proof of entries by the logs of other sources.
#[async_trait]
pub trait ForeignProof: fmt::Debug + Send + Sync + 'static {
    /// Whether an entry depends on the log of another source.
    fn concerns(&self, entry: &Entry) -> bool;

    /// Proves an entry that its own tier proves as of `own`, by the witnesses in this process.
    fn prove(&self, key: &Key, entry: &Entry, own: Option<Mono>) -> JointProof;

    /// Fetches the witnesses of an entry that this process lacks from the shared tiers. Returns whether it has all of
    /// them now.
    async fn fetch(&self, key: &Key, entry: &Entry) -> bool;
}
