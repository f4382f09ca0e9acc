//! A model of two databases whose nodes share one tier ([`coherence::leadership`]), small enough to explore every
//! sequence of steps: each has a row, a log and a leader, and the nodes of both load and fill under one key.

use std::sync::Arc;

use coherence::bound::is_of_log;
use coherence::{
    Batch, Cause, Claim, CoverageDigest, Epoch, Event, Fence, Log, Lsn, Offer, Rule, Subject,
    Verdict, rules,
};
use stateright::{Model, Property};

use crate::model::keys::key;

/// The invariant: no node finds the other database's row.
pub const OWN_ROWS: &str = "an entry in the tier is of the database that the tier follows";
/// The invariant: two databases do not take turns.
pub const CLAIM_STANDS: &str = "no live claim of another database is replaced";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "each database's row stands in the tier at some time";

/// A database: 0 or 1.
type Db = usize;

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct LogsScene {
    /// The number of commits of each database.
    pub commits: u64,
    /// How often rows may be loaded.
    pub loads: u8,
    /// How often a leader may claim the tier.
    pub claims: u8,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// The state of the model. A row's value is the number of commits in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    written: [u64; 2],
    fence: Fence,
    claim: Option<Claim>,
    /// The claim was renewed lately.
    live: bool,
    /// A live claim of another database was replaced.
    replaced: bool,
    claims: u8,
    loads: u8,
    /// The load in flight at each database: epoch and τ from the tier, and the value that it has read.
    load: [Option<(Epoch, Lsn, Option<u64>)>; 2],
    stored: Option<(Db, Lsn)>,
    /// The databases whose rows have been stored.
    seen: [bool; 2],
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A commit is written and visible.
    Write(Db),
    /// The leader claims the tier, and resets its epoch if that is of the other database.
    Lead(Db),
    /// The leader is stopped until its claim has expired.
    Expire,
    /// The leader applies the next commit.
    Apply(Db),
    /// A node looks the key up and misses.
    Begin(Db),
    /// Its load reads the row.
    Read(Db),
    /// Its fill reaches the tier.
    End(Db),
}

fn log(db: Db) -> Log {
    Log { system: 1 + db as u64, timeline: 1, server: 1 }
}

fn epoch(db: Db, incarnation: u64) -> Epoch {
    let Log { system, timeline, server } = log(db);
    Epoch { system, timeline, server, incarnation }
}

fn claim(db: Db) -> Claim {
    Claim { node: db as u64, log: log(db), slot: 1, label: Arc::default() }
}

impl World {
    fn follows(&self, db: Db) -> bool {
        self.fence.epoch().is_some_and(|epoch| epoch.log() == log(db))
    }

    fn lead(&mut self, db: Db) {
        self.claims -= 1;
        let own = claim(db);
        let live = self.claim.as_ref().filter(|_| self.live);
        let foreign = live.is_some_and(|live| live.log != own.log);
        if own.replaces(live, Some(self.fence.applied()), &[]).is_err() {
            return;
        }
        self.replaced |= foreign;
        (self.claim, self.live) = (Some(own), true);
        if !self.follows(db) {
            let at = Lsn(self.written[db]);
            self.fence.reset_epoch(epoch(db, u64::from(self.claims)), at, at);
            self.stored = None;
        }
    }

    fn apply(&mut self, db: Db) {
        let Some(epoch) = self.fence.epoch() else { return };
        let prev = self.fence.applied();
        let upto = Lsn(prev.0 + 1);
        let event = Event {
            lsn: upto,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![Subject::Key(key(0).clone())],
            renewals: Vec::new(),
        };
        let (watermark, coverage) = (upto, CoverageDigest::NONE);
        let batch = Batch { epoch, prev, upto, watermark, coverage, events: vec![event] };
        self.fence.apply(&batch).expect("no batch is lost in this model");
        self.stored = self.stored.filter(|(_, tau)| self.fence.stands(key(0), &[], *tau));
        self.live |= self.claim.as_ref().is_some_and(|claim| claim.log == log(db));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(db) => self.written[db] += 1,
            Step::Lead(db) => self.lead(db),
            Step::Expire => self.live = false,
            Step::Apply(db) => self.apply(db),
            Step::Begin(db) => {
                let Some(epoch) = self.fence.epoch() else { return };
                self.loads -= 1;
                self.load[db] = Some((epoch, self.fence.watermark(), None));
            }
            Step::Read(db) => {
                if let Some((_, _, read)) = &mut self.load[db] {
                    *read = Some(self.written[db]);
                }
            }
            Step::End(db) => {
                let Some((epoch, tau, Some(_))) = self.load[db].take() else { return };
                let stored = self.stored.map(|(_, tau)| tau);
                let offer = Offer { key: key(0), tags: &[], tau, epoch, stored };
                let is_own = is_of_log(epoch, Some(log(db).into()));
                if is_own && self.fence.admit(offer) == Verdict::Accept {
                    self.stored = Some((db, tau));
                    self.seen[db] = true;
                }
            }
        }
    }
}

impl Model for LogsScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            written: [0; 2],
            fence: Fence::default(),
            claim: None,
            live: false,
            replaced: false,
            claims: self.claims,
            loads: self.loads,
            load: [None; 2],
            stored: None,
            seen: [false; 2],
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        for db in 0..2 {
            when(world.written[db] < self.commits, Step::Write(db));
            when(world.claims > 0, Step::Lead(db));
            let behind = world.fence.applied().0 < world.written[db];
            when(world.follows(db) && behind, Step::Apply(db));
            match world.load[db] {
                None => when(world.loads > 0 && world.fence.epoch().is_some(), Step::Begin(db)),
                Some((.., None)) => when(true, Step::Read(db)),
                Some((.., Some(_))) => when(true, Step::End(db)),
            }
        }
        when(world.live, Step::Expire);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        rules::without(self.omitted, || next.take(step));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(OWN_ROWS, |_: &Self, world: &World| {
                world.stored.is_none_or(|(db, _)| world.follows(db))
            }),
            Property::always(CLAIM_STANDS, |_: &Self, world: &World| !world.replaced),
            Property::sometimes(USEFUL, |_: &Self, world: &World| world.seen == [true; 2]),
        ]
    }
}
