//! A run: several arms, one plan, one truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::arm::{Arm, Inside};
use crate::audit::{Auditor, Contracts, Findings};
use crate::clock::now;
use crate::load::{Load, WriteCounts};
use crate::oracle::{Oracle, Writer};
use crate::plan::Plan;
use crate::report::{ArmReport, ArmResult, Latency, Quantiles, Report};
use crate::tally::{Counts, Hits, Tally};

/// Everything a run needs.
pub struct Demo {
    /// The arm under test first, then those it is compared with.
    pub arms: Vec<Arm>,
    /// What happens when.
    pub plan: Plan,
    /// What was true when.
    pub oracle: Arc<dyn Oracle>,
    /// Commits the planned writes.
    pub writer: Arc<dyn Writer>,
    /// What the auditor holds answers to.
    pub contracts: Contracts,
    /// When the report must be there; `None` runs to the end of the plan or until stopped.
    pub ends: Option<Instant>,
    /// Lines for the report, such as rows of the input that were left out.
    pub notes: Vec<String>,
}

/// Kept back from the end of a run for the last answers, the audit and the report.
const CLOSING: Duration = Duration::from_millis(900);
/// Of that: how long the last answers are waited for.
const DRAIN: Duration = Duration::from_millis(500);
/// Answers between the load and the auditor.
const EXHIBITS: usize = 32_768;

/// A run under way.
pub struct Running {
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    load: JoinHandle<std::io::Result<()>>,
    audit: JoinHandle<()>,
    ended: tokio::sync::oneshot::Receiver<()>,
    notes: Vec<String>,
}

/// What a run looks like at this moment. Shared with whoever watches.
pub struct Live {
    arms: Vec<Arm>,
    tallies: Arc<Vec<Tally>>,
    auditor: Arc<Auditor>,
    writes: Arc<WriteCounts>,
    unaudited: Arc<AtomicU64>,
    origin_at_start: Vec<u64>,
    started: Instant,
    sends_for: Option<Duration>,
}

/// A run at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Since the first event.
    pub elapsed: Duration,
    /// How long events will be sent; `None` when there is no end.
    pub planned: Option<Duration>,
    /// Writes committed.
    pub writes: u64,
    /// Each arm, in the order of the demo.
    pub arms: Vec<ArmSnapshot>,
}

/// An arm at one moment. Counts are since the start.
#[derive(Debug, Clone)]
pub struct ArmSnapshot {
    /// Name for people.
    pub title: String,
    /// Requests due so far.
    pub requests: u64,
    /// Not answered with 200 in time.
    pub errors: u64,
    /// Answers so far.
    pub answers: u64,
    /// Answers from caches.
    pub hits: Hits,
    /// Requests that reached the application.
    pub origin_requests: u64,
    /// Median latency so far, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Answers audited.
    pub audited: u64,
    /// Of those: staler than their contract.
    pub stale: u64,
    /// The stalest value shown.
    pub worst: Duration,
    /// What the arm says about itself.
    pub inside: Option<Inside>,
}

impl Demo {
    /// Starts the traffic.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(self) -> std::io::Result<Running> {
        let started = now();
        let sends_for =
            self.ends.map(|ends| ends.saturating_duration_since(started).saturating_sub(CLOSING));
        let tallies: Arc<Vec<Tally>> = Arc::new(self.arms.iter().map(|_| Tally::new()).collect());
        let auditor = Arc::new(Auditor::new(self.oracle, self.contracts, self.arms.len()));
        let writes = Arc::new(WriteCounts::default());
        let unaudited = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let live = Arc::new(Live {
            origin_at_start: self.arms.iter().map(|arm| (arm.origin_requests)()).collect(),
            arms: self.arms.clone(),
            tallies: Arc::clone(&tallies),
            auditor: Arc::clone(&auditor),
            writes: Arc::clone(&writes),
            unaudited: Arc::clone(&unaudited),
            started,
            sends_for,
        });
        let (exhibits, judged) = std::sync::mpsc::sync_channel(EXHIBITS);
        let load = Load {
            arms: self.arms,
            tallies,
            plan: self.plan,
            writer: self.writer,
            writes,
            exhibits,
            unaudited,
            started,
            sends_for,
            drains_for: DRAIN,
            stop: Arc::clone(&stop),
        };
        let (end, ended) = tokio::sync::oneshot::channel();
        let audit = std::thread::Builder::new()
            .name("drill-audit".into())
            .spawn(move || auditor.run(&judged))?;
        let load = std::thread::Builder::new().name("drill-load".into()).spawn(move || {
            let outcome = load.run();
            let _ = end.send(());
            outcome
        })?;
        Ok(Running { live, stop, load, audit, ended, notes: self.notes })
    }
}

impl Running {
    /// For watching.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Waits for the end of the run, or for `cancel`, and reports what came of it so far.
    ///
    /// # Errors
    /// When the load generator failed.
    pub async fn finish(self, cancel: impl Future<Output = ()>) -> anyhow::Result<Report> {
        let Self { live, stop, load, audit, mut ended, notes } = self;
        tokio::select! {
            _ = &mut ended => {}
            () = cancel => {
                stop.store(true, Ordering::Relaxed);
                let _ = ended.await;
            }
        }
        let elapsed = now().saturating_duration_since(live.started);
        let joined = tokio::task::spawn_blocking(move || {
            let load = load.join().map_err(|_| anyhow::anyhow!("the load generator panicked"))?;
            load?;
            audit.join().map_err(|_| anyhow::anyhow!("the auditor panicked"))
        });
        joined.await??;
        Ok(live.report(elapsed, notes))
    }
}

impl Live {
    /// The state of the run now.
    pub fn snapshot(&self) -> Snapshot {
        let arms = (0..self.arms.len()).map(|index| {
            let (counts, findings) = (self.tallies[index].counts(), self.auditor.findings(index));
            ArmSnapshot {
                title: self.arms[index].title.clone(),
                requests: counts.requests,
                errors: counts.errors,
                answers: counts.latency.len(),
                hits: counts.hits,
                origin_requests: self.origin_requests(index),
                p50_ms: counts.latency_ms(0.5),
                p99_ms: counts.latency_ms(0.99),
                audited: findings.audited,
                stale: findings.beyond_contract,
                worst: findings.worst,
                inside: self.inside(index, &counts),
            }
        });
        Snapshot {
            elapsed: now().saturating_duration_since(self.started),
            planned: self.sends_for,
            writes: self.writes.done.load(Ordering::Relaxed),
            arms: arms.collect(),
        }
    }

    fn origin_requests(&self, index: usize) -> u64 {
        (self.arms[index].origin_requests)().saturating_sub(self.origin_at_start[index])
    }

    /// What the arm says about itself, with the worst bound that its answers have claimed.
    fn inside(&self, index: usize, counts: &Counts) -> Option<Inside> {
        let mut inside = self.arms[index].inside.as_ref().map(|inside| inside());
        if let Some(bound) = counts.worst_bound {
            let bound = bound.as_secs_f64() * 1000.0;
            let inside = inside.get_or_insert_default();
            inside.worst_bound_ms = Some(inside.worst_bound_ms.map_or(bound, |own| own.max(bound)));
        }
        inside
    }

    fn report(&self, elapsed: Duration, notes: Vec<String>) -> Report {
        let arms = self.arms.iter().enumerate().map(|(index, arm)| {
            let findings = self.auditor.findings(index);
            let counts = self.tallies[index].counts();
            ArmResult {
                key: arm.key.clone(),
                title: arm.title.clone(),
                report: self.figures(index, &counts, &findings),
                wrong: findings.wrong,
                examples: findings.examples,
                first_errors: counts.first_errors,
            }
        });
        let refused = &self.writes.refused;
        let failed = &self.writes.failed;
        Report {
            arms: arms.collect(),
            seconds: elapsed.as_secs_f64(),
            writes: self.writes.done.load(Ordering::Relaxed),
            writes_refused: refused.load(Ordering::Relaxed) + failed.load(Ordering::Relaxed),
            unaudited: self.unaudited.load(Ordering::Relaxed),
            audit_failure: self.auditor.failure(),
            notes,
        }
    }

    fn figures(&self, index: usize, counts: &Counts, findings: &Findings) -> ArmReport {
        let inside = self.inside(index, counts).unwrap_or_default();
        let answers = counts.latency.len();
        ArmReport {
            requests: counts.requests,
            // A request that never got its answer is an error, also when the run ended first.
            errors: counts.errors + counts.in_flight,
            hit_rate: counts.hits.total() as f64 / answers.max(1) as f64,
            hits: counts.hits,
            origin_requests: self.origin_requests(index),
            latency_ms: Latency {
                mean: counts.latency.mean() / 1000.0,
                p50: counts.latency_ms(0.5),
                p99: counts.latency_ms(0.99),
            },
            invalidations: inside.invalidations,
            commit_to_gone_ms: Quantiles {
                p50: inside.commit_to_gone_ms.map(|(p50, _)| p50),
                p99: inside.commit_to_gone_ms.map(|(_, p99)| p99),
            },
            audited: findings.audited,
            stale_beyond_contract: findings.beyond_contract,
            worst_staleness_ms: findings.worst.as_secs_f64() * 1000.0,
            worst_bound_ms: inside.worst_bound_ms,
        }
    }
}
