//! Key scans: the pass over all ids of an origin that builds a key filter.

use async_trait::async_trait;
use coherence::Lsn;

use super::error::OriginError;

/// The estimate before a scan.
#[derive(Clone, Debug, Default)]
pub struct ScanEstimate {
    /// The approximate number of ids.
    pub keys: u64,
    /// For people: the reason why an id that the scan does not return may have a value nevertheless, if there
    /// is one. Then no filter may be built.
    pub unsuitable: Option<String>,
}

/// A page of ids, in the order of the scan.
#[derive(Clone, Debug)]
pub struct KeyPage {
    /// The ids, as the log writes them.
    pub ids: Vec<String>,
    /// As [`Loaded::seen`](super::Loaded::seen).
    pub seen: Option<Lsn>,
}

/// Scans the ids of an origin. Every id that has a value is returned once.
#[async_trait]
pub trait KeyScan: Send + Sync {
    /// Estimates the number of ids, and checks that a scan returns every id that has a value.
    async fn estimate(&self) -> Result<ScanEstimate, OriginError>;

    /// Returns the first `limit` ids after `after`, in the scan's own order. A shorter page is the last one.
    /// Its snapshot begins after the call.
    async fn page(&self, after: Option<&str>, limit: usize) -> Result<KeyPage, OriginError>;
}
