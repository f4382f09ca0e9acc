//! The auditor's queue of events, from the engine and from sampled answers.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cache::audit::{AnswerRecord, EngineEvent, EngineObserver, LoadTarget};
use cache::{Answer, Chance, Policy, Tier};
use contract::Key;
use tokio::sync::mpsc;

/// The length of the queue; further events are dropped and counted.
const QUEUE_EVENTS: usize = 4_096;

/// Queues events without ever waiting.
pub(super) struct EventQueue {
    events: mpsc::Sender<EngineEvent>,
    dropped: AtomicU64,
}

impl EventQueue {
    pub(super) fn new() -> (Self, mpsc::Receiver<EngineEvent>) {
        let (events, receiver) = mpsc::channel(QUEUE_EVENTS);
        (Self { events, dropped: AtomicU64::new(0) }, receiver)
    }

    /// Returns the number of events dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, event: EngineEvent) {
        if self.events.try_send(event).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl EngineObserver for EventQueue {
    fn observe(&self, event: EngineEvent) {
        self.push(event);
    }
}

thread_local! {
    /// Answers of this thread until the next one is sampled; 0: not drawn yet. Per thread, so that the
    /// threads that answer share no cache line. Unused where every answer is sampled.
    static UNTIL_SAMPLE: Cell<u64> = const { Cell::new(0) };
}

/// Hands a share of the answers that clients get to the auditor.
pub struct AnswerSampler {
    queue: Arc<EventQueue>,
    chance: Arc<dyn Chance>,
    share: f64,
}

impl AnswerSampler {
    /// `share`: more than 0, at most 1.
    pub(super) fn new(queue: Arc<EventQueue>, chance: Arc<dyn Chance>, share: f64) -> Self {
        Self { queue, chance, share }
    }

    /// Samples an answer that is about to be sent. `id` is the value's id as the client named it.
    pub fn answered(&self, key: &Key, id: &str, policy: &Policy, answer: &Answer) {
        // An answer from the origin says nothing about a tier.
        if !self.draw() || answer.proof().tier == Tier::Origin {
            return;
        }
        let contract = Arc::clone(&policy.rules.name);
        let target = LoadTarget { key: key.clone(), id: id.into(), contract };
        let content = answer.entry.content();
        self.queue.push(EngineEvent::Answer(AnswerRecord { target, content }));
    }

    /// Returns whether this answer is sampled.
    fn draw(&self) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        let left = UNTIL_SAMPLE.get();
        if left > 1 {
            UNTIL_SAMPLE.set(left - 1);
            return false;
        }
        UNTIL_SAMPLE.set(gap(self.share, self.chance.unit()));
        // The first answer of a thread only draws.
        left != 0
    }
}

/// Returns the distance to the next sampled answer, where each is sampled with probability `share`, between
/// 0 and 1, both excluded. `u` is uniform in [0, 1).
fn gap(share: f64, u: f64) -> u64 {
    // Geometric, by inversion; the cast saturates.
    1 + ((1.0 - u).ln() / (-share).ln_1p()) as u64
}

#[cfg(test)]
mod tests {
    use super::gap;

    #[test]
    fn sampling_gap_averages_inverse_share() {
        let draws = 10_000;
        let total: u64 = (0..draws).map(|n| gap(0.001, f64::from(n) / f64::from(draws))).sum();
        let mean = total as f64 / f64::from(draws);
        assert!((980.0..1_020.0).contains(&mean), "{mean}");
    }
}
