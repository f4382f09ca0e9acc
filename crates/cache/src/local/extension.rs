//! The parts of an entry that most entries do not have: cells of shared tags, the state of a soft-stale entry or of a
//! sliding TTL, a large value, and the time at which the value changes.

use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use coherence::{ClockTime, Mono, SlidingTtl, SoftStale};
use once_cell::race::OnceBox;

use super::packed::Outside;
use super::tag_cell::TagCell;
use crate::shared::Touch;

#[derive(Debug, Default)]
pub(super) struct RareParts {
    /// The cells of the tags that other entries have too, once it is in the tier.
    pub(super) cells: OnceLock<Cells>,
    pub(super) extension: Option<Box<EntryExtension>>,
    pub(super) outside: Option<Box<Outside>>,
    /// The time by the database's clock at which its value changes.
    pub(super) changes_at: Option<ClockTime>,
}

/// The cells of some tags. An entry with one of them, as most are, has no list.
#[derive(Debug)]
pub(super) enum Cells {
    One(Arc<TagCell>),
    List(Box<[Arc<TagCell>]>),
}

impl Cells {
    /// `None`: there are none.
    pub(super) fn new(mut cells: Vec<Arc<TagCell>>) -> Option<Self> {
        match cells.len() {
            0 => None,
            1 => cells.pop().map(Self::One),
            _ => Some(Self::List(cells.into())),
        }
    }

    pub(super) fn as_slice(&self) -> &[Arc<TagCell>] {
        match self {
            Self::One(cell) => slice::from_ref(cell),
            Self::List(cells) => cells,
        }
    }
}

impl RareParts {
    /// Returns the parts of an entry that is not in the tier yet.
    pub(super) fn new(
        extension: Option<EntryExtension>,
        outside: Option<Box<Outside>>,
        changes_at: Option<ClockTime>,
    ) -> OnceBox<Self> {
        if extension.is_none() && outside.is_none() && changes_at.is_none() {
            return OnceBox::new();
        }
        let (cells, extension) = (OnceLock::new(), extension.map(Box::new));
        OnceBox::with_value(Box::new(Self { cells, extension, outside, changes_at }))
    }
}

/// The state of a soft-stale entry, or of one with a sliding TTL.
#[derive(Debug)]
pub(super) enum EntryExtension {
    Soft(SoftExtension),
    Sliding(SlidingExtension),
}

/// The extension of a soft-stale entry ([`coherence::soft`]).
#[derive(Debug)]
pub(crate) struct SoftExtension {
    /// The proof that remains: the first missing position, and the time as of which the entry is proven.
    pub(crate) proof: SoftStale,
    /// A random number in `0..1`, drawn once per entry: the point of the refresh window at which its
    /// refresh is due.
    pub(crate) draw: f64,
    /// No refresh is tried before this time.
    next_refresh: AtomicU64,
    /// For the entry that replaces this one.
    pub(super) touch: Option<Touch>,
}

impl SoftExtension {
    pub(super) fn new(proof: SoftStale, draw: f64, touch: Option<Touch>) -> Self {
        Self { proof, draw, next_refresh: AtomicU64::new(0), touch }
    }

    /// Claims the next refresh at `now`. Returns `false` if another reader has claimed it. `next`: the
    /// time from which the refresh can be claimed again.
    pub(crate) fn claim_refresh(&self, now: Mono, next: Mono) -> bool {
        let free = |from| (from <= now.0).then_some(next.0);
        self.next_refresh.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }
}

/// The extension of an entry with a sliding TTL.
#[derive(Debug)]
pub(super) struct SlidingExtension {
    pub(super) ttl: SlidingTtl,
    pub(super) touch: Touch,
    pub(super) expires: AtomicU64,
    /// From this time on a use here is reported to the shared tier.
    pub(super) report_from: AtomicU64,
}
