//! A read in progress.

use coherence::{Epoch, LeaseToken, Log, Lsn, Mono};

use crate::model::database::CommitSet;
use crate::model::keys::KeyId;
use crate::model::standby::Source;

/// A read that has not ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Load {
    /// The node that reads.
    pub node: usize,
    /// The key.
    pub key: KeyId,
    /// The epoch and the τ that came with the miss.
    pub token: (Epoch, Lsn),
    /// The lease, and its end as far as its holder knows.
    pub lease: Option<(LeaseToken, Mono)>,
    pub(crate) began: Mono,
    pub(crate) shared: bool,
    /// The database that is asked.
    pub from: Source,
    /// The progress of the read.
    pub stage: Stage,
}

/// The progress of a read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// The origin was asked.
    Asked,
    /// The standby has taken its snapshot, in that log.
    Read(CommitSet, Log),
    /// The primary has taken its snapshot, or the standby's answer was accepted.
    Answered(CommitSet),
    /// The value was offered to the shared tier.
    Offered(CommitSet),
    /// The value was found in the shared tier.
    Found(CommitSet),
}
