//! A model of [`coherence::KeyFilter`], small enough to explore every sequence of steps: a log whose commits
//! become visible later than they are written, a tier that follows it, and a scan of a table's keys, one
//! key per page.

use std::collections::BTreeSet;

use coherence::key_filter::ScanId;
use coherence::{
    Batch, Cause, CoverageDigest, Epoch, Event, Fence, KeyFilter, KeySet, Lsn, Rule, Subject, rules,
};
use contract::Key;
use stateright::{Model, Property};

use crate::model::keys::{KeyId, key};

/// The invariant: a key that is reported as absent has no row.
pub const ABSENT: &str =
    "a key that is reported as absent has no row at any of the reported positions";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "some key is known to be absent while another is not";

const KEYS: [KeyId; 2] = [0, 1];

/// The changes of a commit, and the form of its event.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Commit {
    /// Inserts a row.
    Insert(KeyId),
    /// Deletes a row.
    Delete(KeyId),
    /// Inserts rows of both keys; its event arrives in two pieces, key 0 first.
    Large,
    /// Inserts a row of key 1; its event is about everything.
    Bulk,
}

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct FilterScene {
    /// The commits, in the order in which they are written.
    pub script: Vec<Commit>,
    /// How often the keys may be scanned.
    pub scans: u8,
    /// How often a batch may be lost silently.
    pub losses: u8,
    /// How often the database may crash and lose its last commit.
    pub crashes: u8,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// A set without false positives.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct ExactSet(BTreeSet<Key>);

impl KeySet for ExactSet {
    fn insert(&mut self, key: &Key) {
        self.0.insert(key.clone());
    }

    fn may_contain(&self, key: &Key) -> bool {
        self.0.contains(key)
    }
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// The log: the commit at position n is the nth.
    log: Vec<Commit>,
    /// Whether snapshots show each of them.
    shown: Vec<bool>,
    /// How many commits of the script were written, including those lost since.
    written: usize,
    /// How many commits of the log were sent to the tier.
    sent: usize,
    /// Whether the first piece of the next commit was sent too.
    part: bool,
    epochs: u64,
    fence: Fence,
    filter: KeyFilter<ExactSet>,
    scan: Option<(ScanId, BTreeSet<KeyId>, Lsn)>,
    scans: u8,
    losses: u8,
    crashes: u8,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The next commit is written to the log.
    Write,
    /// The commit at this index becomes visible.
    Show(usize),
    /// The next piece of the log reaches the tier.
    Deliver,
    /// The next piece of the log is lost silently.
    Lose,
    /// The last commit is lost, and the epoch is reset.
    Crash,
    /// A scan of all keys begins.
    Begin,
    /// The page with this key is read.
    Page(KeyId),
    /// The scan ends, after all pages.
    End,
}

impl World {
    fn epoch(&self) -> Epoch {
        Epoch { incarnation: self.epochs, ..Epoch::default() }
    }

    /// Returns the position up to which every commit is visible and was sent to the tier.
    fn watermark(&self) -> Lsn {
        let prefix = self.shown.iter().take_while(|shown| **shown).count();
        Lsn(prefix as u64).min(self.fence.applied())
    }

    /// Returns whether the row exists after the commits that count.
    fn row(&self, id: KeyId, counts: impl Fn(usize) -> bool) -> bool {
        let counted = self.log.iter().enumerate().filter(|(at, _)| counts(*at));
        counted.fold(false, |row, (_, commit)| match commit {
            Commit::Insert(key) if *key == id => true,
            Commit::Delete(key) if *key == id => false,
            Commit::Large => true,
            Commit::Bulk => row || id == 1,
            Commit::Insert(_) | Commit::Delete(_) => row,
        })
    }

    /// Takes the next piece of the log.
    fn piece(&mut self) -> Batch {
        let prev = Lsn(self.sent as u64);
        let lsn = Lsn(prev.0 + 1);
        let named = |id: KeyId| Subject::Key(key(id).clone());
        let (subject, whole) = match self.log[self.sent] {
            Commit::Insert(id) | Commit::Delete(id) => (named(id), true),
            Commit::Bulk => (Subject::Everything, true),
            Commit::Large if self.part => (named(1), true),
            Commit::Large => (named(0), false),
        };
        let upto = if whole { lsn } else { prev };
        (self.sent, self.part) = (upto.0 as usize, !whole);
        let event = Event {
            lsn,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![subject],
            renewals: Vec::new(),
        };
        Batch {
            epoch: self.epoch(),
            prev,
            upto,
            watermark: Lsn::ZERO,
            coverage: CoverageDigest::NONE,
            events: vec![event],
        }
    }

    fn follow(&mut self, batch: &Batch) {
        self.fence.follow(batch, true);
        self.filter.follow(batch, |_| true);
    }

    fn take(&mut self, step: Step, scene: &FilterScene) {
        match step {
            Step::Write => {
                self.log.push(scene.script[self.written]);
                self.shown.push(false);
                self.written += 1;
            }
            Step::Show(at) => self.shown[at] = true,
            Step::Deliver => {
                let piece = self.piece();
                self.follow(&piece);
            }
            Step::Lose => {
                self.losses -= 1;
                self.piece();
            }
            Step::Crash => {
                self.crashes -= 1;
                self.epochs += 1;
                self.log.pop();
                self.shown = vec![true; self.log.len()];
                (self.sent, self.part) = (self.log.len(), false);
                let (epoch, at) = (self.epoch(), Lsn(self.sent as u64));
                let events = Vec::new();
                self.follow(&Batch {
                    epoch,
                    prev: at,
                    upto: at,
                    watermark: at,
                    coverage: CoverageDigest::NONE,
                    events,
                });
            }
            Step::Begin => {
                self.scans -= 1;
                let scan = self.filter.begin_scan(ExactSet::default);
                self.scan = scan.map(|scan| (scan, BTreeSet::new(), Lsn::ZERO));
            }
            Step::Page(id) => {
                let exists = self.row(id, |at| self.shown[at]);
                let end = Lsn(self.log.len() as u64);
                let Some((scan, pages, seen)) = &mut self.scan else { return };
                pages.insert(id);
                *seen = (*seen).max(end);
                let found = exists.then(|| key(id));
                let _ = self.filter.add_scanned(*scan, found);
            }
            Step::End => {
                let Some((scan, _, seen)) = self.scan.take() else { return };
                let _ = self.filter.finish_scan(scan, seen);
            }
        }
    }

    fn absent(&self, id: KeyId) -> Option<Lsn> {
        self.filter.absent(self.fence.epoch()?, self.fence.applied(), key(id))
    }

    fn no_absent_key_has_a_row(&self) -> bool {
        KEYS.into_iter().all(|id| {
            let Some(from) = self.absent(id) else { return true };
            let upto = self.fence.applied().0.min(self.log.len() as u64);
            (from.0..=upto).all(|position| !self.row(id, |at| (at as u64) < position))
        })
    }
}

impl Model for FilterScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            log: Vec::new(),
            shown: Vec::new(),
            written: 0,
            sent: 0,
            part: false,
            epochs: 1,
            fence: Fence::default(),
            filter: KeyFilter::default(),
            scan: None,
            scans: self.scans,
            losses: self.losses,
            crashes: self.crashes,
        };
        let nothing = Batch {
            epoch: world.epoch(),
            prev: Lsn::ZERO,
            upto: Lsn::ZERO,
            watermark: Lsn::ZERO,
            coverage: CoverageDigest::NONE,
            events: Vec::new(),
        };
        rules::without(self.omitted, || world.follow(&nothing));
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        let waits = world.sent < world.log.len();
        when(world.written < self.script.len(), Step::Write);
        for (at, shown) in world.shown.iter().enumerate() {
            when(!shown, Step::Show(at));
        }
        when(waits, Step::Deliver);
        when(waits && world.losses > 0, Step::Lose);
        when(!world.log.is_empty() && world.crashes > 0, Step::Crash);
        when(world.scans > 0, Step::Begin);
        if let (Some((_, pages, _)), Some(epoch)) = (&world.scan, world.fence.epoch()) {
            let watermark = world.watermark();
            let may = rules::without(self.omitted, || world.filter.may_scan(epoch, watermark));
            for id in KEYS {
                when(may && !pages.contains(&id), Step::Page(id));
            }
            when(pages.len() == KEYS.len(), Step::End);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        rules::without(self.omitted, || next.take(step, self));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ABSENT, |scene: &Self, world: &World| {
                rules::without(scene.omitted, || world.no_absent_key_has_a_row())
            }),
            Property::sometimes(USEFUL, |scene: &Self, world: &World| {
                rules::without(scene.omitted, || {
                    world.absent(0).is_some() != world.absent(1).is_some()
                })
            }),
        ]
    }
}
