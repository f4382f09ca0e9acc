//! A tier in buckets: several fences, each for keys of its own, that are one tier.
//!
//! A cluster runs a script on the keys of one slot only, so each bucket of keys has its own epoch, marks,
//! floor and position, and judges its keys by them alone; a tag's mark is in every bucket. What is left to say
//! here is how the buckets are told of the log together.
//!
//! - A batch goes to all buckets, and to the first one last, which publishes it. So nobody hears of a batch
//!   before every bucket that can be reached has taken it, or has shown a gap.
//! - A bucket that is away holds up nobody: its own position says what it has missed. When it is back it is
//!   told again, or begins anew ([`is_lost`]), alone.
//! - The first bucket's epoch is the tier's. A bucket of another one follows: it begins anew.

use crate::fence::Gap;
use crate::position::{Epoch, Lsn};

/// What one bucket says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// Nothing: it can't be reached.
    Away,
    /// That it has no history: it is new, or was flushed.
    Void,
    /// Where it stands.
    At {
        /// Its history.
        epoch: Epoch,
        /// A.
        applied: Lsn,
        /// W.
        watermark: Lsn,
    },
}

/// Where the tier stands as a whole: under the epoch of its first bucket, as far as each bucket of that
/// history has got that can be reached. The others prove nothing, and say so to whoever reads there.
///
/// `None`: the first bucket is away or void, or there is none.
#[must_use]
pub fn standing(buckets: &[Shown]) -> Option<(Epoch, Lsn, Lsn)> {
    let Some(&Shown::At { epoch, applied, watermark }) = buckets.first() else { return None };
    let least = buckets.iter().fold((applied, watermark), |least, bucket| match *bucket {
        Shown::At { epoch: its, applied, watermark } if its == epoch => {
            (least.0.min(applied), least.1.min(watermark))
        }
        _ => least,
    });
    Some((epoch, least.0, least.1))
}

/// What a batch has met in those buckets that can be reached. A bucket without marks comes before one that
/// has missed something: it must not be told anything before it has begun anew. Of several that have missed
/// something, the one that has missed most: who is told from there misses nothing.
///
/// # Errors
/// That gap.
pub fn verdict(met: impl IntoIterator<Item = Result<(), Gap>>) -> Result<(), Gap> {
    let worst = |worst: Option<Gap>, gap: Gap| match (worst, gap) {
        (Some(Gap::Missing { applied: least, .. }), Gap::Missing { applied, .. })
            if least <= applied =>
        {
            worst
        }
        (Some(Gap::Unproven | Gap::Epoch { .. }), _) => worst,
        _ => Some(gap),
    };
    met.into_iter().filter_map(Result::err).fold(None, worst).map_or(Ok(()), Err)
}

/// Whether a bucket can't go on under `epoch`, from `at` on, and has to begin anew there, alone.
///
/// It may: whatever was in it is void then, the floor `at` refuses what was read before, and of all that
/// comes behind `at` it will be told. Its keys are loaded anew; the other buckets' are not.
#[must_use]
pub fn is_lost(bucket: Shown, epoch: Epoch, at: Lsn) -> bool {
    match bucket {
        Shown::Away => false,
        Shown::Void => true,
        Shown::At { epoch: its, applied, .. } => its != epoch || applied < at,
    }
}

#[cfg(test)]
#[path = "buckets_tests.rs"]
mod tests;
