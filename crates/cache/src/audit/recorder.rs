//! The flight recorder: the last loads, fills and events of each key, for the timelines of findings.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use coherence::{Cause, Lsn, Mono, Verdict};
use contract::Key;

use super::finding::TimelineEntry;
use crate::engine::Tier;
use crate::engine::observer::{FillRecord, InvalidationRecord, LoadTarget};

/// A key that has been loaded, filled or read.
#[derive(Clone, Debug)]
pub(super) struct RecordedKey {
    pub(super) id: Arc<str>,
    pub(super) contract: Arc<str>,
    /// The end of the life of the entry that this node stored or found in the shared tier.
    pub(super) shared_until: Mono,
}

#[derive(Clone, Debug)]
enum RecordedEvent {
    Load,
    Fill { tier: Tier, from: Tier, tau: Lsn, verdict: Verdict },
    Event { lsn: Lsn, cause: Cause, invalidated: bool, loading: bool },
}

/// Bounded in events and in keys: the oldest are dropped.
pub(super) struct Recorder {
    capacity: usize,
    events: VecDeque<(u64, Key, RecordedEvent)>,
    keys: HashMap<Key, RecordedKey>,
    order: VecDeque<Key>,
    /// The index in `order` of the key whose turn it is.
    turn: usize,
}

impl Recorder {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let (events, keys, order) = (VecDeque::new(), HashMap::new(), VecDeque::new());
        Self { capacity, events, keys, order, turn: 0 }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&RecordedKey> {
        self.keys.get(key)
    }

    /// Records a key with the arguments that load it.
    pub(super) fn remember(&mut self, target: &LoadTarget) -> &mut RecordedKey {
        if !self.keys.contains_key(&target.key) {
            if self.order.len() == self.capacity
                && let Some(oldest) = self.order.pop_front()
            {
                self.keys.remove(&oldest);
                self.turn = self.turn.saturating_sub(1);
            }
            self.order.push_back(target.key.clone());
        }
        let new = || RecordedKey {
            id: Arc::clone(&target.id),
            contract: Arc::clone(&target.contract),
            shared_until: Mono(0),
        };
        self.keys.entry(target.key.clone()).or_insert_with(new)
    }

    /// Returns the next key, in turn.
    pub(super) fn next_target(&mut self) -> Option<LoadTarget> {
        if self.turn >= self.order.len() {
            self.turn = 0;
        }
        let key = self.order.get(self.turn)?;
        self.turn += 1;
        let RecordedKey { id, contract, .. } = self.keys.get(key)?;
        let (id, contract) = (Arc::clone(id), Arc::clone(contract));
        Some(LoadTarget { key: key.clone(), id, contract })
    }

    pub(super) fn load(&mut self, target: &LoadTarget, wall_ms: u64) {
        self.remember(target);
        self.push(wall_ms, target.key.clone(), RecordedEvent::Load);
    }

    pub(super) fn fill(&mut self, filled: &FillRecord, now: Mono, wall_ms: u64) {
        let known = self.remember(&filled.target);
        let in_shared = filled.tier == Tier::Shared && filled.verdict == Verdict::Accept;
        if in_shared || filled.from == Tier::Shared {
            known.shared_until = now + filled.ttl;
        }
        let FillRecord { tier, from, tau, verdict, .. } = *filled;
        self.push(
            wall_ms,
            filled.target.key.clone(),
            RecordedEvent::Fill { tier, from, tau, verdict },
        );
    }

    pub(super) fn event(&mut self, event: &InvalidationRecord, key: &Key, wall_ms: u64) {
        let (invalidated, loading) = (event.invalidated.contains(key), event.loading.contains(key));
        let recorded =
            RecordedEvent::Event { lsn: event.lsn, cause: event.cause, invalidated, loading };
        self.push(wall_ms, key.clone(), recorded);
        if let Some(known) = self.keys.get_mut(key) {
            known.shared_until = Mono(0);
        }
    }

    fn push(&mut self, wall_ms: u64, key: Key, event: RecordedEvent) {
        if self.events.len() == self.capacity {
            self.events.pop_front();
        }
        self.events.push_back((wall_ms, key, event));
    }

    /// Returns the last events of a key, at most `max`, oldest first.
    pub(super) fn timeline(&self, key: &Key, max: usize) -> Vec<TimelineEntry> {
        let about = self.events.iter().rev().filter(|(_, about, _)| about == key);
        let mut timeline: Vec<TimelineEntry> = about
            .take(max)
            .map(|(at_ms, _, event)| TimelineEntry { at_ms: *at_ms, text: event.to_string() })
            .collect();
        timeline.reverse();
        timeline
    }

    /// Returns the source of the entry that this node stored in `in_tier` with this τ, if it is recorded.
    pub(super) fn source_of(&self, key: &Key, in_tier: Tier, with: Lsn) -> Option<Tier> {
        let about = self.events.iter().rev().filter(|(_, about, _)| about == key);
        let mut fills = about.filter_map(|(_, _, event)| match event {
            RecordedEvent::Fill { tier, from, tau, verdict: Verdict::Accept }
                if *tier == in_tier && *tau == with =>
            {
                Some(*from)
            }
            _ => None,
        });
        fills.next()
    }
}

impl fmt::Display for RecordedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("a load from the origin started"),
            Self::Fill { tier, from, tau, verdict } => {
                let (tier, from) = (tier.as_str(), from.as_str());
                write!(
                    f,
                    "a value from the {from} with τ = {tau} was offered to the {tier} tier: "
                )?;
                match verdict {
                    Verdict::Accept => f.write_str("accepted"),
                    Verdict::Refuse(refusal) => write!(f, "refused ({})", refusal.as_str()),
                }
            }
            Self::Event { lsn, cause, invalidated, loading } => {
                write!(
                    f,
                    "the event of the {} at {lsn} was applied to this node's tier: ",
                    cause.as_str()
                )?;
                f.write_str(match (invalidated, loading) {
                    (true, true) => "it removed a copy, and met a load under way",
                    (true, false) => "it removed a copy",
                    (false, true) => "it met a load under way",
                    (false, false) => "there was no older copy",
                })
            }
        }
    }
}
