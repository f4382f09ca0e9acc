//! The state of the in-process tier that its mutex guards.

use std::sync::Arc;
use std::time::Duration;

use coherence::key_filter::FilterPosition;
use coherence::{
    Batch, Bound, Coverage, Epoch, Fence, HighWaterMark, KnownCoverage, Lsn, Mono, WatermarkHistory,
};
use contract::{Class, Key};

use super::entry::{EntryPolicy, LocalEntry};
use super::key_filter::{FilterId, KeyFilter};
use super::tag_index::{DiscardedIndex, TagIndex};
use crate::entry::{Content, Entry};

/// Tombstones live at least this long before the floor replaces them: longer than most loads, so that
/// their collection refuses few fills.
const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(15);

/// The number of tombstones from which on they are collected at once.
const TOMBSTONES_MAX: usize = 200_000;

/// The life of an entry that a key filter answers with. No tier stores it.
const ABSENT_LIFETIME: Duration = Duration::from_secs(1);

/// The state behind the mutex.
pub(super) struct Writer {
    pub(super) fence: Fence,
    /// Survives a [reset](super::Local::reset).
    pub(super) high_water: HighWaterMark,
    /// The watermark over time, for loads from services that lag.
    pub(super) watermarks: WatermarkHistory,
    pub(super) bound: Bound,
    /// The mappings that the leader applies, as far as this node knows.
    pub(super) known: KnownCoverage,
    pub(super) index: TagIndex,
    pub(super) sweep: SweepState,
    /// The time of the last batch.
    pub(super) time: Mono,
    pub(super) filters: Vec<KeyFilter>,
    /// The part of the log that was received, for filters that are added later.
    pub(super) filter_position: Option<FilterPosition>,
    /// The watermark at a time at least [`TOMBSTONE_LIFETIME`] ago, or since the last collection.
    collect_at: (Mono, Lsn),
    pub(super) renewals: u64,
    /// Entries that became soft-stale, and invalidations of entries that were soft-stale already.
    pub(super) soft_stale: u64,
    pub(super) merged: u64,
}

/// The work of the [sweep](super::sweep) beside the links that lag behind in the index.
#[derive(Default)]
pub(super) struct SweepState {
    /// A pass over the store that has begun at this stamp, or a later one, settles all entries that wildcards
    /// and drops have made old.
    wanted: u64,
    /// The last pass that has ended had begun at this stamp.
    done: u64,
    /// The number of entries that such a pass has still to visit.
    unvisited: usize,
    discarded: Vec<DiscardedIndex>,
}

impl SweepState {
    /// Requests a pass that begins at `stamp` or later and visits all of the `entries`.
    pub(super) fn request_pass(&mut self, entries: usize, stamp: u64) {
        self.wanted = stamp;
        self.unvisited = entries;
    }

    /// Keeps an index until its memory was freed in parts.
    pub(super) fn discard(&mut self, index: DiscardedIndex) {
        self.discarded.push(index);
    }

    /// Frees a part of the discarded indices.
    pub(super) fn free(&mut self, links: usize) {
        if let Some(index) = self.discarded.last_mut()
            && !index.free(links)
        {
            self.discarded.pop();
        }
    }

    /// Whether a pass is wanted that has not ended.
    pub(super) fn is_pass_due(&self) -> bool {
        self.done < self.wanted
    }

    /// Whether there is anything to do.
    pub(super) fn is_due(&self) -> bool {
        self.is_pass_due() || !self.discarded.is_empty()
    }

    /// Records that a pass that had begun at `began` visits entries with these stamps. The others were stored
    /// after the request, or found current by a reader.
    pub(super) fn visited(&mut self, began: u64, stamps: impl Iterator<Item = u64>) {
        if began >= self.wanted {
            let requested = stamps.filter(|stamp| *stamp < self.wanted).count();
            self.unvisited = self.unvisited.saturating_sub(requested);
        }
    }

    /// Records the end of a pass.
    pub(super) fn ended(&mut self, began: u64) {
        self.done = began;
        if !self.is_pass_due() {
            self.unvisited = 0;
        }
    }

    /// Returns the number of entries that may be old and not yet settled.
    pub(super) fn unvisited(&self) -> usize {
        self.unvisited
    }
}

impl Writer {
    /// Creates the state of an empty tier that remembers `samples` samples.
    pub(super) fn new(samples: usize, contracts: Coverage) -> Self {
        Self {
            fence: Fence::default(),
            high_water: HighWaterMark::default(),
            watermarks: WatermarkHistory::default(),
            bound: Bound::new(samples),
            known: KnownCoverage::new(contracts),
            index: TagIndex::default(),
            sweep: SweepState::default(),
            time: Mono(0),
            filters: Vec::new(),
            filter_position: None,
            collect_at: (Mono(0), Lsn::ZERO),
            renewals: 0,
            soft_stale: 0,
            merged: 0,
        }
    }

    /// Whether the database still writes the log of `epoch`, as far as this node knows.
    pub(super) fn follows(&self, epoch: Epoch) -> bool {
        self.bound.is_of(epoch.log().run())
    }

    /// Whether the leader applies the mappings, as far as this node knows.
    pub(super) fn covers(&self, mappings: &[u64]) -> bool {
        self.known.covers(self.fence.coverage(), mappings)
    }

    /// Returns the time as of which this tier is proven when it has applied `upto` and no more.
    pub(super) fn proven(&self, upto: Lsn) -> Option<Mono> {
        self.bound.proven_of(self.fence.epoch()?.log().run(), upto)
    }

    /// Returns an entry that says "absent" if the filter proves that no row has `key`.
    pub(super) fn absent(&self, filter: FilterId, key: &Key, now: Mono) -> Option<LocalEntry> {
        let (epoch, applied) = (self.fence.epoch()?, self.fence.applied());
        let filter = &self.filters[filter.index()];
        // An insert that the leader does not map reaches no filter.
        if !self.covers(filter.mappings()) {
            return None;
        }
        let (since, scanned) = filter.absent(epoch, applied, key)?;
        let entry = Entry {
            tau: applied,
            content: Content::Absent,
            tags: Arc::default(),
            loaded_wall_ms: scanned.wall_ms,
            ttl: now.since(scanned.mono) + ABSENT_LIFETIME,
            // The key had no row at any position from there on.
            seen: since,
            definition: 0,
            changes_at: None,
            cost_us: 0,
        };
        let policy = EntryPolicy { soft_allowed: false, age_bound: false, pool: Class::Standard };
        let fast_until = now + ABSENT_LIFETIME;
        Some(LocalEntry::new(key, &entry, scanned.mono, fast_until, false, policy))
    }

    /// Applies a batch to the filters. Has to be called before its position is published.
    pub(super) fn apply_to_filters(&mut self, batch: &Batch) {
        self.filter_position = Some(FilterPosition::after(self.filter_position, batch).0);
        self.filters.iter_mut().for_each(|filter| filter.apply(batch));
    }

    /// Voids the filters, after events may have been missed.
    pub(super) fn void_filters(&mut self) {
        self.filter_position = None;
        self.filters.iter_mut().for_each(KeyFilter::void);
    }

    /// Drops tombstones that no load in flight is likely to need.
    pub(super) fn collect_tombstones(&mut self, now: Mono) {
        if self.fence.tombstones() > TOMBSTONES_MAX {
            let upto = self.fence.watermark();
            self.fence.collect(upto);
        }
        let (since, upto) = self.collect_at;
        if now.since(since) >= TOMBSTONE_LIFETIME {
            self.fence.collect(upto);
            self.collect_at = (now, self.fence.watermark());
        }
    }
}
