//! Several entries in one state of the tier.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coherence::atomic::Span;
use coherence::{Epoch, Lsn, Mono, Subject};
use contract::Key;

use super::entry::LocalEntry;
use super::key_filter::FilterId;
use super::tier::Local;
use crate::survey::Survey;

/// The entries under some keys at one position.
pub(crate) struct LocalSnapshot {
    pub(crate) epoch: Option<Epoch>,
    /// Whether the database still writes the log of that epoch.
    pub(crate) current: bool,
    /// A.
    pub(crate) applied: Lsn,
    pub(crate) proven: Option<Mono>,
    /// In the order of the keys. Expiry is not checked.
    pub(crate) entries: Vec<Option<Arc<LocalEntry>>>,
}

impl LocalSnapshot {
    /// Returns the positions between which the entry is equal to the database's state. `None`: not known,
    /// since the entry may have been loaded from a database that writes another log by now.
    pub(crate) fn span(&self, entry: &LocalEntry) -> Option<Span> {
        let log = self.epoch.filter(|_| self.current)?.log();
        Some(Span { log, seen: entry.seen, upto: entry.reaches(self.applied) })
    }
}

impl Local {
    /// Looks up all keys in one state, each with its filter, if it has one.
    pub(crate) fn snapshot<'a>(
        &self,
        keys: impl IntoIterator<Item = (&'a Key, Option<FilterId>)>,
        now: Mono,
    ) -> LocalSnapshot {
        // All writes take this lock, so nothing changes meanwhile.
        let writer = self.writer.lock();
        let lookup = |(key, filter): (&Key, Option<FilterId>)| {
            let absent = || writer.absent(filter?, key, now);
            self.store.get(key).or_else(absent)
        };
        let epoch = writer.fence.epoch();
        LocalSnapshot {
            epoch,
            current: epoch.is_some_and(|epoch| writer.follows(epoch)),
            applied: writer.fence.applied(),
            proven: self.proven.load(Ordering::Acquire).checked_sub(1).map(Mono),
            entries: keys.into_iter().map(lookup).collect(),
        }
    }

    /// Counts the entries that the subjects concern. Takes no lock of this crate: entries that are inserted
    /// or removed meanwhile may be counted or not.
    pub(crate) fn survey(&self, subjects: &[Subject], now: Mono) -> Survey {
        let mut survey = Survey::default();
        for (key, entry) in self.store.iter() {
            let meant = subjects.iter().any(|subject| subject.concerns(&key, &entry.tags));
            if meant && now < entry.expires() {
                survey.count(&key);
            }
        }
        survey
    }
}
