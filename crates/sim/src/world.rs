//! The whole state, and every step that changes it.

use coherence::{Epoch, Mono};

use crate::database::Database;
use crate::habit::Without;
use crate::leader::{Late, Leader};
use crate::load::{Load, Stage};
use crate::names::KeyId;
use crate::node::{Message, Node};
use crate::scene::{Design, Left, Scene};
use crate::standby::{From, Standby};
use crate::tier::Tier;

/// Everything there is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// The database.
    pub db: Database,
    /// The tier that all nodes share.
    pub tier: Tier,
    /// What it was at some moment before.
    pub saved: Option<Box<Tier>>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Who follows the log, if anybody.
    pub leader: Option<Leader>,
    /// A call whose caller is gone.
    pub late: Option<Late>,
    /// Reads under way.
    pub loads: Vec<Load>,
    /// The shared tier's clock; only leases look at it.
    pub clock: Mono,
    /// Random numbers drawn so far.
    pub draws: u64,
    /// A fill was stored although somebody else held the lease.
    pub stored_late: bool,
    /// An entry was replaced in its place by one with an older version.
    pub went_back: bool,
    /// A standby's answer was shown as of a moment, and lacked something of before.
    pub lied: bool,
    /// What may still happen.
    pub left: Left,
    pub(crate) design: Design,
    pub(crate) without: Without,
    pub(crate) leases: bool,
    pub(crate) shortcut: bool,
    pub(crate) local: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The application's next commit is written.
    Commit,
    /// That commit becomes visible.
    Show(usize),
    /// The log reaches the disk.
    FlushLog,
    /// The database crashes and recovers.
    Crash,
    /// It does so without looking restarted.
    CrashQuietly,
    /// A standby takes over.
    FailOver,
    /// The slot is lost and made anew.
    LoseSlot,
    /// That node gets the slot; from the last acknowledged position, or from an older one.
    Lead(usize, Acknowledged),
    /// The leader receives the next piece of the log and applies it to the shared tier.
    Follow,
    /// The leader asks what new snapshots see.
    Look,
    /// The leader applies its last piece to its own tier.
    Shortcut,
    /// It does so while the call to the shared tier is still under way.
    Ahead,
    /// The leader dies.
    Die,
    /// It dies while a call to the shared tier is under way.
    DieMidway,
    /// That call takes effect.
    Late,
    /// The shared tier is written to disk.
    Save,
    /// It comes back as it was then.
    RollBack,
    /// It is emptied.
    FlushTier,
    /// It lets go of its marks.
    Collect,
    /// It evicts a key.
    Evict(KeyId),
    /// A node takes the next message of its stream.
    Deliver(usize),
    /// The next message is lost.
    Lose(usize),
    /// The next message is taken, and will come again.
    Repeat(usize),
    /// The node's stream breaks; what was under way is gone.
    Break(usize),
    /// A node lets go of its marks.
    CollectLocal(usize),
    /// A node evicts a key.
    EvictLocal(usize, KeyId),
    /// A node asks the primary for the end of its log.
    Ask(usize),
    /// The answer arrives.
    Answer(usize),
    /// Somebody reads a key on that node.
    Read(usize, KeyId),
    /// The same, while the node can't reach the shared tier.
    ReadPastShared(usize, KeyId),
    /// Somebody reads a key on that node, which asks the standby.
    ReadOfStandby(usize, KeyId),
    /// The standby replays a step.
    Replay,
    /// A read goes on.
    GoOn(usize),
    /// A load's lease is renewed.
    Renew(usize),
    /// A load is given up.
    Abandon(usize),
    /// A lease's length passes.
    Wait,
}

/// From where a slot tells what was told before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acknowledged {
    /// All that was acknowledged is known to the database.
    All,
    /// Nothing since the last leader began.
    Nothing,
}

/// Takes one from what is left.
fn spend(left: &mut u8) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

impl World {
    /// All is well: the first node leads, every tier follows.
    #[must_use]
    pub fn of(scene: &Scene) -> Self {
        let mut world = Self {
            db: Database::default(),
            tier: Tier::default(),
            saved: None,
            nodes: vec![
                Node { lenient: scene.lenient, ..Node::default() };
                usize::from(scene.nodes)
            ],
            leader: None,
            late: None,
            loads: Vec::new(),
            clock: Mono(1),
            draws: 0,
            stored_late: false,
            went_back: false,
            lied: false,
            left: scene.left,
            design: scene.design,
            without: scene.without,
            leases: scene.leases,
            shortcut: false,
            local: scene.local,
        };
        if scene.left.reads_of_standby > 0 {
            world.db.standby = Some(Standby::of(&world.db));
        }
        let position = world.db.slot;
        world.lead(0, position);
        if scene.design.waiting_is_witness {
            world.nodes.iter_mut().for_each(|node| node.led = Some(world.db.life));
        }
        world.look();
        for node in 0..world.nodes.len() {
            while world.deliver(node) {}
        }
        world.shortcut = scene.shortcut;
        world
    }

    /// The tier's history, if it has one.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.tier.fence.epoch()
    }

    pub(crate) fn now(&self) -> Mono {
        Mono(u64::from(self.db.now))
    }

    pub(crate) fn deliver(&mut self, node: usize) -> bool {
        let (design, without) = (self.design, self.without);
        let node = &mut self.nodes[node];
        let Some(message) = node.stream.pop_front() else { return false };
        node.receive(message, design, without);
        true
    }

    pub(crate) fn apply_shortcut(&mut self) -> bool {
        let Some(leader) = &mut self.leader else { return false };
        let Some(batch) = leader.shortcut.take() else { return false };
        self.nodes[leader.node].apply(&batch, false, self.design, self.without);
        true
    }

    /// Takes the step; false: it can't be taken, or changes nothing.
    pub fn take(&mut self, step: Step, scene: &Scene) -> bool {
        let idle = self.leader.as_ref().is_some_and(|leader| leader.shortcut.is_none());
        match step {
            Step::Commit => {
                let Some(write) = scene.writes.get(self.db.commits.len()) else { return false };
                let free = self.db.is_free(write.touch);
                if free {
                    self.db.commit(write.touch, write.lazy);
                }
                free
            }
            Step::Show(at) => {
                self.db.show(at);
                true
            }
            Step::FlushLog => {
                let dirty = self.db.is_dirty();
                self.db.flush();
                dirty
            }
            Step::Crash => spend(&mut self.left.crashes) && self.crash(true, false),
            Step::CrashQuietly => spend(&mut self.left.quiet_crashes) && self.crash(false, false),
            Step::FailOver => spend(&mut self.left.failovers) && self.crash(true, true),
            Step::LoseSlot => {
                self.leader = None;
                self.db.make_slot();
                spend(&mut self.left.slot_losses)
            }
            Step::Lead(node, acknowledged) => {
                let position = match acknowledged {
                    Acknowledged::All => self.db.acked,
                    Acknowledged::Nothing => self.db.slot,
                };
                self.lead(node, position);
                true
            }
            Step::Follow => idle && self.follow(),
            Step::Look => idle && self.look(),
            Step::Shortcut => self.apply_shortcut(),
            Step::Ahead => idle && self.run_ahead(),
            Step::Die => self.leader.take().is_some() && spend(&mut self.left.deaths),
            Step::DieMidway => {
                idle && self.late.is_none() && spend(&mut self.left.late_calls) && self.die_midway()
            }
            Step::Late => {
                let some = self.late.is_some();
                self.late();
                some
            }
            Step::Save => {
                let first = self.left.rollbacks > 0 && self.saved.is_none();
                self.saved = Some(Box::new(self.tier.clone()));
                first
            }
            Step::RollBack => spend(&mut self.left.rollbacks) && self.roll_back(),
            Step::FlushTier => {
                self.tier = self.tier.replaced_by(Tier::default(), self.without);
                self.lose_streams();
                spend(&mut self.left.flushes)
            }
            Step::Collect => {
                let upto = self.tier.fence.watermark();
                spend(&mut self.left.collections) && self.tier.fence.collect(upto) > 0
            }
            Step::Evict(key) => {
                spend(&mut self.left.evictions) && self.tier.entries.remove(&key).is_some()
            }
            Step::Deliver(node) => self.deliver(node),
            Step::Lose(node) => {
                spend(&mut self.left.losses) && self.nodes[node].stream.pop_front().is_some()
            }
            Step::Repeat(node) => {
                let next = self.nodes[node].stream.front().cloned();
                if let Some(message) = &next {
                    self.nodes[node].receive(message.clone(), self.design, self.without);
                }
                spend(&mut self.left.repeats) && next.is_some()
            }
            Step::Break(node) => {
                self.nodes[node].stream = [Message::Lost].into();
                spend(&mut self.left.breaks)
            }
            Step::CollectLocal(node) => {
                let fence = &mut self.nodes[node].fence;
                let upto = fence.watermark();
                spend(&mut self.left.collections) && fence.collect(upto) > 0
            }
            Step::EvictLocal(node, key) => {
                let evicted = self.nodes[node].held.remove(&key).is_some();
                spend(&mut self.left.evictions) && evicted
            }
            Step::Ask(node) => {
                let (now, end, log) = (self.now(), self.db.end, self.db.log);
                self.nodes[node].ask(now, end, log);
                spend(&mut self.left.samples)
            }
            Step::Answer(node) => {
                let now = self.now();
                self.nodes[node].answered(now, self.design, self.without);
                true
            }
            Step::Read(node, key) => spend(&mut self.left.reads) && self.read(node, key),
            Step::ReadPastShared(node, key) => {
                spend(&mut self.left.reads_past_shared) && self.read_past_shared(node, key)
            }
            Step::ReadOfStandby(node, key) => {
                spend(&mut self.left.reads_of_standby) && self.read_of_standby(node, key)
            }
            Step::Replay => self.replay(),
            Step::GoOn(at) => {
                self.step(at);
                true
            }
            Step::Renew(at) => spend(&mut self.left.renewals) && self.renew(at),
            Step::Abandon(at) => {
                self.abandon(at);
                spend(&mut self.left.abandoned)
            }
            Step::Wait => {
                self.clock.0 += 1;
                spend(&mut self.left.lease_ends)
            }
        }
    }

    /// All connections to the database end with it.
    fn crash(&mut self, restarted: bool, failover: bool) -> bool {
        self.leader = None;
        self.loads.retain(|load| load.stage != Stage::Asked || load.from != From::Primary);
        self.db.crash(restarted, failover);
        true
    }

    fn roll_back(&mut self) -> bool {
        let Some(saved) = self.saved.take() else { return false };
        self.tier = self.tier.replaced_by(*saved, self.without);
        self.lose_streams();
        true
    }

    /// The subscription notices that the stream is not the one it read.
    fn lose_streams(&mut self) {
        let local = self.local;
        let nodes = self.nodes.iter_mut().filter(|_| local);
        nodes.for_each(|node| node.stream.push_back(Message::Lost));
    }
}
