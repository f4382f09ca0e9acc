//! The metrics of batches.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Batches by kind: `plain` or `atomic`.
pub const BATCHES: &str = "tidegate_batches";
/// Items of batches by kind.
pub const ITEMS: &str = "tidegate_batch_items";
/// Round trips of batches by destination: `shared` or `origin`.
pub const ROUND_TRIPS: &str = "tidegate_batch_round_trips";
/// Atomic batches by the tier that answered: `local`, `shared`, `origin`, or `none`.
pub const ATOMIC: &str = "tidegate_atomic_batches";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct TierLabel {
    tier: &'static str,
}

/// The kind of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BatchKind {
    Plain,
    Atomic,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct BatchMetrics {
    batches: Family<KindLabel, Counter>,
    items: Family<KindLabel, Counter>,
    round_trips: Family<TierLabel, Counter>,
    atomic: Family<TierLabel, Counter>,
}

impl BatchMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(BATCHES, "Batches of reads", self.batches.clone());
        registry.register(ITEMS, "Items of batches", self.items.clone());
        registry.register(ROUND_TRIPS, "Round trips of batches", self.round_trips.clone());
        registry.register(ATOMIC, "Atomic batches by the tier that answered", self.atomic.clone());
    }

    pub(crate) fn requested(&self, kind: BatchKind, items: usize) {
        let kind = match kind {
            BatchKind::Plain => "plain",
            BatchKind::Atomic => "atomic",
        };
        let label = KindLabel { kind };
        self.batches.get_or_create(&label).inc();
        self.items.get_or_create(&label).inc_by(items as u64);
    }

    pub(crate) fn round_trip(&self, tier: &'static str) {
        self.round_trips.get_or_create(&TierLabel { tier }).inc();
    }

    pub(crate) fn answered(&self, tier: &'static str) {
        self.atomic.get_or_create(&TierLabel { tier }).inc();
    }
}
