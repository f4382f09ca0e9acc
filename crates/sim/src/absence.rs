//! A model of [`coherence::Register`], small enough to visit every order of steps: a log whose commits
//! become visible later than they are written, a tier that follows it, and the keys of a table that
//! are read one page each.

use std::collections::BTreeSet;

use coherence::absence::Reading;
use coherence::{Batch, Cause, Epoch, Event, Fence, Lsn, Names, Register, Rule, Subject, rules};
use contract::Key;
use stateright::{Model, Property};

use crate::names::{KeyId, key};

/// A key that is said to be absent has no row.
pub const ABSENT: &str =
    "a key that is said to be absent has no row at any position it is said for";
/// Something is said at all.
pub const USEFUL: &str = "some key is known to be absent while another is not";

const KEYS: [KeyId; 2] = [0, 1];

/// What a commit does to rows, and how its event tells it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Commit {
    /// A row comes.
    Insert(KeyId),
    /// A row goes.
    Delete(KeyId),
    /// Rows of both keys come; the event is told in two pieces, key 0 first.
    Large,
    /// A row of key 1 comes; the event says that anything may have changed.
    Bulk,
}

/// What may happen.
#[derive(Clone, Debug)]
pub struct Absence {
    /// The commits, in the order in which they are written.
    pub script: Vec<Commit>,
    /// How often the keys may be read.
    pub readings: u8,
    /// How often a piece of the log may be lost on its way, with nobody told.
    pub losses: u8,
    /// How often the database may crash and lose its last commit.
    pub crashes: u8,
    /// The rule that is left out.
    pub without: Option<Rule>,
}

/// A set that never errs.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Known(BTreeSet<Key>);

impl Names for Known {
    fn add(&mut self, key: &Key) {
        self.0.insert(key.clone());
    }

    fn may_hold(&self, key: &Key) -> bool {
        self.0.contains(key)
    }
}

/// One state of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// What the log holds: the commit at position n is the nth.
    log: Vec<Commit>,
    /// Which of them snapshots show.
    shown: Vec<bool>,
    /// How much of the script was written, also what was lost since.
    written: usize,
    /// Commits of the log that were sent to the tier.
    told: usize,
    /// The first piece of the next one was sent too.
    part: bool,
    histories: u64,
    fence: Fence,
    register: Register<Known>,
    reading: Option<(Reading, BTreeSet<KeyId>, Lsn)>,
    readings: u8,
    losses: u8,
    crashes: u8,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The next commit is written to the log.
    Write,
    /// The commit at this place becomes visible.
    Show(usize),
    /// The next piece of the log reaches the tier.
    Deliver,
    /// It does not, and nobody says so.
    Lose,
    /// The last commit is lost, and a new history begins.
    Crash,
    /// A reading of all keys begins.
    Begin,
    /// The page with this key is read.
    Page(KeyId),
    /// All pages have been read.
    End,
}

impl World {
    fn epoch(&self) -> Epoch {
        Epoch { incarnation: self.histories, ..Epoch::default() }
    }

    /// Up to where everything is visible, as far as the tier has been told.
    fn watermark(&self) -> Lsn {
        let prefix = self.shown.iter().take_while(|shown| **shown).count();
        Lsn(prefix as u64).min(self.fence.applied())
    }

    /// Whether there is a row, by those commits that count.
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

    /// The next piece; nothing is left of it afterwards.
    fn piece(&mut self) -> Batch {
        let prev = Lsn(self.told as u64);
        let lsn = Lsn(prev.0 + 1);
        let named = |id: KeyId| Subject::Key(key(id).clone());
        let (subject, whole) = match self.log[self.told] {
            Commit::Insert(id) | Commit::Delete(id) => (named(id), true),
            Commit::Bulk => (Subject::Everything, true),
            Commit::Large if self.part => (named(1), true),
            Commit::Large => (named(0), false),
        };
        let upto = if whole { lsn } else { prev };
        (self.told, self.part) = (upto.0 as usize, !whole);
        let event = Event {
            lsn,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![subject],
            renewals: Vec::new(),
        };
        Batch { epoch: self.epoch(), prev, upto, watermark: Lsn::ZERO, events: vec![event] }
    }

    fn hear(&mut self, batch: &Batch) {
        self.fence.follow(batch, true);
        self.register.follow(batch, |_| true);
    }

    fn take(&mut self, step: Step, scene: &Absence) {
        match step {
            Step::Write => {
                self.log.push(scene.script[self.written]);
                self.shown.push(false);
                self.written += 1;
            }
            Step::Show(at) => self.shown[at] = true,
            Step::Deliver => {
                let piece = self.piece();
                self.hear(&piece);
            }
            Step::Lose => {
                self.losses -= 1;
                self.piece();
            }
            Step::Crash => {
                self.crashes -= 1;
                self.histories += 1;
                self.log.pop();
                self.shown = vec![true; self.log.len()];
                (self.told, self.part) = (self.log.len(), false);
                let (epoch, at) = (self.epoch(), Lsn(self.told as u64));
                let events = Vec::new();
                self.hear(&Batch { epoch, prev: at, upto: at, watermark: at, events });
            }
            Step::Begin => {
                self.readings -= 1;
                let reading = self.register.begin(Known::default);
                self.reading = reading.map(|reading| (reading, BTreeSet::new(), Lsn::ZERO));
            }
            Step::Page(id) => {
                let there = self.row(id, |at| self.shown[at]);
                let end = Lsn(self.log.len() as u64);
                let Some((reading, pages, seen)) = &mut self.reading else { return };
                pages.insert(id);
                *seen = (*seen).max(end);
                let known = there.then(|| key(id));
                let _ = self.register.note(*reading, known);
            }
            Step::End => {
                let Some((reading, _, seen)) = self.reading.take() else { return };
                let _ = self.register.counted(reading, seen);
            }
        }
    }

    fn absent(&self, id: KeyId) -> Option<Lsn> {
        self.register.absent(self.fence.epoch()?, self.fence.applied(), key(id))
    }

    fn no_absent_key_has_a_row(&self) -> bool {
        KEYS.into_iter().all(|id| {
            let Some(from) = self.absent(id) else { return true };
            let upto = self.fence.applied().0.min(self.log.len() as u64);
            (from.0..=upto).all(|position| !self.row(id, |at| (at as u64) < position))
        })
    }
}

impl Model for Absence {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            log: Vec::new(),
            shown: Vec::new(),
            written: 0,
            told: 0,
            part: false,
            histories: 1,
            fence: Fence::default(),
            register: Register::default(),
            reading: None,
            readings: self.readings,
            losses: self.losses,
            crashes: self.crashes,
        };
        let nothing = Batch {
            epoch: world.epoch(),
            prev: Lsn::ZERO,
            upto: Lsn::ZERO,
            watermark: Lsn::ZERO,
            events: Vec::new(),
        };
        rules::without(self.without, || world.hear(&nothing));
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        let waits = world.told < world.log.len();
        when(world.written < self.script.len(), Step::Write);
        for (at, shown) in world.shown.iter().enumerate() {
            when(!shown, Step::Show(at));
        }
        when(waits, Step::Deliver);
        when(waits && world.losses > 0, Step::Lose);
        when(!world.log.is_empty() && world.crashes > 0, Step::Crash);
        when(world.readings > 0, Step::Begin);
        if let (Some((_, pages, _)), Some(epoch)) = (&world.reading, world.fence.epoch()) {
            let watermark = world.watermark();
            let may = rules::without(self.without, || world.register.may_read(epoch, watermark));
            for id in KEYS {
                when(may && !pages.contains(&id), Step::Page(id));
            }
            when(pages.len() == KEYS.len(), Step::End);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        rules::without(self.without, || next.take(step, self));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ABSENT, |scene: &Self, world: &World| {
                rules::without(scene.without, || world.no_absent_key_has_a_row())
            }),
            Property::sometimes(USEFUL, |scene: &Self, world: &World| {
                rules::without(scene.without, || {
                    world.absent(0).is_some() != world.absent(1).is_some()
                })
            }),
        ]
    }
}
