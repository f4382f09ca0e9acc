//! Steps of the leader: the slot, the stream, and the calls to the shared tier (`feed::postgres::session`
//! and `cache::Leader`).

use coherence::resume::{Resume, resume};
use coherence::{Batch, CoverageDigest, Epoch, Lsn, Watermark};

use crate::model::composition::CompositionRule;
use crate::model::database::event;
use crate::model::leader::{LateCall, Leader};
use crate::model::node::Message;
use crate::model::world::World;

impl World {
    /// Lets a node acquire the slot and continue the epoch or reset it (`Leader::start`).
    pub(crate) fn lead(&mut self, node: usize, position: Lsn) {
        let unbroken = self.nodes[node].led.map(|generation| generation == self.db.generation);
        let start = self.db.start(position, unbroken);
        let found = self.tier.standing().map(|there| (there.epoch, there.applied));
        let epoch = match resume(found, &start, self.draw()) {
            Resume::Continue(epoch) => epoch,
            Resume::Reset(epoch) => {
                self.reset_epoch(epoch, position);
                epoch
            }
        };
        let waits = match found {
            // W is recorded only for positions that are known to be visible.
            _ if self.design.restores_watermark => self.tier.fence.watermark() < position,
            _ => start.new_slot,
        };
        let waits = waits && self.omitted.enforces(CompositionRule::NewSlotWaits);
        self.leader = Some(Leader {
            node,
            epoch,
            start,
            watermark: Watermark::starting(position),
            barrier: waits.then_some(self.db.commits.len() as u64),
            published: (position, Lsn::ZERO),
            shortcut: None,
        });
        self.nodes[node].led = Some(self.db.generation);
        self.db.slot = position;
        self.db.slot_is_new = false;
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws
    }

    fn reset_epoch(&mut self, epoch: Epoch, at: Lsn) {
        let without_watermark = self.omitted.enforces(CompositionRule::EpochResetWithoutWatermark);
        let watermark = if without_watermark { Lsn::ZERO } else { at };
        let message = self.tier.reset_epoch(epoch, at, watermark, self.omitted);
        self.publish(&message);
    }

    fn publish(&mut self, batch: &Batch) {
        for node in self.nodes.iter_mut().filter(|_| self.local) {
            node.stream.push_back(Message::Batch(batch.clone()));
        }
    }

    /// Receives the next commit, or a keepalive, and applies it to the shared tier. False if there is none.
    pub(crate) fn follow(&mut self) -> bool {
        let Some(batch) = self.receive() else { return false };
        self.apply_to_shared(batch);
        true
    }

    /// Takes a snapshot of the primary, and publishes the watermark to the shared tier if it moved.
    pub(crate) fn observe(&mut self) -> bool {
        let Some(leader) = &mut self.leader else { return false };
        if leader.barrier.is_none()
            && !leader.watermark.is_waiting()
            && leader.published.1 != Lsn::ZERO
        {
            return false;
        }
        let snapshot = self.db.snapshot();
        leader.watermark.snapshot(&snapshot);
        if leader.barrier.is_some_and(|xid| xid < snapshot.xmin) {
            leader.barrier = None;
        }
        let (prev, watermark) = (leader.published.0, leader.watermark());
        if watermark == leader.published.1 {
            return false;
        }
        let batch = Batch {
            epoch: leader.epoch,
            prev,
            upto: prev,
            watermark,
            coverage: CoverageDigest::NONE,
            events: Vec::new(),
        };
        self.apply_to_shared(batch);
        true
    }

    fn receive(&mut self) -> Option<Batch> {
        let leader = self.leader.as_mut()?;
        let prev = leader.published.0;
        let (upto, events) = match self.db.next(prev) {
            Some((xid, commit)) => {
                leader.watermark.commit(commit.lsn, xid);
                (commit.lsn, vec![event(commit)])
            }
            None if self.db.end > prev && !self.db.is_dirty() => (self.db.end, Vec::new()),
            None => return None,
        };
        leader.watermark.progress(upto);
        let watermark = leader.watermark();
        Some(Batch {
            epoch: leader.epoch,
            prev,
            upto,
            watermark,
            coverage: CoverageDigest::NONE,
            events,
        })
    }

    /// Applies a batch as `Leader::apply` does, in one call to the shared tier: after a gap the next attempt
    /// applies the same batch in the new epoch.
    fn apply_to_shared(&mut self, batch: Batch) {
        let applied = self.tier.apply(&batch);
        let draw = self.draws + 1;
        let Some(leader) = &mut self.leader else { return };
        if applied.is_err() {
            let (Resume::Reset(epoch) | Resume::Continue(epoch)) =
                resume(None, &leader.start, draw);
            leader.epoch = epoch;
            self.draws = draw;
            self.reset_epoch(epoch, batch.prev);
            return;
        }
        leader.published = (batch.upto, batch.watermark);
        let done = if self.omitted.enforces(CompositionRule::AcknowledgeVisible) {
            batch.upto.min(batch.watermark)
        } else {
            batch.upto
        };
        self.db.acked = self.db.acked.max(done);
        leader.shortcut = self.shortcut.then(|| batch.clone());
        self.publish(&batch);
    }

    /// Applies the next batch to the leader's own tier before the shared tier has it.
    pub(crate) fn apply_ahead(&mut self) -> bool {
        let Some(batch) = self.clone().receive() else { return false };
        let Some(leader) = &self.leader else { return false };
        let node = &mut self.nodes[leader.node];
        let before = node.fence.applied();
        node.apply(&batch, false, self.design, self.omitted);
        node.fence.applied() > before
    }

    /// Lets the leader die while its next batch is in flight.
    pub(crate) fn die_midway(&mut self) -> bool {
        let Some(batch) = self.receive() else { return false };
        let Some(leader) = self.leader.take() else { return false };
        let late = match self.tier.clone().apply(&batch) {
            Ok(()) => LateCall::Apply(batch),
            Err(_) => {
                let (Resume::Reset(epoch) | Resume::Continue(epoch)) =
                    resume(None, &leader.start, self.draw());
                LateCall::ResetEpoch(epoch, batch.prev)
            }
        };
        self.late = Some(late);
        true
    }

    /// Lets the call of a dead leader take effect.
    pub(crate) fn take_late_call(&mut self) {
        match self.late.take() {
            Some(LateCall::Apply(batch)) if self.tier.apply(&batch).is_ok() => self.publish(&batch),
            Some(LateCall::ResetEpoch(epoch, at)) => self.reset_epoch(epoch, at),
            Some(LateCall::Apply(_)) | None => {}
        }
    }
}
