//! Random steps.

use coherence::Subject;
use proptest::prelude::*;

use crate::rig::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Read {
        key: u8,
        lease: bool,
    },
    /// Several keys in one call, possibly one of them twice.
    ReadMany {
        keys: Vec<u8>,
        lease: bool,
    },
    /// Several keys are touched: with a read (`here`), or without.
    Use {
        keys: Vec<u8>,
        here: bool,
    },
    /// Time passes: an eighth of the TTL.
    Age,
    Fill {
        key: u8,
        tags: Vec<u8>,
        tau: u64,
        epoch: u64,
        lease: Option<usize>,
    },
    Renew {
        lease: usize,
    },
    Release {
        lease: usize,
    },
    Apply {
        epoch: u64,
        back: u64,
        ahead: u64,
        watermark: u64,
        events: Vec<Commit>,
        /// The leader has stated the mappings.
        stated: bool,
    },
    Evict {
        subjects: Vec<u8>,
    },
    /// Counts the entries that a purge request would remove.
    Survey {
        subjects: Vec<u8>,
    },
    Collect {
        upto: u64,
    },
    ResetEpoch {
        at: u64,
        watermark: u64,
    },
    /// A leader claims the tier and states its mappings.
    Lead {
        who: Who,
        /// Whether it knows the mappings that are stated.
        knows: bool,
        mappings: u8,
        upto: Option<u64>,
    },
    ClaimExpires,
    LeasesExpire,
    Flush,
}

/// A leader: process, system, timeline, start of the server, slot, and where it has left the timeline before.
pub(super) type Who = (u64, u64, u32, u64, u64, u64);

/// Position, subjects, and the tag of the keys' new values, if the commit contains them.
pub(super) type Commit = (u64, Vec<u8>, Option<u8>);

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = || 0..4_u8;
    let lsn = || 0..60_u64;
    let subjects = || proptest::collection::vec(0..SUBJECTS, 0..4);
    // Usually the present epoch (0), sometimes an earlier one.
    let epoch = || prop_oneof![6 => Just(0_u64), 1 => 1..3_u64];
    let lease = || proptest::option::of(0..6_usize);
    let step = prop_oneof![
        30 => (keys(), any::<bool>()).prop_map(|(key, lease)| Step::Read { key, lease }),
        10 => (proptest::collection::vec(keys(), 0..6), any::<bool>())
            .prop_map(|(keys, lease)| Step::ReadMany { keys, lease }),
        10 => (proptest::collection::vec(keys(), 0..6), any::<bool>())
            .prop_map(|(keys, here)| Step::Use { keys, here }),
        6 => Just(Step::Age),
        30 => (keys(), proptest::collection::vec(0..3_u8, 0..3), lsn(), epoch(), lease()).prop_map(
            |(key, tags, tau, epoch, lease)| Step::Fill { key, tags, tau, epoch, lease },
        ),
        4 => (0..6_usize).prop_map(|lease| Step::Renew { lease }),
        4 => (0..6_usize).prop_map(|lease| Step::Release { lease }),
        20 => (
            epoch(), 0..4_u64, 0..5_u64, lsn(),
            proptest::collection::vec(
                (lsn(), subjects(), proptest::option::of(0..4_u8)),
                0..3,
            ),
            proptest::bool::weighted(0.9),
        ).prop_map(|(epoch, back, ahead, watermark, events, stated)| {
            Step::Apply { epoch, back, ahead, watermark, events, stated }
        }),
        8 => (
            (0..3_u64, 1..3_u64, 1..3_u32, 1..3_u64, 0..2_u64, lsn()),
            proptest::bool::weighted(0.8), 0..4_u8, proptest::option::weighted(0.3, lsn()),
        ).prop_map(|(who, knows, mappings, upto)| Step::Lead { who, knows, mappings, upto }),
        3 => Just(Step::ClaimExpires),
        5 => subjects().prop_map(|subjects| Step::Evict { subjects }),
        3 => subjects().prop_map(|subjects| Step::Survey { subjects }),
        3 => lsn().prop_map(|upto| Step::Collect { upto }),
        2 => (lsn(), lsn()).prop_map(|(at, watermark)| Step::ResetEpoch { at, watermark }),
        2 => Just(Step::LeasesExpire),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..250)
}

const SUBJECTS: u8 = 8 + WILDCARDS.len() as u8;

/// Each matches some keys or tags of the test and not others, except the first and the last one.
const WILDCARDS: [&str; 8] = [
    "k*:v1:catalog:price:*",
    "k*:*price:1",
    "k*:*:price:*2*",
    "k*:v1*log:*:3",
    "t*:category-*",
    "t*:*-1",
    "t*:*teg*ry-0*",
    "t*:categories-*",
];

/// Returns a key for 0 to 3, a tag for 4 to 6, everything for 7, then the wildcards.
pub(super) fn subject(n: u8) -> Subject {
    match n {
        0..=3 => Subject::Key(key(n)),
        4..=6 => Subject::Tag(tag(n - 4)),
        7 => Subject::Everything,
        n => WILDCARDS[usize::from(n - 8)].parse().expect("a subject"),
    }
}
