//! Questions about several entries.

use std::sync::atomic::Ordering;

use coherence::atomic::Span;
use coherence::{Epoch, Event, Lsn, Mono, Subject};
use contract::Key;

use super::entry::LocalEntry;
use super::key_filter::FilterId;
use super::tier::Local;
use super::writer::Writer;
use crate::survey::Survey;

/// The entries of one subject that are looked at to find those that an event will invalidate.
const MAX_VISITS: usize = 4_096;

/// The entries under some keys at one position.
pub(crate) struct LocalSnapshot {
    pub(crate) epoch: Option<Epoch>,
    /// Whether the database still writes the log of that epoch.
    pub(crate) current: bool,
    /// A.
    pub(crate) applied: Lsn,
    pub(crate) proven: Option<Mono>,
    /// In the order of the keys. Expiry is not checked.
    pub(crate) entries: Vec<Option<LocalEntry>>,
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
        let mut writer = self.writer.lock();
        let lookup = |writer: &mut Writer, (key, filter): (&Key, Option<FilterId>)| {
            let entry = self.invalidator(writer).settle(key).and_then(|_| self.store.get(key));
            entry.or_else(|| writer.absent(filter?, key, now))
        };
        let entries = keys.into_iter().map(|key| lookup(&mut writer, key)).collect();
        let epoch = writer.fence.epoch();
        LocalSnapshot {
            epoch,
            current: epoch.is_some_and(|epoch| writer.follows(epoch)),
            applied: writer.fence.applied(),
            proven: self.proven.load(Ordering::Acquire).checked_sub(1).map(Mono),
            entries,
        }
    }

    /// Counts the entries that the subjects concern. Takes no lock of this crate: entries that are inserted
    /// or removed meanwhile may be counted or not.
    pub(crate) fn survey(&self, subjects: &[Subject], now: Mono) -> Survey {
        let mut survey = Survey::default();
        for entry in self.store.iter() {
            let meant = subjects.iter().any(|subject| entry.is_named_by(subject));
            if meant && now < entry.expires() && self.store.raised.is_current(&entry) {
                survey.count(&entry.key());
            }
        }
        survey
    }

    /// Returns keys, at most `limit`, of entries that `event` will invalidate. Of a subject with many entries a
    /// part is looked at.
    pub(crate) fn keys_invalidated_by(&self, event: &Event, limit: usize) -> Vec<Key> {
        let mut found = Vec::new();
        for subject in &event.subjects {
            let left = limit - found.len();
            // A soft-stale entry was invalidated by an earlier event.
            let is_old = |entry: &LocalEntry| {
                entry.tau < event.lsn && !entry.is_soft() && self.store.raised.is_current(entry)
            };
            match subject {
                Subject::Key(key) => {
                    let is_old = self.store.peek(key).is_some_and(|entry| is_old(&entry));
                    found.extend(is_old.then(|| key.clone()));
                }
                Subject::Tag(tag) => {
                    let writer = self.writer.lock();
                    let entries = writer.index.standing(tag.as_str()).take(MAX_VISITS);
                    let old = entries.filter(|entry| is_old(entry)).take(left);
                    found.extend(old.map(LocalEntry::key));
                }
                subject => {
                    let entries = self.store.iter().take(MAX_VISITS);
                    let old = entries.filter(|entry| entry.is_named_by(subject) && is_old(entry));
                    found.extend(old.take(left).map(|entry| entry.key()));
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        found
    }
}
