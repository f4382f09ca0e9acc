//! A model of leaders with different contracts ([`coherence::coverage`]), small enough to explore every sequence of
//! steps: an older node whose contracts do not map the row, a newer one that maps it, and a tier that both lead in
//! turn. Leaders that were replaced go on for a while.

use coherence::coverage::{has_caught_up, is_of_definition};
use coherence::fence::Gap;
use coherence::{
    Batch, Cause, Coverage, Epoch, Event, Fence, KnownCoverage, Lsn, Offer, Rule, Subject, Verdict,
    rules,
};
use stateright::{Model, Property};

use crate::model::keys::key;

/// The invariant: the bound of an answer is true for the newer node.
pub const NO_STALE_ENTRY: &str = "no proven entry misses a commit that the tier has applied";
/// The invariant: an answer has the form of its node's contract.
pub const OWN_FORM: &str = "no node serves an entry of another definition";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "a row that has changed is proven after the older node has led";

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
/// The mapping of the row, which the newer contracts have.
const MAPPING: u64 = 7;
const OLD: usize = 0;
const NEW: usize = 1;

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct ContractsScene {
    /// The number of commits that change the row.
    pub commits: u8,
    /// How often the row may be loaded.
    pub loads: u8,
    /// How often a node may take the lead.
    pub takeovers: u8,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// A node that leads, or believes to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Leader {
    leads: bool,
    /// It has applied the log up to here.
    cursor: u64,
    stated: Coverage,
    /// The position of the invalidation that it has written for its new mapping.
    written: Option<u64>,
}

/// An entry: value, τ and the node whose definition it has.
type Stored = (u8, Lsn, usize);

/// The state of the model. A row's value is the number of commits in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// The log: whether a commit changes the row, or invalidates its entries.
    log: Vec<bool>,
    tier: Fence,
    stated: Coverage,
    leaders: [Leader; 2],
    takeovers: u8,
    loads: u8,
    load: Option<(usize, Lsn, Option<u8>)>,
    stored: Option<Stored>,
    /// The older node has led.
    mixed: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A commit changes the row.
    Write,
    /// A node takes the lead.
    Lead(usize),
    /// A leader applies the next commit.
    Apply(usize),
    /// The newer leader writes the invalidation for its mapping.
    Invalidate,
    /// The newer leader states its mapping.
    State,
    /// A node begins a load.
    Begin(usize),
    /// It reads the row.
    Read,
    /// It offers the value to the tier.
    End,
}

fn own(node: usize) -> Coverage {
    if node == NEW { Coverage::of([MAPPING]) } else { Coverage::default() }
}

impl World {
    fn rows(&self, upto: u64) -> u8 {
        self.log[..usize::try_from(upto).expect("a short log")]
            .iter()
            .map(|row| u8::from(*row))
            .sum()
    }

    fn end(&self) -> u64 {
        self.log.len() as u64
    }

    /// Whether the tier proves entries to the newer node.
    fn is_proven(&self) -> bool {
        let mut known = KnownCoverage::new(own(NEW));
        known.learn(self.stated.clone());
        known.covers(self.tier.coverage(), &[MAPPING])
    }

    fn state(&mut self, node: usize, coverage: Coverage) {
        self.tier.state_coverage(coverage.digest());
        self.leaders[node].stated.clone_from(&coverage);
        self.stated = coverage;
    }

    fn lead(&mut self, node: usize) {
        self.takeovers -= 1;
        self.mixed |= node == OLD;
        let kept = self.stated.kept_by(&own(node));
        let cursor = self.tier.applied().0;
        self.leaders[node] = Leader { leads: true, cursor, ..Leader::default() };
        self.state(node, kept);
    }

    fn apply(&mut self, node: usize) {
        let Leader { cursor, ref stated, .. } = self.leaders[node];
        let (prev, upto) = (Lsn(cursor), Lsn(cursor + 1));
        let is_row = self.log[usize::try_from(cursor).expect("a short log")];
        let event = Event {
            lsn: upto,
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![Subject::Key(key(0).clone())],
            renewals: Vec::new(),
        };
        // An invalidation in the log needs no mapping.
        let events = if !is_row || node == NEW { vec![event] } else { Vec::new() };
        let batch =
            Batch { epoch: EPOCH, prev, upto, watermark: upto, coverage: stated.digest(), events };
        match self.tier.apply(&batch) {
            Ok(()) => self.leaders[node].cursor += 1,
            Err(Gap::Coverage { .. }) => self.leaders[node].leads = false,
            Err(gap) => unreachable!("nothing else is lost in this model: {gap}"),
        }
        self.stored = self.stored.filter(|(_, tau, _)| self.tier.stands(key(0), &[], *tau));
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write => self.log.push(true),
            Step::Lead(node) => self.lead(node),
            Step::Apply(node) => self.apply(node),
            Step::Invalidate => {
                self.log.push(false);
                self.leaders[NEW].written = Some(self.end());
            }
            Step::State => {
                let cursor = Lsn(self.leaders[NEW].cursor);
                if has_caught_up(Some(cursor), Some(self.tier.applied())) {
                    self.state(NEW, own(NEW));
                }
            }
            Step::Begin(node) => {
                self.loads -= 1;
                self.load = Some((node, self.tier.watermark(), None));
            }
            Step::Read => {
                let value = self.rows(self.end());
                if let Some((_, _, read)) = &mut self.load {
                    *read = Some(value);
                }
            }
            Step::End => {
                let Some((node, tau, Some(value))) = self.load.take() else { return };
                let stored = self.stored.map(|(_, tau, _)| tau);
                let offer = Offer { key: key(0), tags: &[], tau, epoch: EPOCH, stored };
                // The contracts of the older node need no mapping of this row.
                let may_fill = node == OLD || self.is_proven();
                if may_fill && self.tier.admit(offer) == Verdict::Accept {
                    self.stored = Some((value, tau, node));
                }
            }
        }
    }

    /// The entry that the newer node would serve.
    fn served(&self) -> Option<Stored> {
        let own = |stored: &Stored| is_of_definition(stored.2 as u64, NEW as u64);
        self.stored.filter(own).filter(|_| self.is_proven())
    }
}

impl ContractsScene {
    fn with_rules<T>(&self, check: impl FnOnce() -> T) -> T {
        rules::without(self.omitted, check)
    }
}

impl Model for ContractsScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            log: Vec::new(),
            tier: Fence::default(),
            stated: Coverage::default(),
            leaders: Default::default(),
            takeovers: self.takeovers,
            loads: self.loads,
            load: None,
            stored: None,
            mixed: false,
        };
        world.tier.reset_epoch(EPOCH, Lsn::ZERO, Lsn::ZERO);
        // The newer node leads; the tier is empty, so nothing has to be invalidated.
        world.leaders[NEW].leads = true;
        world.state(NEW, own(NEW));
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        let rows = world.rows(world.end());
        when(rows < self.commits, Step::Write);
        for node in [OLD, NEW] {
            when(world.takeovers > 0, Step::Lead(node));
            let Leader { leads, cursor, .. } = world.leaders[node];
            when(leads && cursor < world.end(), Step::Apply(node));
            when(world.loads > 0 && world.load.is_none(), Step::Begin(node));
        }
        let Leader { leads, cursor, ref stated, written } = world.leaders[NEW];
        let lacks = leads && *stated != own(NEW) && world.tier.coverage() == stated.digest();
        when(lacks && written.is_none(), Step::Invalidate);
        when(lacks && written.is_some_and(|at| cursor >= at), Step::State);
        match world.load {
            Some((.., None)) => when(true, Step::Read),
            Some((.., Some(_))) => when(true, Step::End),
            None => {}
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        self.with_rules(|| next.take(step));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_ENTRY, |scene: &Self, world: &World| {
                let served = scene.with_rules(|| world.served());
                served.is_none_or(|(value, ..)| value >= world.rows(world.tier.applied().0))
            }),
            Property::always(OWN_FORM, |scene: &Self, world: &World| {
                scene.with_rules(|| world.served()).is_none_or(|(.., node)| node == NEW)
            }),
            Property::sometimes(USEFUL, |_: &Self, world: &World| {
                let has_changed = world.served().is_some_and(|(value, ..)| value > 0);
                world.mixed && has_changed
            }),
        ]
    }
}
