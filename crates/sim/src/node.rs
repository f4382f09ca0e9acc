//! A node: its in-process tier, composed as `cache::local` composes it, its samples of the log's
//! end, and the messages on their way to it.

use std::collections::{BTreeMap, VecDeque};

use coherence::soft::strike;
use coherence::{
    Batch, Blow, Bound, Epoch, Event, Fence, Followed, Log, Lsn, Mark, Mono, Offer, Struck,
    Subject, Verdict,
};

use crate::database::Seen;
use crate::habit::{Habit, Without};
use crate::names::{KeyId, key, tags};
use crate::scene::Design;
use crate::tier::Standing;

/// An entry in its place.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Held {
    /// τ.
    pub tau: Lsn,
    /// Of the key's commits, those that are really in it. No rule looks at this.
    pub seen: Seen,
    /// When its load began, if this node loaded it itself.
    pub loaded: Option<Mono>,
    /// A commit has made it old; its proof ends there.
    pub mark: Option<Mark>,
}

impl Held {
    /// As of when an answer from it is shown, given what its tier has `proven`.
    #[must_use]
    pub fn as_of(&self, proven: Option<Mono>) -> Option<Mono> {
        self.mark.map_or(self.loaded.max(proven), |mark| Some(mark.as_of))
    }

    /// How far it reaches in a tier that has applied `applied`.
    #[must_use]
    pub fn reaches(&self, applied: Lsn) -> Lsn {
        self.mark.map_or(applied, Mark::reaches)
    }
}

/// What travels on the node stream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Message {
    /// A piece of the log.
    Batch(Batch),
    /// Messages may be missing.
    Lost,
}

/// A sample on its way back from the primary.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Sample {
    asked: Mono,
    end: Lsn,
    log: Log,
}

/// A node.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Node {
    /// The in-process tier's marks and position.
    pub fence: Fence,
    /// What it holds.
    pub held: BTreeMap<KeyId, Held>,
    /// The log's ends that it sampled.
    pub bound: Bound,
    /// A sample under way.
    pub sample: Option<Sample>,
    /// Messages under way, the oldest first.
    pub stream: VecDeque<Message>,
    /// The database's life in which this process last led (or waited to), if it has.
    pub led: Option<u8>,
    /// Commits mark entries instead of removing them.
    pub lenient: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            fence: Fence::default(),
            held: BTreeMap::new(),
            bound: Bound::new(8),
            sample: None,
            stream: VecDeque::new(),
            led: None,
            lenient: false,
        }
    }
}

impl Node {
    /// Applies a piece of the log (`cache::local::Local::apply`).
    pub fn apply(&mut self, batch: &Batch, in_order: bool, design: Design, without: Without) {
        match self.fence.follow(batch, in_order) {
            Followed::Whole => {
                batch.events.iter().for_each(|event| self.fell(event, design, without));
            }
            Followed::Restarted(_) if without.has(Habit::RestartDropsEntries) => self.held.clear(),
            Followed::Restarted(_) | Followed::Missed(_) => {}
        }
    }

    fn fell(&mut self, event: &Event, design: Design, without: Without) {
        let (bound, lenient) = (self.bound.clone(), self.lenient);
        let epoch = self.fence.epoch();
        let proven = |upto| epoch.and_then(|epoch| proven(&bound, epoch, upto, design));
        for subject in &event.subjects {
            let habit = match subject {
                Subject::Key(_) => Habit::LocalFellsKeys,
                Subject::Tag(_) => Habit::LocalFellsTags,
                Subject::KeysLike(_) | Subject::TagsLike(_) => Habit::LocalFellsPatterns,
                Subject::Everything => Habit::LocalFellsEverything,
            };
            if !without.has(habit) {
                continue;
            }
            self.held.retain(|id, held| {
                let hit = subject.concerns(key(*id), tags(*id));
                if !hit {
                    return true;
                }
                let Held { tau, loaded, mark, .. } = *held;
                match strike(event, Struck { tau, loaded, mark, lenient }, proven) {
                    Blow::Miss | Blow::Merge => true,
                    Blow::Mark(mark) => {
                        held.mark = Some(mark);
                        true
                    }
                    Blow::Remove => false,
                }
            });
        }
    }

    /// Takes a message from the stream (`cache::Engine::receive`).
    pub fn receive(&mut self, message: Message, design: Design, without: Without) {
        match message {
            Message::Batch(batch) => self.apply(&batch, true, design, without),
            Message::Lost => {
                self.held.clear();
                self.fence = Fence::default();
            }
        }
    }

    /// Stores by the fill rule.
    pub fn fill(&mut self, id: KeyId, held: Held, epoch: Epoch) -> Verdict {
        let stored = self.held.get(&id).map(|old| old.tau);
        let offer = Offer { key: key(id), tags: tags(id), tau: held.tau, epoch, stored };
        let verdict = self.fence.admit(offer);
        if verdict == Verdict::Accept {
            self.held.insert(id, held);
        } else if let Some(as_of) = held.loaded.filter(|_| self.lenient)
            && let Some(missed) = self.fence.admit_late(offer)
        {
            let younger = |old: &Held| old.mark.is_some_and(|mark| mark.as_of >= as_of);
            if !self.held.get(&id).is_some_and(younger) {
                self.held.insert(id, Held { mark: Some(Mark { missed, as_of }), ..held });
            }
        }
        verdict
    }

    /// The primary was asked just now, and said where its log ends.
    pub fn ask(&mut self, asked: Mono, end: Lsn, log: Log) {
        self.sample = Some(Sample { asked, end, log });
    }

    /// The answer arrives.
    pub fn answered(&mut self, now: Mono, design: Design, without: Without) {
        let Some(Sample { asked, end, log }) = self.sample.take() else { return };
        let asked = if without.has(Habit::AskedBeforeAnswer) { asked } else { now };
        if design.samples_name_their_log {
            self.bound.sample_of(named(log, design), asked, end);
        } else {
            self.bound.sample(asked, end);
        }
    }

    /// As of when the in-process tier is proven.
    #[must_use]
    pub fn proven(&self, design: Design) -> Option<Mono> {
        proven(&self.bound, self.fence.epoch()?, self.fence.applied(), design)
    }

    /// As of when the shared tier is proven to this node (`cache::local::Local::proven_at`).
    #[must_use]
    pub fn proven_at(&self, there: Standing, design: Design, without: Without) -> Option<Mono> {
        let own = without.has(Habit::TierVouchesForItself);
        let applied = if own { there.applied } else { self.fence.applied() };
        let same_log = without.has(Habit::SamplesOfOwnLog);
        if design.samples_name_their_log {
            return if same_log {
                self.bound.proven_of(named(there.epoch.log(), design), applied)
            } else {
                self.bound.proven(applied)
            };
        }
        let own = self.fence.epoch()?;
        let same = !same_log || own.log() == there.epoch.log();
        same.then(|| self.bound.proven(applied)).flatten()
    }

    /// Whether this node's own tier knows better than an answer of the shared tier: it has applied
    /// something that the shared tier has not (any more).
    #[must_use]
    pub fn knows_better(&self, id: KeyId, there: Standing) -> bool {
        self.fence.outdates(key(id), tags(id), there.epoch, there.applied)
    }
}

/// As of when a tier of that history which has applied `applied` is proven.
fn proven(bound: &Bound, epoch: Epoch, applied: Lsn, design: Design) -> Option<Mono> {
    if design.samples_name_their_log {
        bound.proven_of(named(epoch.log(), design), applied)
    } else {
        bound.proven(applied)
    }
}

/// What samples and tiers call their log.
fn named(log: Log, design: Design) -> Log {
    if design.by_lineage { Log { server: 0, ..log } } else { log }
}
