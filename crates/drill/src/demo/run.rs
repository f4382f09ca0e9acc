//! Starts and finishes a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::live::Live;
use super::target::Target;
use crate::audit::{Auditor, Oracle, StalenessBudgets};
use crate::clock::now;
use crate::load::Writer;
use crate::load::open_loop::{Load, WriteCounts};
use crate::load::plan::Plan;
use crate::load::tally::Tally;
use crate::report::RunReport;

/// The inputs of a run: several targets, one plan and one oracle.
pub struct Demo {
    /// The system under test first, then the baselines.
    pub targets: Vec<Target>,
    /// The requests and writes with their times.
    pub plan: Plan,
    /// The ground truth of the audit.
    pub oracle: Arc<dyn Oracle>,
    /// Commits the planned writes.
    pub writer: Arc<dyn Writer>,
    /// The staleness that the auditor allows.
    pub budgets: StalenessBudgets,
    /// The time by which the report must be ready; `None` runs until the plan ends or the run is
    /// stopped.
    pub ends: Option<Instant>,
    /// Additional lines of the report, such as a count of skipped input rows.
    pub notes: Vec<String>,
}

/// Time reserved at the end of a run for the last responses, the audit and the report.
const CLOSING: Duration = Duration::from_millis(900);
/// The part of `CLOSING` during which the last responses are awaited.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
/// Capacity of the queue between the load and the auditor, in samples.
const AUDIT_QUEUE: usize = 32_768;

/// A run in progress.
pub struct Running {
    live: Arc<Live>,
    stop: Arc<AtomicBool>,
    load: JoinHandle<std::io::Result<()>>,
    audit: JoinHandle<()>,
    ended: tokio::sync::oneshot::Receiver<()>,
    notes: Vec<String>,
}

impl Demo {
    /// Starts the load and the auditor.
    ///
    /// # Errors
    /// A thread could not be created.
    pub fn start(self) -> std::io::Result<Running> {
        let started = now();
        let send_limit =
            self.ends.map(|ends| ends.saturating_duration_since(started).saturating_sub(CLOSING));
        let tallies: Arc<Vec<Tally>> =
            Arc::new(self.targets.iter().map(|_| Tally::new()).collect());
        let auditor = Arc::new(Auditor::new(self.oracle, self.budgets, self.targets.len()));
        let writes = Arc::new(WriteCounts::default());
        let unaudited = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let addresses = self.targets.iter().map(|target| target.address).collect();
        let live = Arc::new(Live {
            origin_at_start: self.targets.iter().map(|target| (target.origin_requests)()).collect(),
            targets: self.targets,
            tallies: Arc::clone(&tallies),
            auditor: Arc::clone(&auditor),
            writes: Arc::clone(&writes),
            unaudited: Arc::clone(&unaudited),
            started,
            send_limit,
        });
        let (samples, received) = std::sync::mpsc::sync_channel(AUDIT_QUEUE);
        let load = Load {
            targets: addresses,
            tallies,
            plan: self.plan,
            writer: self.writer,
            writes,
            samples,
            unaudited,
            started,
            send_limit,
            drain_timeout: DRAIN_TIMEOUT,
            stop: Arc::clone(&stop),
        };
        let (end, ended) = tokio::sync::oneshot::channel();
        let audit = std::thread::Builder::new()
            .name("drill-audit".into())
            .spawn(move || auditor.run(&received))?;
        let load = std::thread::Builder::new().name("drill-load".into()).spawn(move || {
            let outcome = load.run();
            let _ = end.send(());
            outcome
        })?;
        Ok(Running { live, stop, load, audit, ended, notes: self.notes })
    }
}

impl Running {
    /// Returns the live state for observers.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Waits until the run ends or `cancel` completes, and returns the report up to then.
    ///
    /// # Errors
    /// The load generator or the auditor failed.
    pub async fn finish(self, cancel: impl Future<Output = ()>) -> anyhow::Result<RunReport> {
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
