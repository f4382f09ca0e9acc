//! One load per set of keys in this process: a crowd that asks for the same product's price and
//! stock costs the origin one snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use contract::Key;
use parking_lot::Mutex;
use tokio::sync::SetOnce;

use crate::engine::answer::ReadError;
use crate::engine::load::Landed;

/// The keys, in order.
pub(in crate::engine) type Set = Arc<[Key]>;

/// What one snapshot showed.
pub(in crate::engine) type Landing = Arc<BTreeMap<Key, Result<Landed, ReadError>>>;

type Outcome = Result<Landing, ReadError>;

/// The sets that are being loaded.
#[derive(Clone, Default)]
pub(in crate::engine) struct Sets(Arc<Mutex<HashMap<Set, Flight>>>);

/// A set that is being loaded.
#[derive(Clone)]
pub(in crate::engine) struct Flight(Arc<SetOnce<Outcome>>);

/// Whoever loads it; dropping it ends the wait of everybody.
pub(in crate::engine) struct Pilot {
    sets: Option<(Sets, Set)>,
    landing: Arc<SetOnce<Outcome>>,
}

impl Sets {
    /// Joins the load of `set`, or begins one; always begins one unless `shared`.
    pub(in crate::engine) fn join(&self, set: &Set, shared: bool) -> (Flight, Option<Pilot>) {
        let mut sets = self.0.lock();
        if let Some(flight) = sets.get(set).filter(|_| shared) {
            return (flight.clone(), None);
        }
        let landing = Arc::new(SetOnce::new());
        let flight = Flight(Arc::clone(&landing));
        if shared {
            sets.insert(Arc::clone(set), flight.clone());
        }
        let sets = shared.then(|| (self.clone(), Arc::clone(set)));
        (flight, Some(Pilot { sets, landing }))
    }
}

impl Pilot {
    /// Ends it. Who asks from now on finds what was stored, or begins another.
    pub(in crate::engine) fn land(mut self, landing: Outcome) {
        self.leave();
        let _ = self.landing.set(landing);
    }

    fn leave(&mut self) {
        if let Some((sets, set)) = self.sets.take() {
            sets.0.lock().remove(&set);
        }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.leave();
        // After a panic; who has landed has said so.
        let _ = self.landing.set(Err(ReadError::Aborted));
    }
}

impl Flight {
    /// Waits for the end.
    pub(in crate::engine) async fn landing(&self) -> Outcome {
        self.0.wait().await.clone()
    }
}
