//! A model of a page that shows one row of each of two databases ([`coherence::joint`]), small enough to explore every
//! sequence of steps: each log has a tier, the first of which stores the page and the second its witness.

use coherence::{
    Batch, Cause, CoverageDigest, Epoch, Event, Fence, JointProof, LoadId, Lsn, Mono, Offer, Rule,
    Subject, Verdict, Witness, joint, rules,
};
use stateright::{Model, Property};

use crate::model::keys::{key, tags};

/// The invariant: the page that both tiers prove misses no commit that they have applied.
pub const BOTH_LOGS: &str =
    "a proven page misses no commit that the tier of either log has applied";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "a page with a commit of each log is proven at some time";

/// A database: 0 or 1.
type Db = usize;

/// A load in progress: 0 or 1.
type Load = usize;

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct SourcesScene {
    /// The number of commits of each database.
    pub commits: u64,
    /// How often the page may be loaded.
    pub loads: u64,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// The state of the model. A row's value is the number of commits in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    written: [u64; 2],
    fences: [Fence; 2],
    loads: u64,
    running: [Option<Loading>; 2],
    /// The stored page: its load, the rows that it shows, and τ.
    page: Option<(LoadId, [u64; 2], Lsn)>,
    /// The stored witness: its load, and τ.
    witness: Option<(LoadId, Lsn)>,
}

/// A load in progress.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Loading {
    load: LoadId,
    tau: [Lsn; 2],
    /// The rows that it has read.
    read: [Option<u64>; 2],
    /// Its page, and its witness, were offered.
    offered: [bool; 2],
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A commit is written and visible.
    Write(Db),
    /// The tier of a log applies the next commit.
    Apply(Db),
    /// A load begins: it reads the position of each log.
    Begin(Load),
    /// It reads the row of one database.
    Read(Load, Db),
    /// Its page, or its witness, reaches the tier of the log.
    Offer(Load, Db),
}

fn epoch(db: Db) -> Epoch {
    Epoch { system: 1 + db as u64, timeline: 1, server: 1, incarnation: 1 }
}

impl World {
    fn start(scene: &SourcesScene) -> Self {
        let fence = |db| {
            let mut fence = Fence::default();
            fence.reset_epoch(epoch(db), Lsn::ZERO, Lsn::ZERO);
            fence
        };
        Self {
            written: [0; 2],
            fences: [fence(0), fence(1)],
            loads: scene.loads,
            running: [None; 2],
            page: None,
            witness: None,
        }
    }

    fn apply(&mut self, db: Db) {
        let fence = &mut self.fences[db];
        let (prev, upto) = (fence.applied(), Lsn(fence.applied().0 + 1));
        let event = Event {
            lsn: upto,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![Subject::Tag(tags(0)[0].clone())],
            renewals: Vec::new(),
        };
        let (epoch, coverage) = (epoch(db), CoverageDigest::NONE);
        let batch = Batch { epoch, prev, upto, watermark: upto, coverage, events: vec![event] };
        fence.apply(&batch).expect("no batch is lost in this model");
        let stands = |tau| fence.stands(key(0), tags(0), tau);
        match db {
            0 => self.page = self.page.filter(|(.., tau)| stands(*tau)),
            _ => self.witness = self.witness.filter(|(_, tau)| stands(*tau)),
        }
    }

    fn offer(&mut self, at: Load, db: Db) {
        let Some(Loading { load, tau, read, offered }) = &mut self.running[at] else { return };
        offered[db] = true;
        let stored = match db {
            0 => self.page.map(|(.., tau)| tau),
            _ => self.witness.map(|(_, tau)| tau),
        };
        let (load, tau, shown) = (*load, tau[db], read.map(Option::unwrap_or_default));
        if *offered == [true; 2] {
            self.running[at] = None;
        }
        let offer = Offer { key: key(0), tags: tags(0), tau, epoch: epoch(db), stored };
        if self.fences[db].admit(offer) == Verdict::Accept {
            match db {
                0 => self.page = Some((load, shown, tau)),
                _ => self.witness = Some((load, tau)),
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(db) => self.written[db] += 1,
            Step::Apply(db) => self.apply(db),
            Step::Begin(at) => {
                let load = LoadId(self.loads);
                self.loads -= 1;
                let tau = [0, 1].map(|db: Db| self.fences[db].watermark());
                let (read, offered) = ([None; 2], [false; 2]);
                self.running[at] = Some(Loading { load, tau, read, offered });
            }
            Step::Read(at, db) => {
                if let Some(loading) = &mut self.running[at] {
                    loading.read[db] = Some(self.written[db]);
                }
            }
            Step::Offer(at, db) => self.offer(at, db),
        }
    }

    /// The rows that a reader would get from the tiers with a proof.
    fn proven(&self) -> Option<[u64; 2]> {
        let (load, shown, _) = self.page?;
        let proven = Some(Mono(0));
        let witness = self.witness.map(|(load, _)| Witness { load, proven });
        let stands = joint::prove(load, Some(proven), [witness]) != JointProof::Fallen;
        stands.then_some(shown)
    }
}

impl Model for SourcesScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::start(self)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for db in 0..2 {
            if world.written[db] < self.commits {
                steps.push(Step::Write(db));
            }
            if world.fences[db].applied().0 < world.written[db] {
                steps.push(Step::Apply(db));
            }
        }
        for (at, running) in world.running.iter().enumerate() {
            let Some(Loading { read, offered, .. }) = running else {
                if world.loads > 0 {
                    steps.push(Step::Begin(at));
                }
                continue;
            };
            let unread = (0..2).filter(|db| read[*db].is_none());
            steps.extend(unread.map(|db| Step::Read(at, db)));
            if read.iter().all(Option::is_some) {
                let left = (0..2).filter(|db| !offered[*db]);
                steps.extend(left.map(|db| Step::Offer(at, db)));
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        rules::without(self.omitted, || next.take(step));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BOTH_LOGS, |scene: &Self, world: &World| {
                let shown = rules::without(scene.omitted, || world.proven());
                let applied = |db: Db| world.fences[db].applied().0;
                shown.is_none_or(|shown| (0..2).all(|db| shown[db] >= applied(db)))
            }),
            Property::sometimes(USEFUL, |_: &Self, world: &World| {
                let applied = world.fences.iter().all(|fence| fence.applied().0 > 0);
                applied && world.proven().is_some()
            }),
        ]
    }
}
