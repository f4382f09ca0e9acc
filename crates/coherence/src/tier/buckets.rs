//! A tier in buckets: several fences, each with keys of its own, that form one tier.
//!
//! A cluster runs a script on the keys of one slot only. So each bucket of keys has its own epoch,
//! tombstones, floor and position, and judges its keys by these alone; the tombstone of a tag is in
//! every bucket. This module defines how the buckets apply the log together.
//!
//! - A batch goes to all buckets, and last to the first one, which publishes it. So no node receives a
//!   batch before every reachable bucket has applied it or has reported a gap.
//! - An unreachable bucket delays no other: its own position shows which batches it has missed. When it
//!   is back, the batches are replayed to it, or it alone is reset ([`needs_reset`]).
//! - The first bucket's epoch is the tier's. A bucket with another epoch is reset to it.

use crate::position::{Epoch, Lsn};
use crate::tier::fence::Gap;

/// The state of one bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BucketState {
    /// It can't be reached.
    Unreachable,
    /// It has no epoch: it is new, or was flushed.
    Empty,
    /// It has an epoch and a position.
    At {
        /// Its epoch.
        epoch: Epoch,
        /// A.
        applied: Lsn,
        /// W.
        watermark: Lsn,
    },
}

/// Returns the epoch, A and W of the whole tier: the epoch of the first bucket, and the lowest positions
/// of the reachable buckets with that epoch. The other buckets prove nothing, and report so to their own
/// readers.
///
/// `None` if the first bucket is unreachable or empty, or if there is no bucket.
#[must_use]
pub fn standing(buckets: &[BucketState]) -> Option<(Epoch, Lsn, Lsn)> {
    let Some(&BucketState::At { epoch, applied, watermark }) = buckets.first() else {
        return None;
    };
    let least = buckets.iter().fold((applied, watermark), |least, bucket| match *bucket {
        BucketState::At { epoch: its, applied, watermark } if its == epoch => {
            (least.0.min(applied), least.1.min(watermark))
        }
        _ => least,
    });
    Some((epoch, least.0, least.1))
}

/// Combines the results of a batch in the reachable buckets. A bucket without tombstones takes precedence
/// over one with missing batches, because it must be reset before it applies anything. Of several buckets
/// with missing batches the lowest position wins: a replay from there covers all of them.
///
/// # Errors
/// The [`Gap`] that takes precedence.
pub fn worst_gap(results: impl IntoIterator<Item = Result<(), Gap>>) -> Result<(), Gap> {
    let worst = |worst: Option<Gap>, gap: Gap| match (worst, gap) {
        (Some(Gap::Missing { applied: least, .. }), Gap::Missing { applied, .. })
            if least <= applied =>
        {
            worst
        }
        (Some(Gap::Unproven | Gap::Epoch { .. } | Gap::Coverage { .. }), _) => worst,
        _ => Some(gap),
    };
    results.into_iter().filter_map(Result::err).fold(None, worst).map_or(Ok(()), Err)
}

/// Returns whether a bucket can't continue under `epoch` from position `at` and must be reset there, alone.
///
/// The reset of one bucket is safe: its old entries are void, the floor `at` refuses older fills, and it
/// receives every batch after `at`. Only its own keys are loaded again.
#[must_use]
pub fn needs_reset(bucket: BucketState, epoch: Epoch, at: Lsn) -> bool {
    match bucket {
        BucketState::Unreachable => false,
        BucketState::Empty => true,
        BucketState::At { epoch: its, applied, .. } => its != epoch || applied < at,
    }
}

#[cfg(test)]
#[path = "buckets_tests.rs"]
mod tests;
