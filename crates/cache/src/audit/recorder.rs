//! The flight recorder: what has lately happened to keys that the auditor may have to explain.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use coherence::{Cause, Lsn, Mono, Verdict};
use contract::Key;

use super::finding::Moment;
use super::note::{Felled, Filled, Named};
use crate::engine::Tier;

/// What is known of a key.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: Arc<str>,
    pub(super) contract: Arc<str>,
    /// Until when the shared tier may hold what this node put there or found there.
    pub(super) shared_until: Mono,
}

#[derive(Clone, Debug)]
enum What {
    Load,
    Fill { tier: Tier, from: Tier, tau: Lsn, verdict: Verdict },
    Event { lsn: Lsn, cause: Cause, felled: bool, loading: bool },
}

/// Bounded in both directions: the oldest moment and the oldest key make room.
pub(super) struct Recorder {
    capacity: usize,
    moments: VecDeque<(u64, Key, What)>,
    known: HashMap<Key, Known>,
    order: VecDeque<Key>,
}

impl Recorder {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { capacity, moments: VecDeque::new(), known: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn known(&self, key: &Key) -> Option<&Known> {
        self.known.get(key)
    }

    /// Remembers how to ask for a key.
    pub(super) fn meet(&mut self, named: &Named) -> &mut Known {
        if !self.known.contains_key(&named.key) {
            if self.order.len() == self.capacity
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(named.key.clone());
        }
        let new = || Known {
            id: Arc::clone(&named.id),
            contract: Arc::clone(&named.contract),
            shared_until: Mono(0),
        };
        self.known.entry(named.key.clone()).or_insert_with(new)
    }

    pub(super) fn load(&mut self, named: &Named, wall_ms: u64) {
        self.meet(named);
        self.push(wall_ms, named.key.clone(), What::Load);
    }

    pub(super) fn fill(&mut self, filled: &Filled, now: Mono, wall_ms: u64) {
        let known = self.meet(&filled.named);
        let in_shared = filled.tier == Tier::Shared && filled.verdict == Verdict::Accept;
        if in_shared || filled.from == Tier::Shared {
            known.shared_until = now + filled.ttl;
        }
        let Filled { tier, from, tau, verdict, .. } = *filled;
        self.push(wall_ms, filled.named.key.clone(), What::Fill { tier, from, tau, verdict });
    }

    pub(super) fn event(&mut self, event: &Felled, key: &Key, wall_ms: u64) {
        let (felled, loading) = (event.felled.contains(key), event.loading.contains(key));
        let what = What::Event { lsn: event.lsn, cause: event.cause, felled, loading };
        self.push(wall_ms, key.clone(), what);
        if let Some(known) = self.known.get_mut(key) {
            known.shared_until = Mono(0);
        }
    }

    fn push(&mut self, wall_ms: u64, key: Key, what: What) {
        if self.moments.len() == self.capacity {
            self.moments.pop_front();
        }
        self.moments.push_back((wall_ms, key, what));
    }

    /// What is remembered about a key, oldest first, at most `most` of the newest.
    pub(super) fn story(&self, key: &Key, most: usize) -> Vec<Moment> {
        let about = self.moments.iter().rev().filter(|(_, about, _)| about == key);
        let mut story: Vec<Moment> = about
            .take(most)
            .map(|(at_ms, _, what)| Moment { at_ms: *at_ms, what: what.to_string() })
            .collect();
        story.reverse();
        story
    }

    /// Where what this node stored in `tier` with this τ came from, if that is remembered.
    pub(super) fn stored(&self, key: &Key, in_tier: Tier, with: Lsn) -> Option<Tier> {
        let about = self.moments.iter().rev().filter(|(_, about, _)| about == key);
        let mut fills = about.filter_map(|(_, _, what)| match what {
            What::Fill { tier, from, tau, verdict: Verdict::Accept }
                if *tier == in_tier && *tau == with =>
            {
                Some(*from)
            }
            _ => None,
        });
        fills.next()
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("a load from the origin began"),
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
            Self::Event { lsn, cause, felled, loading } => {
                write!(
                    f,
                    "the event of the {} at {lsn} was applied to this node's tier: ",
                    cause.as_str()
                )?;
                f.write_str(match (felled, loading) {
                    (true, true) => "it removed a copy, and met a load under way",
                    (true, false) => "it removed a copy",
                    (false, true) => "it met a load under way",
                    (false, false) => "there was no older copy",
                })
            }
        }
    }
}
