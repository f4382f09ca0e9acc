//! The loads in progress in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::Key;

use super::single_flight::{FlightGuard, SingleFlight, Waiter};
use crate::engine::error::ReadError;
use crate::engine::load::LoadOutcome;

/// The keys of an atomic batch, in order.
pub(crate) type KeySet = Arc<[Key]>;

/// The outcome of an atomic load: one snapshot, with a result per key.
pub(crate) type SetOutcome = Arc<BTreeMap<Key, Result<LoadOutcome, ReadError>>>;

/// The loads in progress in this process, by key and by set of keys: many concurrent readers of the same
/// product's price and stock cost the origin one snapshot.
#[derive(Default)]
pub(crate) struct Coalescer {
    pub(crate) keys: SingleFlight<Key, LoadOutcome>,
    pub(crate) sets: SingleFlight<KeySet, SetOutcome>,
}

impl Coalescer {
    /// Joins the load of a set of keys, or starts one; always starts one unless `may_join`.
    pub(crate) fn join_set(
        &self,
        set: &KeySet,
        may_join: bool,
    ) -> (Waiter<SetOutcome>, Option<FlightGuard<KeySet, SetOutcome>>) {
        if may_join {
            return self.sets.join(set, false, None);
        }
        let (waiter, guard) = SingleFlight::start_unshared();
        (waiter, Some(guard))
    }
}
