//! The node stream and the leader's shortcut, which keep the in-process tier coherent.

use std::time::Duration;

use coherence::fence::Gap;
use coherence::{Batch, Event, Followed, Lsn, Subject};
use contract::Key;

use crate::engine::handle::Engine;
use crate::engine::observer::{EngineEvent, InvalidationRecord, MAX_KEYS_PER_EVENT};
use crate::shared::NodeMessage;

/// The pause before subscribing again after a subscription has ended.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Applies the shared tier's node stream to the in-process tier until `shutdown` resolves, removes the
    /// entries that large invalidations have left, and reports touches to the shared tier, where contracts
    /// have a sliding TTL. Run it once per process: until then the tier has no epoch, stores nothing and
    /// proves nothing.
    pub async fn follow(&self, shutdown: impl Future<Output = ()> + Send) {
        tokio::pin!(shutdown);
        let background = async {
            let (tiers, sweep) = (self.tiers(), self.tiers().local.sweep());
            tokio::select! {
                never = tiers.report_touches() => never,
                never = sweep => never,
            }
        };
        tokio::pin!(background);
        loop {
            let mut messages = self.tiers().shared.tier.subscribe();
            loop {
                let message = tokio::select! {
                    biased;
                    () = &mut shutdown => return,
                    message = messages.recv() => message,
                    never = &mut background => match never {},
                };
                let Some(message) = message else { break };
                self.receive(message);
                if self.tiers().local.lacks_coverage() {
                    self.learn_coverage().await;
                }
            }
            // A new subscription does not bring the messages in between.
            self.tiers().local.reset();
            tokio::select! {
                biased;
                () = &mut shutdown => return,
                () = tokio::time::sleep(RESUBSCRIBE_PAUSE) => {}
                never = &mut background => match never {},
            }
        }
    }

    /// Reads the mappings of a leader that has other contracts than this node.
    async fn learn_coverage(&self) {
        let tiers = self.tiers();
        if let Some(leadership) = tiers.shared.call(tiers.shared.tier.leadership()).await {
            tiers.local.learn_coverage(leadership.coverage);
        }
    }

    /// Evicts entries, in the shared tier (which forwards the eviction to the other nodes) and then here, so
    /// that this node's next answer is not from them. An eviction has no position and raises no fence: a load
    /// in progress may store the value that it read before. While the shared tier fails, other nodes evict
    /// nothing.
    pub async fn evict(&self, subjects: &[Subject]) {
        let tiers = self.tiers();
        tiers.shared.call(tiers.shared.tier.evict(subjects)).await;
        tiers.local.evict(subjects);
    }

    fn receive(&self, message: NodeMessage) {
        match message {
            NodeMessage::Batch(batch) => self.apply(&batch, true),
            NodeMessage::Evict(subjects) => self.tiers().local.evict(&subjects),
            NodeMessage::Lost => {
                self.tiers().metrics.restart("lost");
                tracing::info!("the node stream was interrupted; resetting the in-process tier");
                self.tiers().local.reset();
            }
        }
    }

    /// Applies a batch by the leader's shortcut: it is on its way to the shared tier, or there, and this node
    /// does not wait for the stream, which will bring it again. A batch that does not follow the applied
    /// position is left to the stream, which is in order.
    pub fn applied(&self, batch: &Batch) {
        self.apply(batch, false);
    }

    fn apply(&self, batch: &Batch, in_order: bool) {
        let tiers = self.tiers();
        let before = tiers.local.applied();
        let records = self.invalidation_records(batch, before);
        match tiers.local.apply(batch, tiers.now(), in_order) {
            Followed::Applied => {
                let new = batch.events.iter().filter(|event| event.lsn > before);
                new.for_each(|event| self.observe_delay(event));
                for record in records {
                    tiers.report(|| EngineEvent::Invalidation(record));
                }
            }
            Followed::Repeated | Followed::Gap(_) => {}
            Followed::Reset(gap) => {
                tiers.metrics.restart(reason(gap));
                tracing::info!(
                    %gap, epoch = %batch.epoch, upto = %batch.upto,
                    "gap in the node stream; the in-process tier has been reset"
                );
            }
        }
    }

    fn observe_delay(&self, event: &Event) {
        if event.committed_us > 0 {
            let now_us = self.tiers().clock.wall_us();
            let delay_us = now_us.saturating_sub(event.committed_us);
            self.tiers().metrics.apply_seconds.observe(delay_us as f64 / 1e6);
        }
    }

    /// The copies and loads of this node that the new events of a batch invalidate; taken before they are
    /// applied, and only if there is an observer.
    fn invalidation_records(&self, batch: &Batch, before: Lsn) -> Vec<InvalidationRecord> {
        if !self.tiers().is_observed() {
            return Vec::new();
        }
        let new = batch.events.iter().filter(|event| event.lsn > before);
        new.map(|event| InvalidationRecord {
            lsn: event.lsn,
            cause: event.cause,
            committed_us: event.committed_us,
            subjects: event.subjects.iter().take(MAX_KEYS_PER_EVENT).cloned().collect(),
            invalidated: self.tiers().local.keys_invalidated_by(event, MAX_KEYS_PER_EVENT),
            loading: self.keys_loading(event),
        })
        .collect()
    }

    /// The keys of an event that are being loaded.
    fn keys_loading(&self, event: &Event) -> Vec<Key> {
        let keys = event.subjects.iter().filter_map(|subject| match subject {
            Subject::Key(key) => Some(key),
            _ => None,
        });
        let loading = keys.filter(|key| self.inner.coalescer.keys.contains(key));
        loading.take(MAX_KEYS_PER_EVENT).cloned().collect()
    }
}

fn reason(gap: Gap) -> &'static str {
    match gap {
        Gap::Unproven => "new",
        // An in-process tier takes over the mappings of a batch.
        Gap::Epoch { .. } | Gap::Coverage { .. } => "epoch",
        Gap::Missing { .. } => "gap",
    }
}
