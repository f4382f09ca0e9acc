//! The auditor at work: asks the tiers and the database what `cache::audit` wants to know.

mod metrics;
mod peers;

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
use tokio::task::JoinSet;

use self::metrics::AuditMetrics;
pub(super) use self::peers::Insight;
use self::peers::Peers;
use super::connect::Truth;
use crate::config;

/// Notes that may wait; more are dropped and counted.
const NOTES: usize = 4_096;

/// Notes taken between two looks.
const NOTES_AT_ONCE: usize = 256;

/// How long the database has for one answer to the auditor.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks under way at once, so that one that waits for a slow node keeps no other waiting.
const LOOKS_AT_ONCE: usize = 8;

/// A node's auditor.
pub(super) struct Audit {
    auditor: Mutex<Auditor>,
    engine: Engine,
    truths: BTreeMap<Arc<str>, Truth>,
    peers: Peers,
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
        config: &config::Audit,
        engine: &Engine,
        truths: BTreeMap<Arc<str>, Truth>,
        clock: &Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let (sender, notes) = mpsc::channel(NOTES);
        let salt: Arc<str> = format!("{:032x}", rand::random::<u128>()).into();
        let options = Options {
            reads_per_second: config.reads_per_second,
            salt: Arc::clone(&salt),
            ..Options::default()
        };
        let peers = Peers::new(&config.peers, Arc::clone(clock), salt);
        let budget = |(name, truth): (&Arc<str>, &Truth)| (Arc::clone(name), truth.policy.budget);
        let auditor = Auditor::new(options, truths.iter().map(budget), clock.mono())
            .with_peers(peers.names());
        let ear = Ear { notes: sender, dropped: AtomicU64::new(0), sample: config.sample };
        Arc::new(Self {
            auditor: Mutex::new(auditor),
            engine: engine.clone(),
            truths,
            peers,
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
    pub(super) async fn run(self: &Arc<Self>) {
        let mut notes = self.notes.lock().await;
        let mut heard = Vec::new();
        let mut looks = JoinSet::new();
        loop {
            let now = self.clock.mono();
            let free = looks.len() < LOOKS_AT_ONCE;
            let step = if free { self.auditor.lock().next(now) } else { Step::Idle(None) };
            match step {
                Step::Ask(question) => {
                    let audit = Arc::clone(self);
                    looks.spawn(async move {
                        let look = audit.look(&question).await;
                        audit.auditor.lock().answered(&question, &look);
                    });
                    while heard.len() < NOTES_AT_ONCE
                        && let Ok(note) = notes.try_recv()
                    {
                        heard.push(note);
                    }
                }
                Step::Idle(until) => {
                    let pause = until.map_or(PATIENCE, |at| at.since(now));
                    tokio::select! {
                        _ = notes.recv_many(&mut heard, NOTES_AT_ONCE) => {}
                        Some(_) = looks.join_next() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
            while looks.try_join_next().is_some() {}
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

    /// Looks at the tiers of all nodes first and asks the database afterwards, so that what the
    /// tiers held can't be newer than what it says.
    async fn look(&self, question: &Question) -> Look {
        let at = self.clock.mono();
        let epoch = self.engine.standing().epoch;
        let (holdings, peers) =
            tokio::join!(self.hold(&question.named), self.peers.ask(&question.named));
        let truth = match holdings {
            Some(_) => self.truth(&question.named).await,
            None => None,
        };
        let seen = holdings.zip(truth);
        let shown = question.event.and_then(|commit| self.engine.shown(commit));
        Look {
            at,
            done: self.clock.mono(),
            wall_ms: self.clock.wall_ms(),
            seen,
            shown,
            epoch,
            peers,
        }
    }

    async fn hold(&self, named: &Named) -> Option<Vec<cache::Holding>> {
        let policy = &self.truths.get(&named.contract)?.policy;
        match self.engine.inspect(&named.key, policy).await {
            Ok(holdings) => Some(holdings),
            Err(err) => {
                tracing::debug!(key = %named.key, error = %err, "a tier could not be audited");
                None
            }
        }
    }

    async fn truth(&self, named: &Named) -> Option<cache::Content> {
        let load = self.truths.get(&named.contract)?.origin.load(&named.key, &named.id);
        match tokio::time::timeout(PATIENCE, load).await {
            Ok(Ok(loaded)) => Some(loaded.content),
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
