//! Batching: one call to the ledger at a time for each lane, with all requests that have arrived meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::keys::KeyGuard;
use crate::ledger::LedgerError;

/// The most requests in a call. The gain of larger ones is small, and each waits for all others in its call.
const BATCH_MAX: usize = 256;

/// The most requests that wait, over all lanes.
const WAITING_MAX: usize = 20_000;

/// The pauses before a call that got no answer is repeated. The ledger knows the keys of requests that had their
/// effect, so a repeat is safe.
const RETRY_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(2),
];

/// Executes batches.
#[async_trait]
pub(super) trait BatchCall: Send + Sync + 'static {
    type Item: Clone + Send + Sync + 'static;
    type Outcome: Send + 'static;

    /// Returns a number that differs for items that may be in one call.
    fn identity(item: &Self::Item) -> u128;

    /// Returns an outcome for each item.
    async fn call(&self, batch: Arc<[Self::Item]>) -> Result<Vec<Self::Outcome>, LedgerError>;
}

/// Why a request has no outcome.
#[derive(Clone, Debug)]
pub(super) enum NoOutcome {
    /// Too many requests wait.
    Overloaded,
    /// The ledger's error.
    Ledger(Arc<LedgerError>),
    /// The process ends.
    Stopped,
}

/// A request that waits for its outcome.
struct Client<C: BatchCall> {
    reply: oneshot::Sender<Result<C::Outcome, NoOutcome>>,
    slot: Slot,
    /// Keeps the request's key in flight, also when its client has gone.
    key: Option<KeyGuard>,
}

impl<C: BatchCall> Client<C> {
    fn answer(self, outcome: Result<C::Outcome, NoOutcome>) {
        // A client that has its answer may repeat the request at once.
        drop((self.key, self.slot));
        // An error means that the client has gone.
        let _ = self.reply.send(outcome);
    }
}

type Waiting<C> = (<C as BatchCall>::Item, Client<C>);
type Queue<C> = VecDeque<Waiting<C>>;

/// One of the requests that may wait.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let slot = Self(Arc::clone(waiting));
        (before < WAITING_MAX).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lanes.
pub(super) struct Lanes<C: BatchCall> {
    call: C,
    /// A lane is in the map as long as a task executes its requests.
    lanes: Mutex<HashMap<u32, Queue<C>>>,
    waiting: Arc<AtomicUsize>,
}

impl<C: BatchCall> Lanes<C> {
    pub(super) fn new(call: C) -> Arc<Self> {
        Arc::new(Self { call, lanes: Mutex::default(), waiting: Arc::default() })
    }

    /// Returns the outcome of `item`. It is executed also if this future is dropped.
    pub(super) async fn submit(
        self: &Arc<Self>,
        lane: u32,
        item: C::Item,
        key: Option<KeyGuard>,
    ) -> Result<C::Outcome, NoOutcome> {
        let slot = Slot::take(&self.waiting).ok_or(NoOutcome::Overloaded)?;
        let (reply, outcome) = oneshot::channel();
        let waiting = (item, Client { reply, slot, key });
        let is_new = {
            let mut lanes = self.lanes.lock();
            let is_new = !lanes.contains_key(&lane);
            lanes.entry(lane).or_default().push_back(waiting);
            is_new
        };
        if is_new {
            let running = RunningLane { lanes: Arc::clone(self), lane };
            tokio::spawn(running.run());
        }
        outcome.await.unwrap_or(Err(NoOutcome::Stopped))
    }

    /// Takes the next batch of a lane; an empty one ends the lane.
    fn take(&self, lane: u32) -> Vec<Waiting<C>> {
        let mut lanes = self.lanes.lock();
        let Some(queue) = lanes.get_mut(&lane) else { return Vec::new() };
        let (mut batch, mut left, mut seen) = (Vec::new(), VecDeque::new(), HashSet::new());
        while let Some(waiting) = queue.pop_front() {
            if seen.insert(C::identity(&waiting.0)) {
                batch.push(waiting);
            } else {
                left.push_back(waiting);
            }
            if batch.len() == BATCH_MAX {
                break;
            }
        }
        left.append(queue);
        *queue = left;
        if batch.is_empty() {
            lanes.remove(&lane);
        }
        batch
    }

    async fn execute(&self, batch: Vec<Waiting<C>>) {
        let (items, clients): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let items: Arc<[C::Item]> = items.into();
        match self.call_again(&items).await {
            Ok(outcomes) => {
                for (client, outcome) in clients.into_iter().zip(outcomes) {
                    client.answer(Ok(outcome));
                }
            }
            // One request that the database refuses must not fail its neighbours.
            Err(err) if items.len() > 1 && !err.is_transient() => {
                for (item, client) in items.iter().zip(clients) {
                    client.answer(self.execute_alone(item.clone()).await);
                }
            }
            Err(err) => {
                let err = Arc::new(err);
                for client in clients {
                    client.answer(Err(NoOutcome::Ledger(Arc::clone(&err))));
                }
            }
        }
    }

    async fn execute_alone(&self, item: C::Item) -> Result<C::Outcome, NoOutcome> {
        let outcomes = self.call_again(&Arc::from([item])).await;
        let mut outcomes = outcomes.map_err(|err| NoOutcome::Ledger(Arc::new(err)))?;
        outcomes.pop().ok_or_else(|| {
            NoOutcome::Ledger(Arc::new(LedgerError::Unreadable("no outcome".to_owned())))
        })
    }

    /// Calls until there is an answer, for a few seconds.
    async fn call_again(&self, items: &Arc<[C::Item]>) -> Result<Vec<C::Outcome>, LedgerError> {
        for pause in RETRY_PAUSES {
            match self.call.call(Arc::clone(items)).await {
                Err(err) if err.is_transient() => {
                    tracing::debug!(error = %err, requests = items.len(), "no answer; the call is repeated");
                    tokio::time::sleep(pause).await;
                }
                answered => return answered,
            }
        }
        self.call.call(Arc::clone(items)).await
    }
}

/// The task of a lane.
struct RunningLane<C: BatchCall> {
    lanes: Arc<Lanes<C>>,
    lane: u32,
}

impl<C: BatchCall> RunningLane<C> {
    async fn run(self) {
        loop {
            let batch = self.lanes.take(self.lane);
            if batch.is_empty() {
                return;
            }
            self.lanes.execute(batch).await;
            // Clients that have just been answered, and ask again at once, are in the next call together. Else the
            // first of them would be a call of its own, for which all others wait.
            tokio::task::yield_now().await;
        }
    }
}

/// If a call panics, the requests that wait must not wait for ever.
impl<C: BatchCall> Drop for RunningLane<C> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.lanes.lanes.lock().remove(&self.lane);
        }
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
