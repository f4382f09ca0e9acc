//! An entry of the in-process tier: the stored answer and the fields that a reader checks.

mod content;
mod creation;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use coherence::{EntryState, Lsn, Mono};
use contract::Class;
use once_cell::race::OnceBox;
use triomphe::ThinArc;

use super::extension::{Cells, EntryExtension, RareParts, SlidingExtension, SoftExtension};
use super::fast_path::{FastPath, FastPathCell};
use super::links::Links;
use super::packed::{Layout, Outside};
use super::tag_cell::TagCell;
use crate::shared::Touch;

/// An entry of the in-process tier. Clones share it. All times are this process's own.
///
/// One allocation, unless its value is large: the fields that a hit reads lie beside the counter that every hit
/// touches anyway, with the key behind them, and the store's slots stay as small as two pointers.
#[derive(Clone)]
pub struct LocalEntry(ThinArc<EntryFields, u8>);

/// The fields of an entry of fixed size.
#[derive(Debug)]
#[repr(C)]
pub struct EntryFields {
    /// Moves only where uses prolong the entry's life.
    fast_path: FastPathCell,
    /// The number of [raises](super::raised) at which it was stored, or last found current.
    stamp: AtomicU64,
    /// The time at which its load began, less the lag of its origin. For an entry from the shared tier: the
    /// latest time at which the load can have begun, by its wall time.
    pub(crate) loaded: Mono,
    /// τ: every relevant commit at or before this position is in it.
    pub tau: Lsn,
    /// Its links in the [tag index](super::tag_index). Changed only under the tier's mutex.
    links: AtomicU32,
    /// The duration of the load in µs.
    pub cost_us: u32,
    layout: Layout,
    /// Whether this process loaded it from the origin, so that `loaded` is a proof: every commit
    /// acknowledged before the load began is in it.
    pub(crate) loaded_here: bool,
    /// Whether its value changes at a time by the database's clock, which the rare parts have.
    changes_by_clock: bool,
    pub(super) policy: EntryPolicy,
    /// No plain hit reads them.
    rare: OnceBox<RareParts>,
    /// Its TTL in nanoseconds, jitter included.
    ttl_ns: u64,
    /// The wall time of its load, in ms since 1970.
    pub loaded_wall_ms: u64,
    /// No commit after this position is in it ([`coherence::atomic`]); [`Lsn::MAX`]: not known.
    pub seen: Lsn,
    /// The [definition](contract::Contract::definition_fingerprint) of the contract that it was made by; zero
    /// where there is no contract.
    pub definition: u64,
}

/// How the in-process tier treats an entry, by its contract.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryPolicy {
    /// Whether a commit may leave it soft-stale instead of removing it: its contract has a budget to spend.
    pub(crate) soft_allowed: bool,
    /// Whether only the time of its load proves it: no events are received for its data.
    pub(crate) age_bound: bool,
    pub(crate) pool: Class,
}

impl Deref for LocalEntry {
    type Target = EntryFields;

    #[inline]
    fn deref(&self) -> &EntryFields {
        &self.0.header.header
    }
}

impl fmt::Debug for LocalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalEntry").field(&self.key_text()).field(&**self).finish()
    }
}

impl LocalEntry {
    /// Returns whether it may be served on the fast path.
    #[inline]
    pub(crate) fn fast_path(&self) -> FastPath {
        self.fast_path.get()
    }

    #[inline]
    pub(super) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    pub(super) fn set_stamp(&self, stamp: u64) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// Returns the cells of its tags that other entries have too.
    pub(super) fn cells(&self) -> &[Arc<TagCell>] {
        self.rare.get().and_then(|rare| rare.cells.get()).map_or(&[], Cells::as_slice)
    }

    pub(super) fn links(&self) -> Links {
        self.links.load(Ordering::Relaxed).into()
    }

    /// Sets its links in the index, and the cells of its tags.
    pub(super) fn set_links(&self, links: Links, cells: Vec<Arc<TagCell>>) {
        self.links.store(links.into(), Ordering::Relaxed);
        if let Some(cells) = Cells::new(cells) {
            // An entry is stored once.
            let _ = self.rare.get_or_init(Box::default).cells.set(cells);
        }
    }

    /// Takes its links, for the entry that replaces it.
    pub(super) fn take_links(&self) -> Links {
        self.links.swap(Links::NONE.into(), Ordering::Relaxed).into()
    }

    /// Returns its parts that most entries do not have.
    pub(super) fn rare_parts(&self) -> Option<&RareParts> {
        self.rare.get()
    }

    fn extension(&self) -> Option<&EntryExtension> {
        self.rare.get()?.extension.as_deref()
    }

    fn outside(&self) -> Option<&Outside> {
        self.rare.get()?.outside.as_deref()
    }

    /// The present end of its life.
    pub(crate) fn expires(&self) -> Mono {
        match self.sliding() {
            Some(sliding) => Mono(sliding.expires.load(Ordering::Relaxed)),
            None => self.loaded + self.ttl(),
        }
    }

    /// The time as of which it is proven: every commit acknowledged before is in it, given that its tier is
    /// `proven` as of that time.
    #[inline]
    pub(crate) fn as_of(&self, proven: Option<Mono>) -> Option<Mono> {
        let as_of = self.as_of_log(proven);
        // The log has no event for a change by the clock: past it the entry is proven as of then, at most.
        if self.changes_by_clock { as_of.map(|as_of| as_of.min(self.expires())) } else { as_of }
    }

    #[inline]
    fn as_of_log(&self, proven: Option<Mono>) -> Option<Mono> {
        if let Some(soft) = self.soft() {
            return Some(soft.proof.as_of);
        }
        if self.policy.age_bound {
            return self.loaded_here.then_some(self.loaded);
        }
        if self.loaded_here { proven.max(Some(self.loaded)) } else { proven }
    }

    /// The position up to which it has every commit, in a tier that has applied `applied`.
    pub(super) fn reaches(&self, applied: Lsn) -> Lsn {
        match self.soft() {
            Some(soft) => soft.proof.reaches(),
            None => applied.max(self.tau),
        }
    }

    /// Its state as the invalidation rule sees it.
    pub(super) fn invalidation_state(&self) -> EntryState {
        EntryState {
            tau: self.tau,
            loaded: self.loaded_here.then_some(self.loaded),
            soft_stale: self.soft().map(|soft| soft.proof),
            lenient: self.policy.soft_allowed,
        }
    }

    /// The soft-stale state, if a commit has invalidated the entry.
    #[inline]
    pub(crate) fn soft(&self) -> Option<&SoftExtension> {
        // This field is in the cache line that a hit has loaded; the rare parts are not.
        if self.fast_path() != FastPath::Closed {
            return None;
        }
        match self.extension() {
            Some(EntryExtension::Soft(soft)) => Some(soft),
            Some(EntryExtension::Sliding(_)) | None => None,
        }
    }

    /// Whether its contract has a budget to spend once its value has changed by the clock.
    pub(crate) fn may_outlast_its_change(&self) -> bool {
        self.policy.soft_allowed && self.changes_by_clock
    }

    /// Whether a commit has invalidated the entry, and it is kept within its contract's budget.
    #[must_use]
    #[inline]
    pub fn is_soft(&self) -> bool {
        self.soft().is_some()
    }

    fn sliding(&self) -> Option<&SlidingExtension> {
        match self.extension() {
            Some(EntryExtension::Sliding(sliding)) => Some(sliding),
            Some(EntryExtension::Soft(_)) | None => None,
        }
    }

    /// Returns the touch that a use of it means for the tiers, if it has a sliding TTL.
    fn touch(&self) -> Option<Touch> {
        match self.extension()? {
            EntryExtension::Sliding(sliding) => Some(sliding.touch),
            EntryExtension::Soft(soft) => soft.touch,
        }
    }

    /// Whether no use can prolong its life any further, so that a refresh before its end makes sense.
    pub(crate) fn is_at_max_lifetime(&self) -> bool {
        self.sliding().is_none_or(|sliding| self.expires() >= sliding.ttl.cap)
    }

    /// Records an answer from it at `now` that is proven to be within its contract. Returns whether the use
    /// has to be reported to the shared tier. `refresh_from`: the time from which an early refresh is
    /// considered, for a life that ends at the given time.
    pub(crate) fn record_use(&self, now: Mono, refresh_from: impl FnOnce(Mono) -> Mono) -> bool {
        let Some(sliding) = self.sliding() else { return false };
        if self.fast_path().is_open(now) || now >= self.expires() {
            return false;
        }
        let mut is_last = false;
        if !self.is_at_max_lifetime() {
            sliding.expires.fetch_max(sliding.ttl.expires_at(now).0, Ordering::Relaxed);
            let next = sliding.ttl.next_touch(now);
            is_last = next.is_none();
            let fast_until = next.unwrap_or_else(|| refresh_from(self.expires()));
            self.fast_path.set(FastPath::Until(fast_until));
        }
        let due = |from| (from <= now.0 || is_last).then(|| sliding.ttl.next_report(now).0);
        sliding.report_from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}
