//! The auditor at work: asks the tiers and the database what `cache::audit` wants to know.

mod metrics;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache::audit::{Answered, Auditor, Look, Named, Note, Options, Question, Step, Witness};
use cache::{Answer, Engine, Policy};
use coherence::Clock;
use contract::Key;
use edge::data::{DataFace, Sampler};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use self::metrics::AuditMetrics;
use super::connect::Truth;
use crate::config;

/// Notes that may wait; more are dropped and counted.
const NOTES: usize = 4_096;

/// Notes taken between two looks.
const NOTES_AT_ONCE: usize = 256;

/// How long the database has for one answer to the auditor.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node's auditor.
pub(super) struct Audit {
    auditor: Mutex<Auditor>,
    engine: Engine,
    truths: BTreeMap<Arc<str>, Truth>,
    clock: Arc<dyn Clock>,
    notes: tokio::sync::Mutex<mpsc::Receiver<Note>>,
    ear: Arc<Ear>,
    metrics: AuditMetrics,
}

/// Hears what the engine and the data face do. It never waits.
struct Ear {
    notes: mpsc::Sender<Note>,
    dropped: AtomicU64,
    sample: f64,
}

impl Audit {
    pub(super) fn new(
        config: config::Audit,
        engine: &Engine,
        truths: BTreeMap<Arc<str>, Truth>,
        clock: &Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let (sender, notes) = mpsc::channel(NOTES);
        let options = Options { reads_per_second: config.reads_per_second, ..Options::default() };
        let budget = |(name, truth): (&Arc<str>, &Truth)| (Arc::clone(name), truth.policy.budget);
        let auditor = Auditor::new(options, truths.iter().map(budget), clock.mono());
        let ear = Ear { notes: sender, dropped: AtomicU64::new(0), sample: config.sample };
        Arc::new(Self {
            auditor: Mutex::new(auditor),
            engine: engine.clone(),
            truths,
            clock: Arc::clone(clock),
            notes: tokio::sync::Mutex::new(notes),
            ear: Arc::new(ear),
            metrics: AuditMetrics::new(registry),
        })
    }

    /// Begins to listen to the engine, and to a share of what the data face answers.
    pub(super) fn listen(&self, data: DataFace) -> DataFace {
        if self.truths.is_empty() {
            return data;
        }
        let ear = Arc::clone(&self.ear);
        self.engine.witness(Arc::clone(&ear) as Arc<dyn Witness>);
        if ear.sample > 0.0 { data.with_sampler(ear) } else { data }
    }

    /// Audits for ever.
    pub(super) async fn run(&self) {
        let mut notes = self.notes.lock().await;
        let mut heard = Vec::new();
        loop {
            let step = self.auditor.lock().next(self.clock.mono());
            match step {
                Step::Ask(question) => {
                    let look = self.look(&question).await;
                    self.auditor.lock().answered(&question, &look);
                    while heard.len() < NOTES_AT_ONCE
                        && let Ok(note) = notes.try_recv()
                    {
                        heard.push(note);
                    }
                }
                Step::Idle(until) => {
                    let pause = until.map_or(PATIENCE, |at| at.since(self.clock.mono()));
                    let waiting = notes.recv_many(&mut heard, NOTES_AT_ONCE);
                    // Nothing heard in time is as good.
                    let _ = tokio::time::timeout(pause, waiting).await;
                }
            }
            self.take(&mut heard);
        }
    }

    fn take(&self, heard: &mut Vec<Note>) {
        let (now, wall_us) = (self.clock.mono(), self.clock.wall_us());
        let mut auditor = self.auditor.lock();
        for note in heard.drain(..) {
            auditor.note(note, now, wall_us);
        }
        auditor.dropped(self.ear.dropped.load(Ordering::Relaxed));
        self.metrics.show(auditor.counts());
    }

    /// Looks at the tiers first and asks the database afterwards, so that what the tiers held can't
    /// be newer than what it says.
    async fn look(&self, question: &Question) -> Look {
        let at = self.clock.mono();
        let seen = self.see(&question.named).await;
        Look { at, done: self.clock.mono(), wall_ms: self.clock.wall_ms(), seen }
    }

    async fn see(&self, named: &Named) -> Option<(Vec<cache::Holding>, cache::Content)> {
        let truth = self.truths.get(&named.contract)?;
        let holdings = match self.engine.inspect(&named.key, &truth.policy).await {
            Ok(holdings) => holdings,
            Err(err) => {
                tracing::debug!(key = %named.key, error = %err, "a tier could not be audited");
                return None;
            }
        };
        let load = truth.origin.load(&named.key, &named.id);
        match tokio::time::timeout(PATIENCE, load).await {
            Ok(Ok(loaded)) => Some((holdings, loaded.content)),
            Ok(Err(err)) => {
                tracing::debug!(key = %named.key, error = %err, "the database could not be asked");
                None
            }
            Err(_) => None,
        }
    }

    /// Everything found so far, for the admin API.
    pub(super) fn report(&self) -> serde_json::Value {
        let report = self.auditor.lock().report();
        serde_json::to_value(report).unwrap_or_default()
    }
}

impl Ear {
    fn hear(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Witness for Ear {
    fn note(&self, note: Note) {
        self.hear(note);
    }
}

thread_local! {
    /// Answers of this thread until the next one is sampled; 0: not drawn yet.
    static UNTIL_SAMPLE: Cell<u64> = const { Cell::new(0) };
}

impl Sampler for Ear {
    fn answered(&self, key: &Key, id: &str, policy: &Policy, answer: &Answer) {
        let left = UNTIL_SAMPLE.get();
        if left > 1 {
            UNTIL_SAMPLE.set(left - 1);
            return;
        }
        UNTIL_SAMPLE.set(gap(self.sample, rand::random()));
        // The first answer of a thread only draws; what comes from the origin is not a tier's word.
        if left == 0 && self.sample < 1.0 || answer.proof().tier == cache::Tier::Origin {
            return;
        }
        let named = Named { key: key.clone(), id: id.into(), contract: Arc::clone(&policy.name) };
        self.hear(Note::Answer(Answered { named, content: answer.entry.content.clone() }));
    }
}

/// How many answers to the next sampled one, where each is sampled with chance `share`, which is
/// more than 0. `u` is uniform in [0, 1).
fn gap(share: f64, u: f64) -> u64 {
    if share >= 1.0 {
        return 1;
    }
    // Geometric, by inversion; the cast saturates.
    1 + ((1.0 - u).ln() / (-share).ln_1p()) as u64
}

#[cfg(test)]
mod tests {
    use super::gap;

    #[test]
    fn one_answer_in_a_thousand_is_sampled() {
        assert_eq!(gap(1.0, 0.3), 1);
        let draws = 10_000;
        let total: u64 = (0..draws).map(|n| gap(0.001, f64::from(n) / f64::from(draws))).sum();
        let mean = total as f64 / f64::from(draws);
        assert!((980.0..1_020.0).contains(&mean), "{mean}");
    }
}
