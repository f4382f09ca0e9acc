//! The steps that change the state.

mod heal;
mod lead;
mod read;
mod standby;

use coherence::Mono;

use crate::model::database::Database;
use crate::model::keys::KeyId;
use crate::model::load::Stage;
use crate::model::node::{Message, Node};
use crate::model::scene::Scene;
use crate::model::standby::Source;
use crate::model::tier::Tier;
use crate::model::world::World;

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The application writes its next commit.
    Commit,
    /// That commit becomes visible.
    Show(usize),
    /// The log is flushed.
    FlushLog,
    /// The database crashes and recovers.
    Crash,
    /// The database crashes without a visible restart.
    CrashQuietly,
    /// A standby takes over.
    FailOver,
    /// The slot is lost and created again.
    LoseSlot,
    /// That node acquires the slot, at the last acknowledged position or at an older one.
    Lead(usize, Acknowledged),
    /// The leader receives the next batch and applies it to the shared tier.
    Follow,
    /// The leader takes a snapshot, to learn which commits are visible.
    Observe,
    /// The leader applies its last batch to its own tier.
    Shortcut,
    /// The leader applies the next batch to its own tier before the shared tier has.
    ApplyAhead,
    /// The leader dies.
    Die,
    /// The leader dies during a call to the shared tier.
    DieMidway,
    /// The call of a dead leader takes effect.
    TakeLateCall,
    /// The shared tier saves its state.
    Save,
    /// The shared tier is restored to its saved state.
    RollBack,
    /// The shared tier is flushed.
    FlushTier,
    /// The shared tier collects its tombstones.
    Collect,
    /// The shared tier evicts a key.
    Evict(KeyId),
    /// A node takes the next message of its stream.
    Deliver(usize),
    /// The next message is lost.
    Lose(usize),
    /// The next message is delivered, and will be repeated.
    Repeat(usize),
    /// The node's stream breaks; the messages in flight are lost.
    Break(usize),
    /// A node collects its tombstones.
    CollectLocal(usize),
    /// A node evicts a key.
    EvictLocal(usize, KeyId),
    /// A node removes the entries that its invalidations have made old.
    Sweep(usize),
    /// A node samples the end of the primary's log.
    Sample(usize),
    /// The node receives its sample.
    ReceiveSample(usize),
    /// A reader reads a key on that node.
    Read(usize, KeyId),
    /// A reader reads a key on that node, which can't reach the shared tier.
    ReadPastShared(usize, KeyId),
    /// A reader reads a key on that node, which asks the standby.
    ReadFromStandby(usize, KeyId),
    /// The standby replays a step.
    Replay,
    /// A read takes its next step.
    Advance(usize),
    /// A load's lease is renewed.
    Renew(usize),
    /// A load is abandoned.
    Abandon(usize),
    /// The primary answers a load with an error.
    FailLoad(usize),
    /// The primary answers a node's sample with an error.
    FailSample(usize),
    /// The duration of a lease passes.
    ExpireLease,
}

/// The position at which a new leader continues.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acknowledged {
    /// Every acknowledgement has reached the database.
    All,
    /// No acknowledgement since the last leader began has reached the database.
    Nothing,
}

/// Takes one from the remaining number; false if it is zero.
fn spend(remaining: &mut u8) -> bool {
    let some = *remaining > 0;
    *remaining = remaining.saturating_sub(1);
    some
}

impl World {
    /// Returns the initial state: the first node leads, and every tier follows.
    #[must_use]
    pub fn start(scene: &Scene) -> Self {
        let mut world = Self {
            db: Database::default(),
            tier: Tier::default(),
            saved: None,
            nodes: vec![
                Node { lenient: scene.lenient, sweeps: scene.sweeps, ..Node::default() };
                usize::from(scene.nodes)
            ],
            leader: None,
            late: None,
            loads: Vec::new(),
            clock: Mono(1),
            draws: 0,
            stored_late: false,
            version_decreased: false,
            bound_violated: false,
            remaining: scene.remaining,
            design: scene.design,
            omitted: scene.omitted,
            leases: scene.leases,
            shortcut: false,
            local: scene.local,
        };
        if scene.remaining.reads_from_standby > 0 {
            world.db.standby = Some(world.db.new_standby());
        }
        let position = world.db.slot;
        world.lead(0, position);
        if scene.design.waiters_report_crashes {
            world.nodes.iter_mut().for_each(|node| node.led = Some(world.db.generation));
        }
        world.observe();
        for node in 0..world.nodes.len() {
            while world.deliver(node) {}
        }
        world.shortcut = scene.shortcut;
        world
    }

    pub(crate) fn deliver(&mut self, node: usize) -> bool {
        let (design, omitted) = (self.design, self.omitted);
        let node = &mut self.nodes[node];
        let Some(message) = node.stream.pop_front() else { return false };
        node.receive(message, design, omitted);
        true
    }

    pub(crate) fn apply_shortcut(&mut self) -> bool {
        let Some(leader) = &mut self.leader else { return false };
        let Some(batch) = leader.shortcut.take() else { return false };
        self.nodes[leader.node].apply(&batch, false, self.design, self.omitted);
        true
    }

    /// Takes the step; false if it is impossible or changes nothing.
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
            Step::Crash => spend(&mut self.remaining.crashes) && self.crash(true, false),
            Step::CrashQuietly => {
                spend(&mut self.remaining.quiet_crashes) && self.crash(false, false)
            }
            Step::FailOver => spend(&mut self.remaining.failovers) && self.crash(true, true),
            Step::LoseSlot => {
                self.leader = None;
                self.db.create_slot();
                spend(&mut self.remaining.slot_losses)
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
            Step::Observe => idle && self.observe(),
            Step::Shortcut => self.apply_shortcut(),
            Step::ApplyAhead => idle && self.apply_ahead(),
            Step::Die => self.leader.take().is_some() && spend(&mut self.remaining.deaths),
            Step::DieMidway => {
                idle && self.late.is_none()
                    && spend(&mut self.remaining.late_calls)
                    && self.die_midway()
            }
            Step::TakeLateCall => {
                let some = self.late.is_some();
                self.take_late_call();
                some
            }
            Step::Save => {
                let first = self.remaining.rollbacks > 0 && self.saved.is_none();
                self.saved = Some(Box::new(self.tier.clone()));
                first
            }
            Step::RollBack => spend(&mut self.remaining.rollbacks) && self.roll_back(),
            Step::FlushTier => {
                self.tier = self.tier.replaced_by(Tier::default(), self.omitted);
                self.lose_streams();
                spend(&mut self.remaining.flushes)
            }
            Step::Collect => {
                let upto = self.tier.fence.watermark();
                spend(&mut self.remaining.collections) && self.tier.fence.collect(upto) > 0
            }
            Step::Evict(key) => {
                spend(&mut self.remaining.evictions) && self.tier.entries.remove(&key).is_some()
            }
            Step::Deliver(node) => self.deliver(node),
            Step::Lose(node) => {
                spend(&mut self.remaining.losses) && self.nodes[node].stream.pop_front().is_some()
            }
            Step::Repeat(node) => {
                let next = self.nodes[node].stream.front().cloned();
                if let Some(message) = &next {
                    self.nodes[node].receive(message.clone(), self.design, self.omitted);
                }
                spend(&mut self.remaining.repeats) && next.is_some()
            }
            Step::Break(node) => {
                self.nodes[node].stream = [Message::Lost].into();
                spend(&mut self.remaining.breaks)
            }
            Step::CollectLocal(node) => {
                let fence = &mut self.nodes[node].fence;
                let upto = fence.watermark();
                spend(&mut self.remaining.collections) && fence.collect(upto) > 0
            }
            Step::EvictLocal(node, key) => {
                let evicted = self.nodes[node].entries.remove(&key).is_some();
                spend(&mut self.remaining.evictions) && evicted
            }
            Step::Sweep(node) => self.nodes[node].sweep(),
            Step::Sample(node) => {
                let (now, end, log) = (self.now(), self.db.end, self.db.log);
                self.nodes[node].sample_log_end(now, end, log);
                spend(&mut self.remaining.samples)
            }
            Step::ReceiveSample(node) => {
                let now = self.now();
                self.nodes[node].receive_sample(now, self.design, self.omitted);
                true
            }
            Step::Read(node, key) => spend(&mut self.remaining.reads) && self.read(node, key),
            Step::ReadPastShared(node, key) => {
                spend(&mut self.remaining.reads_past_shared) && self.read_past_shared(node, key)
            }
            Step::ReadFromStandby(node, key) => {
                spend(&mut self.remaining.reads_from_standby) && self.read_from_standby(node, key)
            }
            Step::Replay => self.replay(),
            Step::Advance(at) => {
                self.advance(at);
                true
            }
            Step::Renew(at) => spend(&mut self.remaining.renewals) && self.renew(at),
            Step::Abandon(at) => {
                self.abandon(at);
                spend(&mut self.remaining.abandoned)
            }
            Step::FailLoad(at) => spend(&mut self.remaining.errors) && self.fail_load(at),
            Step::FailSample(node) => {
                let (now, omitted) = (self.now(), self.omitted);
                self.nodes[node].fail_sample(now, omitted);
                spend(&mut self.remaining.errors)
            }
            Step::ExpireLease => {
                self.clock.0 += 1;
                spend(&mut self.remaining.lease_ends)
            }
        }
    }

    /// Crashes the database, which ends all connections to it.
    fn crash(&mut self, restarted: bool, failover: bool) -> bool {
        self.leader = None;
        self.loads.retain(|load| load.stage != Stage::Asked || load.from != Source::Primary);
        self.db.crash(restarted, failover);
        true
    }

    fn roll_back(&mut self) -> bool {
        let Some(saved) = self.saved.take() else { return false };
        self.tier = self.tier.replaced_by(*saved, self.omitted);
        self.lose_streams();
        true
    }

    /// Breaks the streams: the subscriptions detect that the stream is another one.
    fn lose_streams(&mut self) {
        let local = self.local;
        let nodes = self.nodes.iter_mut().filter(|_| local);
        nodes.for_each(|node| node.stream.push_back(Message::Lost));
    }
}
