//! The node that follows the log: feed session (`feed::postgres::session`) and `cache::Leader`.

use coherence::resume::{Resume, Start, resume};
use coherence::{Batch, Epoch, Lsn, Watermark};

use crate::database::event;
use crate::habit::Habit;
use crate::node::Message;
use crate::world::World;

/// Who leads, and what it knows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Leader {
    /// Which node.
    pub node: usize,
    /// The history it writes.
    pub epoch: Epoch,
    start: Start,
    watermark: Watermark,
    after: Option<u64>,
    /// What the tiers were told: received up to here, with that watermark.
    told: (Lsn, Lsn),
    /// Applied to the shared tier, and not yet to the leader's own.
    pub shortcut: Option<Batch>,
}

/// A call to the shared tier whose caller is gone.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Late {
    /// A piece of the log.
    Apply(Batch),
    /// A new history.
    Begin(Epoch, Lsn),
}

impl Leader {
    fn watermark(&self) -> Lsn {
        if self.after.is_some() { Lsn::ZERO } else { self.watermark.visible() }
    }
}

impl World {
    /// A node gets hold of the slot: goes on, or begins a new history (`Leader::start`).
    pub(crate) fn lead(&mut self, node: usize, position: Lsn) {
        let unbroken = self.nodes[node].led.map(|life| life == self.db.life);
        let start = self.db.start(position, unbroken);
        let found = self.tier.standing().map(|there| (there.epoch, there.applied));
        let epoch = match resume(found, &start, self.draw()) {
            Resume::Continue(epoch) => epoch,
            Resume::Begin(epoch) => {
                self.begin(epoch, position);
                epoch
            }
        };
        let waits = match found {
            // W is not recorded for what was never seen.
            _ if self.design.starts_seen => self.tier.fence.watermark() < position,
            _ => start.new_slot,
        };
        let waits = waits && self.without.has(Habit::NewSlotWaits);
        self.leader = Some(Leader {
            node,
            epoch,
            start,
            watermark: Watermark::starting(position),
            after: waits.then_some(self.db.commits.len() as u64),
            told: (position, Lsn::ZERO),
            shortcut: None,
        });
        self.nodes[node].led = Some(self.db.life);
        self.db.slot = position;
        self.db.slot_is_new = false;
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws
    }

    fn begin(&mut self, epoch: Epoch, at: Lsn) {
        let blind = self.without.has(Habit::BeginningWithoutWatermark);
        let watermark = if blind { Lsn::ZERO } else { at };
        let told = self.tier.incarnate(epoch, at, watermark, self.without);
        self.publish(&told);
    }

    fn publish(&mut self, batch: &Batch) {
        for node in self.nodes.iter_mut().filter(|_| self.local) {
            node.stream.push_back(Message::Batch(batch.clone()));
        }
    }

    /// The next commit arrives, or a keepalive; the piece goes to the shared tier. False: there is
    /// nothing.
    pub(crate) fn follow(&mut self) -> bool {
        let Some(piece) = self.receive() else { return false };
        self.hand_on(piece);
        true
    }

    /// A snapshot of the primary is taken, and a watermark that moved goes to the shared tier.
    pub(crate) fn look(&mut self) -> bool {
        let Some(leader) = &mut self.leader else { return false };
        if leader.after.is_none() && !leader.watermark.is_waiting() && leader.told.1 != Lsn::ZERO {
            return false;
        }
        let snapshot = self.db.snapshot();
        leader.watermark.snapshot(&snapshot);
        if leader.after.is_some_and(|xid| xid < snapshot.xmin) {
            leader.after = None;
        }
        let (prev, watermark) = (leader.told.0, leader.watermark());
        if watermark == leader.told.1 {
            return false;
        }
        let batch = Batch { epoch: leader.epoch, prev, upto: prev, watermark, events: Vec::new() };
        self.hand_on(batch);
        true
    }

    fn receive(&mut self) -> Option<Batch> {
        let leader = self.leader.as_mut()?;
        let prev = leader.told.0;
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
        Some(Batch { epoch: leader.epoch, prev, upto, watermark, events })
    }

    /// `Leader::apply`, as far as one call to the shared tier goes: after a gap the next try brings
    /// the same piece to the new history.
    fn hand_on(&mut self, batch: Batch) {
        let applied = self.tier.apply(&batch);
        let draw = self.draws + 1;
        let Some(leader) = &mut self.leader else { return };
        if applied.is_err() {
            let (Resume::Begin(epoch) | Resume::Continue(epoch)) =
                resume(None, &leader.start, draw);
            leader.epoch = epoch;
            self.draws = draw;
            self.begin(epoch, batch.prev);
            return;
        }
        leader.told = (batch.upto, batch.watermark);
        let done = if self.without.has(Habit::AcknowledgeVisible) {
            batch.upto.min(batch.watermark)
        } else {
            batch.upto
        };
        self.db.acked = self.db.acked.max(done);
        leader.shortcut = self.shortcut.then(|| batch.clone());
        self.publish(&batch);
    }

    /// The leader's own tier applies the next piece before the shared tier has.
    pub(crate) fn run_ahead(&mut self) -> bool {
        let Some(batch) = self.clone().receive() else { return false };
        let Some(leader) = &self.leader else { return false };
        let node = &mut self.nodes[leader.node];
        let before = node.fence.applied();
        node.apply(&batch, false, self.design, self.without);
        node.fence.applied() > before
    }

    /// The leader dies while its next piece is on its way.
    pub(crate) fn die_midway(&mut self) -> bool {
        let Some(batch) = self.receive() else { return false };
        let Some(leader) = self.leader.take() else { return false };
        let late = match self.tier.clone().apply(&batch) {
            Ok(()) => Late::Apply(batch),
            Err(_) => {
                let (Resume::Begin(epoch) | Resume::Continue(epoch)) =
                    resume(None, &leader.start, self.draw());
                Late::Begin(epoch, batch.prev)
            }
        };
        self.late = Some(late);
        true
    }

    /// The call of a leader that is gone takes effect.
    pub(crate) fn late(&mut self) {
        match self.late.take() {
            Some(Late::Apply(batch)) if self.tier.apply(&batch).is_ok() => self.publish(&batch),
            Some(Late::Begin(epoch, at)) => self.begin(epoch, at),
            Some(Late::Apply(_)) | None => {}
        }
    }
}
