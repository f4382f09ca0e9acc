//! Filters of the keys that exist ([`coherence::key_filter`]), one for each contract that asks for one.

use std::sync::Arc;

use coherence::key_filter::{FilterPosition, ScanId};
use coherence::{Batch, Cause, Epoch, Event, Lsn, Subject};
use contract::{Key, KeyTemplate};

use super::bloom::{Bloom, ClockReading};

/// Deletions of fewer rows than this do not degrade a filter.
const MIN_DELETED_KEYS: u64 = 1_000;

/// Identifies a filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FilterId(usize);

impl FilterId {
    pub(super) fn new(index: usize) -> Self {
        Self(index)
    }

    /// Returns its index in [`filter_status`](super::Local::filter_status).
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// The status of a filter.
#[derive(Clone, Debug)]
pub struct FilterStatus {
    /// The contract's name.
    pub name: Arc<str>,
    /// Its state.
    pub state: FilterState,
    /// The keys of the scan that answers, or else of the scan that is under way.
    pub keys: u64,
    /// The memory that it takes, in bytes.
    pub bytes: u64,
}

/// The state of a filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FilterState {
    /// It knows no keys, so all ids are looked up and loaded as usual.
    Void,
    /// The keys are being scanned. It gives no answers yet.
    Scanning,
    /// It gives answers.
    Ready,
}

impl FilterState {
    /// Returns the name used in the admin API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Void => "void",
            Self::Scanning => "reading",
            Self::Ready => "standing",
        }
    }
}

/// Whether a filter is worth its memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FilterHealth {
    /// It gives no answers.
    Missing,
    /// It has more keys than it has room for, or too many keys of deleted rows.
    Degraded,
    /// It is worth its memory.
    Healthy,
}

/// The result of adding scanned keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ScanStep {
    /// The keys were added.
    Added,
    /// The keys were added, and there is no room for more.
    Full,
    /// The scan is void.
    Void,
}

/// The filter of one contract.
pub(super) struct KeyFilter {
    name: Arc<str>,
    template: KeyTemplate,
    /// The mappings that its keys come from.
    mappings: Arc<[u64]>,
    filter: coherence::KeyFilter<Bloom>,
    /// Keys named by commits that deleted rows, since the scan that answers was begun.
    deleted: u64,
}

impl KeyFilter {
    /// Creates a filter that knows no keys of the form `template`.
    pub(super) fn new(
        name: Arc<str>,
        template: KeyTemplate,
        mappings: Arc<[u64]>,
        position: Option<FilterPosition>,
    ) -> Self {
        Self { name, template, mappings, filter: coherence::KeyFilter::at(position), deleted: 0 }
    }

    /// Returns the mappings that its keys come from.
    pub(super) fn mappings(&self) -> &[u64] {
        &self.mappings
    }

    /// Forgets all keys.
    pub(super) fn reset(&mut self, position: Option<FilterPosition>) {
        self.filter = coherence::KeyFilter::at(position);
    }

    /// Voids all keys, after events may have been missed.
    pub(super) fn void(&mut self) {
        self.filter.clear();
    }

    /// Returns the position since which `key` certainly has no row, and the time of the scan.
    pub(super) fn absent(
        &self,
        epoch: Epoch,
        applied: Lsn,
        key: &Key,
    ) -> Option<(Lsn, ClockReading)> {
        let since = self.filter.absent(epoch, applied, key)?;
        Some((since, self.filter.current()?.scanned))
    }

    /// Applies a batch of the log.
    pub(super) fn apply(&mut self, batch: &Batch) {
        let Self { template, filter, deleted, .. } = self;
        filter.follow(batch, |key| template.matches(key));
        let deletes = batch.events.iter().filter(|event| event.cause == Cause::Delete);
        let own_keys = |event: &Event| {
            let keys = event.subjects.iter();
            keys.filter(|subject| matches!(subject, Subject::Key(key) if template.matches(key)))
                .count()
        };
        *deleted += deletes.map(own_keys).sum::<usize>() as u64;
    }

    /// Begins a scan. `None`: the tier has no epoch yet.
    pub(super) fn begin_scan(&mut self, keys: impl FnOnce() -> Bloom) -> Option<ScanId> {
        self.filter.begin_scan(keys)
    }

    /// Whether the keys may be read for the scan that was begun.
    pub(super) fn may_scan(&self, epoch: Epoch, watermark: Lsn) -> bool {
        self.filter.may_scan(epoch, watermark)
    }

    /// Adds keys that were read.
    pub(super) fn add_scanned(&mut self, scan: ScanId, keys: &[Key]) -> ScanStep {
        if !self.filter.add_scanned(scan, keys) {
            return ScanStep::Void;
        }
        match self.filter.next() {
            Some(keys) if keys.is_full() => ScanStep::Full,
            _ => ScanStep::Added,
        }
    }

    /// Ends a scan: all keys were read, and no commit after `seen` was visible. Returns `false` if the scan
    /// is void.
    pub(super) fn finish_scan(&mut self, scan: ScanId, seen: Lsn) -> bool {
        self.deleted = 0;
        self.filter.finish_scan(scan, seen)
    }

    /// Whether the scan is under way: its keys are being read, or wait for the tier to reach their position.
    pub(super) fn is_scanning(&self, scan: ScanId) -> bool {
        self.filter.is_scanning(scan)
    }

    /// Abandons the scan that is under way.
    pub(super) fn abandon_scan(&mut self) {
        self.filter.cancel_scan();
    }

    pub(super) fn health(&self) -> FilterHealth {
        match self.filter.current() {
            None => FilterHealth::Missing,
            Some(keys) if keys.is_full() => FilterHealth::Degraded,
            Some(keys) if self.deleted > MIN_DELETED_KEYS.max(keys.keys() / 4) => {
                FilterHealth::Degraded
            }
            Some(_) => FilterHealth::Healthy,
        }
    }

    pub(super) fn status(&self) -> FilterStatus {
        let (ready, next) = (self.filter.current(), self.filter.next());
        let state = match (ready, next) {
            (Some(_), _) => FilterState::Ready,
            (None, Some(_)) => FilterState::Scanning,
            (None, None) => FilterState::Void,
        };
        FilterStatus {
            name: Arc::clone(&self.name),
            state,
            keys: ready.or(next).map_or(0, Bloom::keys),
            bytes: ready.into_iter().chain(next).map(Bloom::bytes).sum(),
        }
    }
}
