//! Invalidation by events of the log: which entries are removed, become soft-stale ([`coherence::soft`]) or
//! are renewed.

use std::sync::Arc;

use coherence::soft::{self, is_soft};
use coherence::{Event, Invalidation, Mono, Offer, Subject, Verdict};
use contract::Key;

use super::entry::LocalEntry;
use super::store::Store;
use super::writer::Writer;
use crate::chance::Chance;
use crate::entry::{Content, Entry};

/// Removes the entries that `event` invalidates or makes them soft-stale. A value that the event itself
/// contains replaces the entry.
pub(super) fn invalidate(
    store: &Store,
    writer: &mut Writer,
    event: &Event,
    now: Mono,
    chance: &dyn Chance,
) {
    for subject in &event.subjects {
        if let Subject::Key(key) = subject
            && renew(store, writer, event, key, now)
        {
            continue;
        }
        if !is_soft(event) {
            store.remove_named(&mut writer.index, subject, |entry| entry.tau < event.lsn);
            continue;
        }
        for key in store.keys_named(&writer.index, subject) {
            invalidate_entry(store, writer, event, &key, now, chance);
        }
    }
}

fn invalidate_entry(
    store: &Store,
    writer: &mut Writer,
    event: &Event,
    key: &Key,
    now: Mono,
    chance: &dyn Chance,
) {
    let Some(entry) = store.peek(key) else { return };
    match soft::invalidate(event, entry.invalidation_state(), |upto| writer.proven(upto)) {
        Invalidation::Unaffected => {}
        Invalidation::Merge => writer.merged += 1,
        // An expired entry answers no reader, so it is not worth keeping.
        Invalidation::SoftStale(proof) if now < entry.expires() => {
            writer.soft_stale += 1;
            let copy = entry.soft_stale(proof, chance.unit());
            store.replace(&mut writer.index, key, &entry, copy);
        }
        Invalidation::SoftStale(_) | Invalidation::Remove => {
            store.remove_if(&mut writer.index, key, |_| true)
        }
    }
}

/// Replaces an entry that the event invalidates by the value that the event contains, by the fill rule.
/// Returns whether it was replaced.
fn renew(store: &Store, writer: &mut Writer, event: &Event, key: &Key, now: Mono) -> bool {
    let (Some(renewal), Some(epoch)) = (event.renewal(key), writer.fence.epoch()) else {
        return false;
    };
    let old = |entry: &Arc<LocalEntry>| {
        entry.tau < event.lsn
            && entry.definition == renewal.definition
            && !matches!(entry.content, Content::Uncacheable)
    };
    let Some(entry) = store.peek(key).filter(old) else { return false };
    let entry = entry.renewed(Entry::renewed(event, renewal), now);
    let offer = Offer { key, tags: &renewal.tags, tau: entry.tau, epoch, stored: None };
    if writer.fence.admit(offer) != Verdict::Accept {
        return false;
    }
    store.remove_if(&mut writer.index, key, |_| true);
    store.insert(&mut writer.index, key, entry);
    writer.renewals += 1;
    true
}
