//! Single flight: readers of a key that is being loaded wait for that load.
//!
//! The load runs in a task of its own, so that it outlives the reader that started it. The task's
//! [`FlightGuard`] ends the flight when it is dropped, so that a panic leaves no reader waiting.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::SetOnce;

use crate::engine::error::ReadError;
use crate::origin::Party;

/// The loads in progress, by key.
pub(crate) struct SingleFlight<K, T>(Arc<Mutex<HashMap<K, Flight<T>>>>);

/// Set once a load has an outcome whose value is not complete yet.
pub(crate) type Early<T> = Arc<SetOnce<T>>;

/// Set once a reader of another party has joined a flight.
pub(crate) type Joined = Arc<SetOnce<()>>;

/// A load in progress.
struct Flight<T> {
    waiter: Waiter<T>,
    /// The party of the reader that started it.
    party: Option<Party>,
    joined: Joined,
}

/// A reader that waits for a load in progress.
pub(crate) struct Waiter<T> {
    outcome: Arc<SetOnce<Result<T, ReadError>>>,
    early: Early<T>,
    /// Whether the load was started without a reader (an early refresh).
    pub(crate) background: bool,
}

/// The task that loads.
pub(crate) struct FlightGuard<K: Eq + Hash, T> {
    /// The entry to remove; `None`: the flight can't be joined.
    flight: Option<(SingleFlight<K, T>, K)>,
    outcome: Arc<SetOnce<Result<T, ReadError>>>,
    early: Early<T>,
    joined: Joined,
}

impl<K: Clone + Eq + Hash, T: Clone> SingleFlight<K, T> {
    /// Whether the key is being loaded.
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.lock().contains_key(key)
    }

    /// Returns the number of flights.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Joins the flight of `key`, or starts one for a reader of `party`.
    pub(crate) fn join(
        &self,
        key: &K,
        background: bool,
        party: Option<Party>,
    ) -> (Waiter<T>, Option<FlightGuard<K, T>>) {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(key) {
            if flight.party != party {
                let _ = flight.joined.set(());
            }
            return (flight.waiter.clone(), None);
        }
        let (outcome, joined) = (Arc::new(SetOnce::new()), Joined::default());
        let early = Early::default();
        let waiter =
            Waiter { outcome: Arc::clone(&outcome), early: Arc::clone(&early), background };
        let flight = Flight { waiter: waiter.clone(), party, joined: Arc::clone(&joined) };
        flights.insert(key.clone(), flight);
        let flight = Some((self.clone(), key.clone()));
        let guard = FlightGuard { flight, outcome, early, joined };
        (waiter, Some(guard))
    }

    /// Starts a flight that no other reader can join.
    pub(crate) fn start_unshared() -> (Waiter<T>, FlightGuard<K, T>) {
        let (outcome, early) = (Arc::new(SetOnce::new()), Early::default());
        let waiter =
            Waiter { outcome: Arc::clone(&outcome), early: Arc::clone(&early), background: false };
        (waiter, FlightGuard { flight: None, outcome, early, joined: Joined::default() })
    }
}

impl<K: Eq + Hash, T> FlightGuard<K, T> {
    /// Ends the flight. A read after this finds the stored entry or starts another flight.
    pub(crate) fn finish(mut self, outcome: Result<T, ReadError>) {
        self.remove();
        let _ = self.outcome.set(outcome);
    }

    pub(crate) fn joined(&self) -> Joined {
        Arc::clone(&self.joined)
    }

    pub(crate) fn early(&self) -> Early<T> {
        Arc::clone(&self.early)
    }

    fn remove(&mut self) {
        if let Some((flights, key)) = self.flight.take() {
            flights.0.lock().remove(&key);
        }
    }
}

impl<K: Eq + Hash, T> Drop for FlightGuard<K, T> {
    fn drop(&mut self) {
        self.remove();
        // Takes effect after a panic only: a finished flight has its outcome.
        let _ = self.outcome.set(Err(ReadError::Aborted));
    }
}

impl<T: Clone> Waiter<T> {
    /// Waits for the outcome.
    pub(crate) async fn outcome(&self) -> Result<T, ReadError> {
        self.outcome.wait().await.clone()
    }

    /// Waits for the outcome, or for an early one.
    pub(crate) async fn early_outcome(&self) -> Result<T, ReadError> {
        tokio::select! {
            biased;
            outcome = self.outcome.wait() => outcome.clone(),
            early = self.early.wait() => Ok(early.clone()),
        }
    }
}

impl<K, T> Clone for SingleFlight<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T> Default for SingleFlight<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Waiter<T> {
    fn clone(&self) -> Self {
        let (outcome, early) = (Arc::clone(&self.outcome), Arc::clone(&self.early));
        Self { outcome, early, background: self.background }
    }
}
