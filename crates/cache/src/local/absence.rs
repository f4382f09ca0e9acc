//! Answers about absent keys without entries, from the key filters. The filters are behind the tier's mutex,
//! so that a filter and the position that it is asked for belong together.

use std::sync::Arc;

use coherence::key_filter::ScanId;
use coherence::{CausalToken, Lsn, Mono, Reached};
use contract::{Key, KeyTemplate};

use super::bloom::Bloom;
use super::entry::LocalEntry;
use super::key_filter::{FilterHealth, FilterId, FilterStatus, KeyFilter, ScanStep};
use super::tier::Local;

impl Local {
    /// Adds a filter that knows no keys yet, for keys of the form `template` that come from the mappings.
    pub(crate) fn add_filter(
        &self,
        name: &Arc<str>,
        template: &KeyTemplate,
        mappings: &[u64],
    ) -> FilterId {
        let mut writer = self.writer.lock();
        let position = writer.filter_position;
        let (name, mappings) = (Arc::clone(name), Arc::from(mappings));
        writer.filters.push(KeyFilter::new(name, template.clone(), mappings, position));
        FilterId::new(writer.filters.len() - 1)
    }

    /// Returns an entry that says "absent" if the filter proves that `key` has no row at the position that
    /// this tier has applied, with the time as of which that is proven. With a token: only if the tier has
    /// reached it.
    pub(crate) fn absent(
        &self,
        filter: FilterId,
        key: &Key,
        token: Option<CausalToken>,
        now: Mono,
    ) -> Option<(LocalEntry, Option<Mono>)> {
        let writer = self.writer.lock();
        let (epoch, applied) = (writer.fence.epoch(), writer.fence.applied());
        let reached = token.is_none_or(|token| token.reached(epoch, applied) == Reached::Yes);
        let entry = writer.absent(filter, key, now).filter(|_| reached)?;
        Some((entry, writer.proven(applied)))
    }

    /// Begins a scan. The previous one goes on answering until this one is finished. `None`: this tier has
    /// no epoch yet.
    pub(crate) fn begin_scan(
        &self,
        filter: FilterId,
        keys: impl FnOnce() -> Bloom,
    ) -> Option<ScanId> {
        self.writer.lock().filters[filter.index()].begin_scan(keys)
    }

    /// Whether the keys may be read for the scan that was begun.
    pub(crate) fn may_scan(&self, filter: FilterId) -> bool {
        let writer = self.writer.lock();
        let watermark = writer.fence.watermark();
        let epoch = writer.fence.epoch();
        epoch.is_some_and(|epoch| writer.filters[filter.index()].may_scan(epoch, watermark))
    }

    /// Adds keys that were read.
    pub(crate) fn add_scanned(&self, filter: FilterId, scan: ScanId, keys: &[Key]) -> ScanStep {
        self.writer.lock().filters[filter.index()].add_scanned(scan, keys)
    }

    /// Ends a scan: all keys were read, and no commit after `seen` was visible. Returns `false` if the scan
    /// is void.
    pub(crate) fn finish_scan(&self, filter: FilterId, scan: ScanId, seen: Lsn) -> bool {
        self.writer.lock().filters[filter.index()].finish_scan(scan, seen)
    }

    /// Whether the scan is under way: its keys are being read, or wait for the tier to reach their position.
    pub(crate) fn is_scanning(&self, filter: FilterId, scan: ScanId) -> bool {
        self.writer.lock().filters[filter.index()].is_scanning(scan)
    }

    /// Abandons the scan that is under way.
    pub(crate) fn abandon_scan(&self, filter: FilterId) {
        self.writer.lock().filters[filter.index()].abandon_scan();
    }

    /// Forgets all keys of a filter.
    pub(crate) fn reset_filter(&self, filter: FilterId) {
        let mut writer = self.writer.lock();
        let position = writer.filter_position;
        writer.filters[filter.index()].reset(position);
    }

    /// Whether a filter is worth its memory.
    pub(crate) fn filter_health(&self, filter: FilterId) -> FilterHealth {
        self.writer.lock().filters[filter.index()].health()
    }

    /// Returns the status of each filter.
    pub(crate) fn filter_status(&self) -> Vec<FilterStatus> {
        self.writer.lock().filters.iter().map(KeyFilter::status).collect()
    }
}
