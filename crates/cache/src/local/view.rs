//! Several entries in one state of the tier.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coherence::atomic::Span;
use coherence::{Epoch, Lsn, Mono, Subject};
use contract::Key;

use super::{FilterId, Held, Local};
use crate::survey::Survey;

/// What was held under some keys at one position.
pub(crate) struct View {
    pub(crate) epoch: Option<Epoch>,
    /// Whether the database still writes the log of that history.
    pub(crate) current: bool,
    /// A.
    pub(crate) applied: Lsn,
    pub(crate) proven: Option<Mono>,
    /// In the order of the keys. Says nothing about expiry.
    pub(crate) held: Vec<Option<Arc<Held>>>,
}

impl View {
    /// Between which positions what is held is what the database held. `None`: nobody knows, since it may
    /// have been loaded from a database that writes another log by now.
    pub(crate) fn span(&self, held: &Held) -> Option<Span> {
        let log = self.epoch.filter(|_| self.current)?.log();
        Some(Span { log, seen: held.seen, upto: held.reaches(self.applied) })
    }
}

impl Local {
    /// Looks at all of them at once, each with its filter, if there is one.
    pub(crate) fn together<'a>(
        &self,
        keys: impl IntoIterator<Item = (&'a Key, Option<FilterId>)>,
        now: Mono,
    ) -> View {
        // All writing goes through this lock, so nothing moves meanwhile.
        let writer = self.writer.lock();
        let look = |(key, filter): (&Key, Option<FilterId>)| {
            let absent = || writer.absent(filter?, key, now);
            self.store.get(key).or_else(absent)
        };
        let epoch = writer.fence.epoch();
        View {
            epoch,
            current: epoch.is_some_and(|epoch| writer.follows(epoch)),
            applied: writer.fence.applied(),
            proven: self.proven.load(Ordering::Acquire).checked_sub(1).map(Mono),
            held: keys.into_iter().map(look).collect(),
        }
    }

    /// Counts the entries that the subjects concern. Takes no lock of ours: what comes or goes
    /// meanwhile may be in it or not.
    pub(crate) fn survey(&self, subjects: &[Subject], now: Mono) -> Survey {
        let mut survey = Survey::default();
        for (key, held) in self.store.iter() {
            let meant = subjects.iter().any(|subject| subject.concerns(&key, &held.tags));
            if meant && now < held.expires() {
                survey.count(&key);
            }
        }
        survey
    }
}
