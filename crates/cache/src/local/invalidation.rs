//! Invalidation by events of the log: which entries are removed, become soft-stale ([`coherence::soft`]) or
//! are renewed.
//!
//! An event about a key is applied to its entry at once. One about a tag or a wildcard is put in force
//! ([`coherence::generation`]), and its entries are settled afterwards: a few of them before the event counts as
//! applied, the others by the [sweep](super::sweep).

use coherence::{Event, Invalidation, Offer, Raise, Subject, Verdict, generation, soft};
use contract::Key;

use super::entry::LocalEntry;
use super::store::Store;
use super::writer::Writer;
use crate::chance::Chance;
use crate::entry::Entry;

/// The tier's state, while its mutex is held.
pub(super) struct Invalidator<'a> {
    pub(super) store: &'a Store,
    pub(super) writer: &'a mut Writer,
    pub(super) chance: &'a dyn Chance,
}

impl Invalidator<'_> {
    /// Applies events. `at_once`: the number of entries that may be settled now. Returns whether there are more.
    pub(super) fn apply(&mut self, events: &[Event], at_once: usize) -> bool {
        let tags_before = self.writer.index.lagging_tags();
        let mut must_publish = false;
        for event in events {
            must_publish |= self.raise(event, at_once);
        }
        self.settle_lagging(at_once);
        // Where all entries were settled, readers need no check.
        if must_publish || self.writer.index.lagging_tags() > tags_before {
            self.store.raised.publish();
        }
        self.is_lagging()
    }

    /// Puts an event in force. Returns whether readers have to be told, since one of its tags was raised before
    /// and is still in the queue.
    fn raise(&mut self, event: &Event, at_once: usize) -> bool {
        let raise = Raise::new(event, |upto| self.writer.proven(upto));
        // Before the tags: an entry that the event renews is not old by its tags.
        for subject in &event.subjects {
            if let Subject::Key(key) = subject {
                self.invalidate_key(event, raise, key);
            }
        }
        let mut must_publish = false;
        for subject in &event.subjects {
            match subject {
                Subject::Key(_) => {}
                Subject::Tag(tag) => {
                    let raising = self.writer.index.raise(tag.as_str(), raise);
                    self.writer.merged += raising.merged as u64;
                    must_publish |= raising.again;
                    if let Some(sole) = raising.sole {
                        self.invalidate_entry(raise, sole);
                    }
                }
                wildcard if self.store.len() <= at_once => {
                    for entry in self.store.iter() {
                        if entry.is_named_by(wildcard) {
                            self.invalidate_entry(raise, entry);
                        }
                    }
                }
                wildcard => {
                    self.store.raised.raise_wildcard(wildcard.clone(), Some(raise));
                    self.request_pass();
                }
            }
        }
        must_publish
    }

    /// Evicts the entries that the subjects name. Returns whether some of them are still to be removed.
    pub(super) fn evict(&mut self, subjects: &[Subject], at_once: usize) -> bool {
        for subject in subjects {
            match subject {
                Subject::Key(key) => self.remove(key.as_bytes()),
                Subject::Tag(tag) => {
                    let evicting =
                        self.writer.index.evict(tag.as_str(), self.store.raised.stamp() + 1);
                    if let Some(sole) = evicting.sole {
                        self.remove(sole.key_bytes());
                    }
                    if evicting.has_others {
                        self.store.raised.publish();
                    }
                }
                Subject::Everything => self.drop_all(at_once),
                wildcard if self.store.len() <= at_once => {
                    for entry in self.store.iter() {
                        if entry.is_named_by(wildcard) {
                            self.remove(entry.key_bytes());
                        }
                    }
                }
                wildcard => {
                    self.store.raised.raise_wildcard(wildcard.clone(), None);
                    self.request_pass();
                }
            }
        }
        self.settle_lagging(at_once);
        self.is_lagging()
    }

    /// Drops all entries, at once if they are few.
    pub(super) fn drop_all(&mut self, at_once: usize) {
        if self.store.len() <= at_once {
            self.store.clear(&mut self.writer.index);
            return;
        }
        let discarded = self.store.drop_all(&mut self.writer.index);
        self.writer.sweep.discard(discarded);
        self.request_pass();
    }

    /// Requests a pass over the store, for the raises so far.
    fn request_pass(&mut self) {
        self.writer.sweep.request_pass(self.store.len(), self.store.raised.stamp());
    }

    /// Settles entries that lag behind an event about one of their tags, at most `limit`.
    pub(super) fn settle_lagging(&mut self, limit: usize) {
        for _ in 0..limit {
            let Some(entry) = self.writer.index.take_lagging() else { break };
            self.settle_entry(entry);
        }
    }

    /// Whether the sweep has something to do.
    pub(super) fn is_lagging(&self) -> bool {
        self.writer.index.lagging() > 0 || self.writer.sweep.is_due()
    }

    /// Gives the entry under `key` the state that the raises in force mean for it, and returns it if it is
    /// still there.
    pub(super) fn settle(&mut self, key: &Key) -> Option<LocalEntry> {
        let entry = self.store.peek(key)?;
        self.settle_stored(entry)
    }

    /// As [`settle`](Self::settle), of an entry that is in the store.
    pub(super) fn settle_stored(&mut self, entry: LocalEntry) -> Option<LocalEntry> {
        // Some raises may not be published yet.
        let is_settled = self.store.raised.is_unchanged(&entry) && self.writer.index.lagging() == 0;
        if is_settled { Some(entry) } else { self.settle_entry(entry) }
    }

    /// As [`settle_stored`](Self::settle_stored), of one that may be old.
    pub(super) fn settle_entry(&mut self, entry: LocalEntry) -> Option<LocalEntry> {
        let raised = &self.store.raised;
        if raised.is_evicted(&entry) {
            self.remove(entry.key_bytes());
            return None;
        }
        let generation = raised.generation(&entry);
        let by_wildcards = raised.wildcard_raises(&entry);
        let raises = self.writer.index.raises(entry.links()).chain(by_wildcards);
        let effect = generation::settle(entry.invalidation_state(), generation, raises);
        self.put_in_effect(effect, entry)
    }

    /// Applies an event to one entry that is in the store.
    fn invalidate_entry(&mut self, raise: Raise, entry: LocalEntry) {
        let Some(entry) = self.settle_stored(entry) else { return };
        let effect = soft::invalidate(raise, entry.invalidation_state());
        self.writer.merged += u64::from(effect == Invalidation::Merge);
        self.put_in_effect(effect, entry);
    }

    /// Returns the entry that is stored then.
    fn put_in_effect(&mut self, effect: Invalidation, entry: LocalEntry) -> Option<LocalEntry> {
        match effect {
            Invalidation::Unaffected | Invalidation::Merge => Some(entry),
            // An expired entry answers no reader, so it is not worth keeping.
            Invalidation::SoftStale(proof) if self.writer.time < entry.expires() => {
                self.writer.soft_stale += 1;
                let copy = entry.soft_stale(proof, self.chance.unit());
                let stored = copy.clone();
                self.store.replace_by_soft(&mut self.writer.index, &entry, copy);
                Some(stored)
            }
            Invalidation::SoftStale(_) | Invalidation::Remove => {
                self.remove(entry.key_bytes());
                None
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.store.remove(&mut self.writer.index, key);
    }

    fn invalidate_key(&mut self, event: &Event, raise: Raise, key: &Key) {
        if !self.renew(event, key)
            && let Some(entry) = self.store.peek(key)
        {
            self.invalidate_entry(raise, entry);
        }
    }

    /// Replaces an entry that the event invalidates by the value that the event contains, by the fill rule.
    /// Returns whether it was replaced.
    fn renew(&mut self, event: &Event, key: &Key) -> bool {
        let (Some(renewal), Some(epoch)) = (event.renewal(key), self.writer.fence.epoch()) else {
            return false;
        };
        let old = |entry: &LocalEntry| {
            entry.tau < event.lsn
                && entry.definition == renewal.definition
                && !entry.is_uncacheable()
        };
        let Some(entry) = self.settle(key).filter(old) else { return false };
        let entry = entry.renewed(key, Entry::renewed(event, renewal), self.writer.time);
        let offer = Offer { key, tags: &renewal.tags, tau: entry.tau, epoch, stored: None };
        if self.writer.fence.admit(offer) != Verdict::Accept {
            return false;
        }
        self.remove(key.as_bytes());
        self.store.insert(&mut self.writer.index, entry);
        self.writer.renewals += 1;
        true
    }
}
