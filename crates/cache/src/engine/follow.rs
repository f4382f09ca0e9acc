//! Keeping the in-process tier right: the node stream and the leader's shortcut.

use std::time::Duration;

use coherence::fence::Gap;
use coherence::{Batch, Event, Lsn, Subject};

use super::{Engine, Inner};
use crate::audit::{Felled, MOST_KEYS, Note};
use crate::local::Applied;
use crate::shared::NodeMessage;

/// Before subscribing again when a subscription has ended.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Follows the shared tier's node stream and applies it to the in-process tier, until
    /// `shutdown` resolves; and reminds the shared tier of what is used here, where contracts say that
    /// uses prolong lives. Run it once per process: until then the tier has no history, stores nothing
    /// and proves nothing.
    pub async fn follow(&self, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        let remind = self.remind();
        tokio::pin!(remind);
        loop {
            let mut messages = self.inner.port.tier.subscribe();
            loop {
                let message = tokio::select! {
                    biased;
                    () = &mut shutdown => return,
                    message = messages.recv() => message,
                    never = &mut remind => match never {},
                };
                let Some(message) = message else { break };
                self.receive(message);
            }
            // A new subscription says nothing about what came between.
            self.inner.local.lose();
            tokio::select! {
                biased;
                () = &mut shutdown => return,
                () = tokio::time::sleep(RESUBSCRIBE_PAUSE) => {}
                never = &mut remind => match never {},
            }
        }
    }

    /// Drops entries at once, in the shared tier (which tells the other nodes) and then here, so that
    /// this node's next answer is not from them. It carries no position and raises no fence: a load
    /// that is under way may bring what it read before. Nothing is told if the shared tier is away.
    pub async fn evict(&self, subjects: &[Subject]) {
        let port = &self.inner.port;
        port.call(port.tier.evict(subjects)).await;
        self.inner.local.evict(subjects);
    }

    fn receive(&self, message: NodeMessage) {
        match message {
            NodeMessage::Batch(batch) => self.apply(&batch, true),
            NodeMessage::Evict(subjects) => self.inner.local.evict(&subjects),
            NodeMessage::Lost => {
                self.inner.metrics.restart("lost");
                tracing::info!("the node stream broke off; the in-process tier begins anew");
                self.inner.local.lose();
            }
        }
    }

    /// The leader's shortcut: `batch` is on its way to the shared tier, or there, and this node need
    /// not wait for the stream, which will bring it again. A batch that does not fit is left to the
    /// stream, which is in order.
    pub fn applied(&self, batch: &Batch) {
        self.apply(batch, false);
    }

    fn apply(&self, batch: &Batch, in_order: bool) {
        let inner = &self.inner;
        let before = inner.local.applied();
        let met = inner.met(batch, before);
        match inner.local.apply(batch, inner.clock.mono(), in_order) {
            Applied::Whole => {
                let new = batch.events.iter().filter(|event| event.lsn > before);
                new.for_each(|event| self.observe(event));
                met.into_iter().for_each(|met| inner.tell(|| Note::Event(met)));
            }
            Applied::Missed(_) => {}
            Applied::Restarted(gap) => {
                inner.metrics.restart(reason(gap));
                tracing::info!(
                    %gap, epoch = %batch.epoch, upto = %batch.upto,
                    "the in-process tier begins anew"
                );
            }
        }
    }

    fn observe(&self, event: &Event) {
        if event.committed_us > 0 {
            let now_us = self.inner.clock.wall_us();
            let lag_us = now_us.saturating_sub(event.committed_us);
            self.inner.metrics.apply_seconds.observe(lag_us as f64 / 1e6);
        }
    }
}

impl Inner {
    /// What the new events of a batch meet in this node; asked before they are applied, and only
    /// where somebody wants to know.
    fn met(&self, batch: &Batch, before: Lsn) -> Vec<Felled> {
        if self.witness.get().is_none() {
            return Vec::new();
        }
        let new = batch.events.iter().filter(|event| event.lsn > before);
        new.map(|event| {
            let named = event.subjects.iter().filter_map(|subject| match subject {
                Subject::Key(key) => Some(key),
                _ => None,
            });
            Felled {
                lsn: event.lsn,
                cause: event.cause,
                committed_us: event.committed_us,
                subjects: event.subjects.iter().take(MOST_KEYS).cloned().collect(),
                felled: self.local.would_fell(event, MOST_KEYS),
                loading: named.filter(|key| self.board.has(key)).take(MOST_KEYS).cloned().collect(),
            }
        })
        .collect()
    }
}

fn reason(gap: Gap) -> &'static str {
    match gap {
        Gap::Unproven => "new",
        Gap::Epoch { .. } => "epoch",
        Gap::Missing { .. } => "gap",
    }
}
