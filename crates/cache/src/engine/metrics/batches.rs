//! Batches in numbers.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Batches by kind: `plain` or `atomic`.
pub const BATCHES: &str = "tidegate_batches";
/// Items of batches by kind.
pub const ITEMS: &str = "tidegate_batch_items";
/// Calls that batches made, by whom they called: `shared` or `origin`.
pub const ROUND_TRIPS: &str = "tidegate_batch_round_trips";
/// Read-atomic batches by who answered: `local`, `shared`, `origin`, or `none`.
pub const ATOMIC: &str = "tidegate_atomic_batches";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct TierLabel {
    tier: &'static str,
}

/// What kind of batch.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Kind {
    Plain,
    Atomic,
}

#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Batches {
    batches: Family<KindLabel, Counter>,
    items: Family<KindLabel, Counter>,
    round_trips: Family<TierLabel, Counter>,
    atomic: Family<TierLabel, Counter>,
}

impl Batches {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(BATCHES, "Batches of reads", self.batches.clone());
        registry.register(ITEMS, "Items of batches", self.items.clone());
        registry.register(ROUND_TRIPS, "Calls that batches made", self.round_trips.clone());
        registry.register(ATOMIC, "Read-atomic batches by who answered", self.atomic.clone());
    }

    pub(in crate::engine) fn asked(&self, kind: Kind, items: usize) {
        let kind = match kind {
            Kind::Plain => "plain",
            Kind::Atomic => "atomic",
        };
        let label = KindLabel { kind };
        self.batches.get_or_create(&label).inc();
        self.items.get_or_create(&label).inc_by(items as u64);
    }

    pub(in crate::engine) fn round_trip(&self, tier: &'static str) {
        self.round_trips.get_or_create(&TierLabel { tier }).inc();
    }

    pub(in crate::engine) fn answered(&self, tier: &'static str) {
        self.atomic.get_or_create(&TierLabel { tier }).inc();
    }
}
