//! A node: its in-process tier, composed as in `cache::local`, its samples of the log's end, and the
//! messages in flight to it.

use std::collections::{BTreeMap, VecDeque};

use coherence::generation::{is_dropped, settle};
use coherence::soft::invalidate;
use coherence::{
    Batch, Bound, EntryState, Epoch, Event, Fence, Followed, Generation, Invalidation, Log, Lsn,
    Mono, Offer, Raise, SoftStale, Subject, Verdict,
};

use crate::model::composition::{CompositionRule, Omitted};
use crate::model::database::CommitSet;
use crate::model::keys::{KeyId, key, tags};
use crate::model::scene::Design;
use crate::model::tier::Standing;

/// An entry of the in-process tier.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LocalEntry {
    /// Its τ.
    pub tau: Lsn,
    /// The key's commits that are in it. No rule reads this field.
    pub seen: CommitSet,
    /// The start of its load, if this node loaded it itself.
    pub loaded: Option<Mono>,
    /// Set if a commit has made it old: the end of its proof.
    pub soft_stale: Option<SoftStale>,
    /// The number of drops before it was stored.
    pub stamp: u64,
}

impl LocalEntry {
    /// Returns the time as of which an answer from it is proven, given the `proven` time of its tier.
    #[must_use]
    pub fn as_of(&self, proven: Option<Mono>) -> Option<Mono> {
        self.soft_stale.map_or(self.loaded.max(proven), |stale| Some(stale.as_of))
    }

    fn state(&self, lenient: bool) -> EntryState {
        let Self { tau, loaded, soft_stale, .. } = *self;
        EntryState { tau, loaded, soft_stale, lenient }
    }

    /// Returns the rest of it after an invalidation.
    fn after(&self, effect: Invalidation) -> Option<Self> {
        match effect {
            Invalidation::Unaffected | Invalidation::Merge => Some(self.clone()),
            Invalidation::SoftStale(stale) => {
                Some(Self { soft_stale: Some(stale), ..self.clone() })
            }
            Invalidation::Remove => None,
        }
    }

    /// Returns the position up to which it includes every commit, in a tier that has applied `applied`.
    #[must_use]
    pub fn reaches(&self, applied: Lsn) -> Lsn {
        self.soft_stale.map_or(applied, SoftStale::reaches)
    }
}

/// A message of the node stream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Message {
    /// A batch.
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
    /// The in-process tier's tombstones and position.
    pub fence: Fence,
    /// The in-process tier's entries.
    pub entries: BTreeMap<KeyId, LocalEntry>,
    /// Its samples of the log's end.
    pub bound: Bound,
    /// The sample in flight.
    pub sample: Option<Sample>,
    /// The messages in flight, the oldest first.
    pub stream: VecDeque<Message>,
    /// The generation of the database in which this process last led or waited for the slot, if it did.
    pub led: Option<u8>,
    /// Whether commits leave entries soft-stale instead of removing them.
    pub lenient: bool,
    /// Whether entries that a tag, a wildcard or a drop has made old are removed later, by a sweep.
    pub sweeps: bool,
    /// The events whose entries were not settled.
    pub raised: Vec<(Subject, Raise)>,
    /// The number of times that all entries were dropped and left to the sweep.
    pub drops: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            fence: Fence::default(),
            entries: BTreeMap::new(),
            bound: Bound::new(8),
            sample: None,
            stream: VecDeque::new(),
            led: None,
            lenient: false,
            sweeps: false,
            raised: Vec::new(),
            drops: 0,
        }
    }
}

impl Node {
    /// Returns the entry that a reader finds under a key (`cache::local::Local::get`).
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<LocalEntry> {
        let entry = self.entries.get(&id)?;
        if is_dropped(entry.stamp, self.drops) {
            return None;
        }
        let raised = self.raised.iter().filter(|(subject, _)| subject.concerns(key(id), tags(id)));
        let raises: Vec<Raise> = raised.map(|(_, raise)| *raise).collect();
        let generation = raises.iter().fold(Generation::default(), |all, raise| all.raised(*raise));
        entry.after(settle(entry.state(self.lenient), generation, raises))
    }

    /// Returns all entries that readers find.
    pub fn found(&self) -> impl Iterator<Item = (KeyId, LocalEntry)> {
        self.entries.keys().filter_map(|id| Some((*id, self.find(*id)?)))
    }

    /// Removes entries that no reader finds, and makes those soft-stale that readers find so.
    pub fn sweep(&mut self) -> bool {
        let before = (self.raised.len(), self.entries.len());
        self.entries = self.found().collect();
        self.raised.clear();
        before != (0, self.entries.len())
    }

    fn settle(&mut self, id: KeyId) {
        match self.find(id) {
            Some(entry) => self.entries.insert(id, entry),
            None => self.entries.remove(&id),
        };
    }

    /// Drops all entries (`cache::local::Local::clear`).
    fn drop_all(&mut self) {
        if self.sweeps {
            self.drops += 1;
            self.raised.clear();
        } else {
            self.entries.clear();
        }
    }

    /// Applies a batch (`cache::local::Local::apply`).
    pub fn apply(&mut self, batch: &Batch, in_order: bool, design: Design, omitted: Omitted) {
        match self.fence.follow(batch, in_order) {
            Followed::Applied => {
                batch.events.iter().for_each(|event| self.invalidate(event, design, omitted));
            }
            Followed::Reset(_) if omitted.enforces(CompositionRule::GapDropsEntries) => {
                self.drop_all();
            }
            Followed::Reset(_) | Followed::Gap(_) | Followed::Repeated => {}
        }
    }

    fn invalidate(&mut self, event: &Event, design: Design, omitted: Omitted) {
        let (bound, lenient) = (self.bound.clone(), self.lenient);
        let epoch = self.fence.epoch();
        let proven = |upto| epoch.and_then(|epoch| proven(&bound, epoch, upto, design));
        let raise = Raise::new(event, proven);
        for subject in &event.subjects {
            let rule = match subject {
                Subject::Key(_) => CompositionRule::LocalInvalidatesKeys,
                Subject::Tag(_) => CompositionRule::LocalInvalidatesTags,
                Subject::KeysLike(_) | Subject::TagsLike(_) => {
                    CompositionRule::LocalInvalidatesPatterns
                }
                Subject::Everything => CompositionRule::LocalInvalidatesEverything,
            };
            if !omitted.enforces(rule) {
                continue;
            }
            let is_key = matches!(subject, Subject::Key(_));
            if self.sweeps && !is_key {
                self.raised.push((subject.clone(), raise));
                continue;
            }
            let concerned =
                self.entries.keys().filter(|id| subject.concerns(key(**id), tags(**id)));
            for id in concerned.copied().collect::<Vec<_>>() {
                self.settle(id);
                let Some(entry) = self.entries.remove(&id) else { continue };
                let left = entry.after(invalidate(raise, entry.state(lenient)));
                self.entries.extend(left.map(|entry| (id, entry)));
            }
        }
    }

    /// Takes a message from the stream (`cache::Engine::receive`).
    pub fn receive(&mut self, message: Message, design: Design, omitted: Omitted) {
        match message {
            Message::Batch(batch) => self.apply(&batch, true, design, omitted),
            Message::Lost => {
                self.drop_all();
                self.fence = Fence::default();
            }
        }
    }

    /// Stores an entry by the fill rule.
    pub fn fill(&mut self, id: KeyId, entry: LocalEntry, epoch: Epoch) -> Verdict {
        self.settle(id);
        let entry = LocalEntry { stamp: self.drops, ..entry };
        let stored = self.entries.get(&id).map(|old| old.tau);
        let offer = Offer { key: key(id), tags: tags(id), tau: entry.tau, epoch, stored };
        let verdict = self.fence.admit(offer);
        if verdict == Verdict::Accept {
            self.entries.insert(id, entry);
        } else if let Some(as_of) = entry.loaded.filter(|_| self.lenient)
            && let Some(missed) = self.fence.admit_late(offer)
        {
            let younger =
                |old: &LocalEntry| old.soft_stale.is_some_and(|stale| stale.as_of >= as_of);
            if !self.entries.get(&id).is_some_and(younger) {
                self.entries.insert(
                    id,
                    LocalEntry { soft_stale: Some(SoftStale { missed, as_of }), ..entry },
                );
            }
        }
        verdict
    }

    /// Samples the end of the primary's log; the answer is in flight.
    pub fn sample_log_end(&mut self, asked: Mono, end: Lsn, log: Log) {
        self.sample = Some(Sample { asked, end, log });
    }

    /// Receives the sample in flight.
    pub fn receive_sample(&mut self, now: Mono, design: Design, omitted: Omitted) {
        let Some(Sample { asked, end, log }) = self.sample.take() else { return };
        let asked =
            if omitted.enforces(CompositionRule::ClockBeforeQuestion) { asked } else { now };
        if design.samples_name_their_log {
            self.bound.sample_of(named(log, design), asked, end);
        } else {
            self.bound.sample(asked, end);
        }
    }

    /// Receives an error in place of the sample in flight.
    pub fn fail_sample(&mut self, now: Mono, omitted: Omitted) {
        self.sample = None;
        if !omitted.enforces(CompositionRule::FailedSampleProvesNothing)
            && let Some(end) = self.bound.end()
        {
            self.bound.sample(now, end);
        }
    }

    /// Returns the time as of which the in-process tier is proven.
    #[must_use]
    pub fn proven(&self, design: Design) -> Option<Mono> {
        proven(&self.bound, self.fence.epoch()?, self.fence.applied(), design)
    }

    /// Returns the time as of which the shared tier is proven to this node
    /// (`cache::local::Local::proven_at`).
    #[must_use]
    pub fn proven_at(&self, there: Standing, design: Design, omitted: Omitted) -> Option<Mono> {
        let own = omitted.enforces(CompositionRule::TierProvesItself);
        let applied = if own { there.applied } else { self.fence.applied() };
        let same_log = omitted.enforces(CompositionRule::SamplesOfOwnLog);
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

    /// Returns whether this node's own tier outdates an answer of the shared tier: it has applied a commit
    /// that the shared tier has not, or no longer has.
    #[must_use]
    pub fn outdates(&self, id: KeyId, there: Standing) -> bool {
        self.fence.outdates(key(id), tags(id), there.epoch, there.applied)
    }
}

/// Returns the time as of which a tier of `epoch` that has applied `applied` is proven.
fn proven(bound: &Bound, epoch: Epoch, applied: Lsn, design: Design) -> Option<Mono> {
    if design.samples_name_their_log {
        bound.proven_of(named(epoch.log(), design), applied)
    } else {
        bound.proven(applied)
    }
}

/// Returns the name of the log in samples and tiers.
fn named(log: Log, design: Design) -> Log {
    if design.by_lineage { Log { server: 0, ..log } } else { log }
}
