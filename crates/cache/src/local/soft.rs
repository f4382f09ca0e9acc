//! Marked entries: what a commit has made old stays, and says how old (`coherence::soft`).
//!
//! A mark is put on a copy that takes the entry's place. The copy has to be looked at closely from
//! the beginning, so the short way ([`Local::get`] by [`Engine::peek`](crate::Engine::peek)) passes
//! it by without knowing of marks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coherence::soft::{may_mark, strike};
use coherence::{Blow, Epoch, Event, Lsn, Mark, Mono, Offer, Struck, Subject};
use contract::Key;

use super::held::Aside;
use super::index::Links;
use super::{Held, Local, Writer};
use crate::entry::Entry;
use crate::shared::Slide;

/// What a marked entry has beside the others.
#[derive(Debug)]
pub(crate) struct Soft {
    pub(crate) mark: Mark,
    /// Drawn for the entry: when in a window it is due.
    pub(crate) lot: f64,
    /// Before then nobody tries to load it again.
    again: AtomicU64,
    /// For what takes its place.
    pub(super) slide: Option<Slide>,
}

impl Soft {
    /// Takes the next try to load it again, at `now`; false: somebody has it. `next`: when it is
    /// free again, should this one come to nothing.
    pub(crate) fn take_turn(&self, now: Mono, next: Mono) -> bool {
        let free = |again| (again <= now.0).then_some(next.0);
        self.again.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }
}

impl Held {
    /// The mark, if a commit has made it old.
    #[inline]
    pub(crate) fn soft(&self) -> Option<&Soft> {
        // That field is at hand wherever a hit is looked at; the other one is not.
        if self.look_from() != Mono(0) {
            return None;
        }
        match self.aside.as_deref() {
            Some(Aside::Soft(soft)) => Some(soft),
            Some(Aside::Slides(_)) | None => None,
        }
    }

    /// Whether a commit has made it old, and it is kept within its contract's budget.
    #[must_use]
    #[inline]
    pub fn is_soft(&self) -> bool {
        self.soft().is_some()
    }

    fn marked(&self, mark: Mark, lot: f64) -> Arc<Self> {
        let soft = Soft { mark, lot, again: AtomicU64::new(0), slide: self.slide() };
        Arc::new(Self {
            look_from: 0.into(),
            loaded: self.loaded,
            links: u32::from(Links::NONE).into(),
            own: self.own,
            lenient: self.lenient,
            aged: self.aged,
            pool: self.pool,
            // What a commit has made old ends as it stood: no use prolongs it.
            entry: Entry { ttl: self.expires().since(self.loaded), ..self.entry.clone() },
            aside: Some(Box::new(Aside::Soft(soft))),
        })
    }

    fn struck(&self) -> Struck {
        Struck {
            tau: self.tau,
            loaded: self.own.then_some(self.loaded),
            mark: self.soft().map(|soft| soft.mark),
            lenient: self.lenient,
        }
    }

    /// How far it reaches in a tier that has applied `applied`.
    pub(super) fn reaches(&self, applied: Lsn) -> Lsn {
        match self.soft() {
            Some(soft) => soft.mark.reaches(),
            None => applied.max(self.tau),
        }
    }
}

impl Local {
    /// Removes or marks what an event makes old; what the event itself tells anew takes its place.
    pub(super) fn strike(&self, writer: &mut Writer, event: &Event, now: Mono) {
        for subject in &event.subjects {
            if let Subject::Key(key) = subject
                && self.renew(writer, event, key, now)
            {
                continue;
            }
            if !may_mark(event) {
                self.remove(writer, subject, |entry| entry.tau < event.lsn);
                continue;
            }
            for key in self.keys_of(writer, subject) {
                self.strike_one(writer, event, &key, now);
            }
        }
    }

    fn strike_one(&self, writer: &mut Writer, event: &Event, key: &Key, now: Mono) {
        let Some(held) = self.store.peek(key) else { return };
        let blow = match strike(event, held.struck(), |upto| writer.proven(upto)) {
            // Nobody would be given it.
            Blow::Mark(_) if now >= held.expires() => Blow::Remove,
            blow => blow,
        };
        match blow {
            Blow::Miss => {}
            Blow::Merge => writer.merged += 1,
            Blow::Mark(mark) => {
                writer.marked += 1;
                let marked = held.marked(mark, self.chance.unit());
                // The copy takes the original's place in the index too.
                marked.links.store(held.links.load(Ordering::Relaxed), Ordering::Relaxed);
                held.links.store(Links::NONE.into(), Ordering::Relaxed);
                self.put(writer, key, marked);
            }
            Blow::Remove => {
                if let Some((key, gone)) = self.store.remove(key) {
                    self.forget(writer, &key, &gone);
                }
            }
        }
    }

    /// Stores, marked, what [`fill`](Self::fill) has refused because a commit in between has made it
    /// old: it is younger than what is there, and under a storm of commits nothing better comes.
    /// Only what this process has loaded itself.
    pub(crate) fn fill_late(&self, key: &Key, held: &Held, epoch: Epoch) -> bool {
        if !held.own || !held.lenient {
            return false;
        }
        let mut writer = self.writer.lock();
        let old = self.store.peek(key);
        let stored = old.as_ref().map(|old| old.tau);
        let offer = Offer { key, tags: &held.tags, tau: held.tau, epoch, stored };
        let Some(missed) = writer.fence.admit_late(offer) else { return false };
        let mark = Mark { missed, as_of: held.loaded };
        let older =
            old.as_ref().and_then(|old| old.soft()).is_some_and(|old| mark.as_of <= old.mark.as_of);
        if older {
            return false;
        }
        self.place(&mut writer, key, held.marked(mark, self.chance.unit()));
        true
    }

    pub(super) fn keys_of(&self, writer: &Writer, subject: &Subject) -> Vec<Key> {
        match subject {
            Subject::Key(key) => vec![key.clone()],
            Subject::Tag(tag) => writer.index.keys(tag),
            Subject::KeysLike(pattern) => {
                let like = |key: &Key| pattern.matches(key.as_str());
                self.store.iter().map(|(key, _)| key).filter(like).collect()
            }
            Subject::TagsLike(pattern) => {
                let like = writer.index.all().filter(|tag| pattern.matches(tag.as_str()));
                let mut keys: Vec<Key> = like.flat_map(|tag| writer.index.keys(tag)).collect();
                keys.sort_unstable();
                keys.dedup();
                keys
            }
            Subject::Everything => self.store.iter().map(|(key, _)| key).collect(),
        }
    }
}

impl Writer {
    /// Whether the database still writes the log of that history, as far as this node has heard.
    pub(super) fn follows(&self, epoch: Epoch) -> bool {
        self.bound.is_of(epoch.log().lineage())
    }

    /// The time as of which this tier, had it applied `upto` and no more, is proven.
    pub(super) fn proven(&self, upto: Lsn) -> Option<Mono> {
        self.bound.proven_of(self.fence.epoch()?.log().lineage(), upto)
    }
}
