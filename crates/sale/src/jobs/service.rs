//! The operations on jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coherence::{BreakerOptions, CircuitBreaker, Clock, Mono};
use parking_lot::Mutex;

use super::endpoint::Endpoint;
use super::error::JobError;
use super::handler::JobHandler;
use super::metrics::JobMetrics;
use super::options::{JobOptions, JobWorkers, milliseconds};
use super::reading::LogPosition;
use super::request::{JobRequest, LEASES, recordable};
use crate::ledger::{
    Claim, EndJob, EndedJob, EnqueueOutcome, JobStats, LeasedJob, Ledger, LedgerError,
};
use crate::request::InvalidRequest;
use crate::rules::{AttemptEnd, AttemptOutcome, JobClass, admits_job, retry_delay};

/// For so long a count of open jobs is used again.
const COUNT_AGE: Duration = Duration::from_secs(2);

/// The most jobs of one request for work.
pub(crate) const CLAIM_MAX: u32 = 1_000;

const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 5,
    failure_share: 0.5,
    open_for: Duration::from_secs(1),
    max_open: Duration::from_secs(30),
    probe_timeout: Duration::from_secs(60),
};

/// A kind, as this node works on it.
pub(super) struct Kind {
    pub(super) options: JobOptions,
    pub(super) handler: Option<Arc<dyn JobHandler>>,
    pub(super) breaker: Mutex<CircuitBreaker>,
    pub(super) position: Mutex<LogPosition>,
}

/// The configuration of [`Jobs`].
#[derive(Clone, Debug, Default)]
pub struct JobsSetup {
    /// The kinds by name.
    pub kinds: BTreeMap<String, JobOptions>,
    /// The workers of each class.
    pub workers: JobWorkers,
    /// The number of open jobs from which requests for new ones are refused, those of class `low` first.
    pub depth: u64,
}

/// The jobs of one ledger. Clones share everything.
#[derive(Clone)]
pub struct Jobs {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) kinds: Arc<BTreeMap<String, Kind>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: JobMetrics,
    pub(super) workers: JobWorkers,
    pub(super) depth: u64,
    open: Arc<Mutex<Option<(u64, Mono)>>>,
    /// Wakes idle workers of this node.
    pub(super) arrived: Arc<tokio::sync::Notify>,
}

impl Jobs {
    /// Creates the jobs of the configured kinds. `clock` decides about no job.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        metrics: JobMetrics,
        setup: JobsSetup,
    ) -> Self {
        let kind = |(name, options): (String, JobOptions)| {
            let endpoint = options.url.clone().map(|url| -> Arc<dyn JobHandler> {
                Arc::new(Endpoint::new(&name, url, &options, Arc::clone(&clock)))
            });
            let kind = Kind {
                options,
                handler: endpoint,
                breaker: Mutex::new(CircuitBreaker::new(BREAKER)),
                position: Mutex::default(),
            };
            (name, kind)
        };
        Self {
            ledger,
            kinds: Arc::new(setup.kinds.into_iter().map(kind).collect()),
            clock: Arc::clone(&clock),
            metrics,
            workers: setup.workers,
            depth: setup.depth,
            open: Arc::default(),
            arrived: Arc::default(),
        }
    }

    /// Runs jobs of a kind by this handler, in this process. Call it before [`run`](Self::run).
    ///
    /// # Errors
    /// There is no such kind, or the jobs are in use.
    pub fn with_handler(
        mut self,
        kind: &str,
        handler: Arc<dyn JobHandler>,
    ) -> Result<Self, JobError> {
        let kinds = Arc::get_mut(&mut self.kinds).and_then(|kinds| kinds.get_mut(kind));
        let found = kinds.ok_or_else(|| JobError::UnknownKind(kind.to_owned()))?;
        found.handler = Some(handler);
        Ok(self)
    }

    /// Records the configured kinds in the ledger.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn record_kinds(&self) -> Result<(), LedgerError> {
        let kinds = self.kinds.iter().map(|(name, kind)| kind.options.kind(name)).collect();
        self.ledger.set_job_kinds(kinds).await
    }

    pub(super) fn kind(&self, name: &str) -> Result<&Kind, JobError> {
        self.kinds.get(name).ok_or_else(|| JobError::UnknownKind(name.to_owned()))
    }

    /// Enqueues jobs, durably. Returns the number of each, and whether it is new.
    ///
    /// # Errors
    /// [`JobError`] of the first job that is refused; the others of the call are enqueued.
    pub async fn enqueue(&self, requests: Vec<JobRequest>) -> Result<Vec<(i64, bool)>, JobError> {
        for JobRequest { job } in &requests {
            self.check_depth(self.kind(&job.kind)?.options.class).await?;
        }
        let names: Vec<String> = requests.iter().map(|request| request.job.kind.clone()).collect();
        let jobs = requests.into_iter().map(|request| request.job).collect();
        let outcomes = self.ledger.enqueue_jobs(jobs).await?;
        self.arrived.notify_waiters();
        let outcome = |(outcome, kind): (EnqueueOutcome, String)| match outcome {
            EnqueueOutcome::Enqueued(id) => Ok((id, true)),
            EnqueueOutcome::Repeated(id) => Ok((id, false)),
            EnqueueOutcome::KeyReused => Err(JobError::KeyReused),
            EnqueueOutcome::UnknownKind => Err(JobError::UnknownKind(kind)),
            EnqueueOutcome::Draining => Err(JobError::Draining(kind)),
        };
        outcomes.into_iter().zip(names).map(outcome).collect()
    }

    async fn check_depth(&self, class: JobClass) -> Result<(), JobError> {
        if class == JobClass::High {
            return Ok(());
        }
        let open = self.open_jobs().await?;
        if admits_job(class, open, self.depth) {
            return Ok(());
        }
        let limit = if class == JobClass::Low { self.depth } else { self.depth.saturating_mul(4) };
        Err(JobError::Busy { open, limit })
    }

    async fn open_jobs(&self) -> Result<u64, LedgerError> {
        let now = self.clock.mono();
        match *self.open.lock() {
            Some((open, at)) if now.since(at) < COUNT_AGE => return Ok(open),
            _ => {}
        }
        self.stats().await?;
        Ok(self.open.lock().map(|(open, _)| open).unwrap_or_default())
    }

    /// Returns the counts of all kinds.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn stats(&self) -> Result<Vec<JobStats>, LedgerError> {
        let stats = self.ledger.job_stats().await?;
        let open: i64 = stats.iter().map(JobStats::open).sum();
        *self.open.lock() = Some((open.max(0).unsigned_abs(), self.clock.mono()));
        self.metrics.observe(&stats);
        Ok(stats)
    }

    /// Leases due jobs of a kind that has no endpoint, for a worker outside.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn claim(
        &self,
        kind: &str,
        most: u32,
        lease_seconds: u64,
        worker: &str,
    ) -> Result<Vec<LeasedJob>, JobError> {
        if self.kind(kind)?.options.url.is_some() {
            return Err(JobError::HasEndpoint(kind.to_owned()));
        }
        if !(1..=CLAIM_MAX).contains(&most) {
            return Err(InvalidRequest::new("limit", format!("write 1 to {CLAIM_MAX}")).into());
        }
        check_lease(lease_seconds)?;
        if worker.len() > 255 || worker.contains('\0') {
            return Err(InvalidRequest::new("worker", "write a name of at most 255 bytes").into());
        }
        Ok(self.lease(kind, most, Duration::from_secs(lease_seconds), worker).await?)
    }

    pub(super) async fn lease(
        &self,
        name: &str,
        most: u32,
        lease: Duration,
        worker: &str,
    ) -> Result<Vec<LeasedJob>, LedgerError> {
        let Some(kind) = self.kinds.get(name) else { return Ok(Vec::new()) };
        let read = kind.position.lock().next(self.clock.mono());
        let lease_ms = milliseconds(lease);
        let (kind_name, worker) = (name.to_owned(), worker.to_owned());
        let claim = Claim { kind: kind_name, most, lease_ms, worker, read };
        let leased = self.ledger.lease_jobs(claim).await?;
        if let Some(reading) = &leased.reading {
            // Half of the places are for delayed attempts, so a claim that is half full may have left some.
            let is_all = reading.read < (most / 2).max(1);
            kind.position.lock().note(reading, is_all);
        }
        let class = kind.options.class;
        for job in &leased.jobs {
            let leased_ms = job.until_ms - lease_ms;
            let delay_ms = (leased_ms - job.due_ms).max(0).unsigned_abs();
            self.metrics.leased(class, Duration::from_millis(delay_ms));
        }
        Ok(leased.jobs)
    }

    /// Records that an attempt succeeded. A repeat is no error.
    ///
    /// # Errors
    /// [`JobError`]: most of all, the worker has lost its lease, and another one has the job.
    pub async fn done(&self, id: i64, token: u32) -> Result<(), JobError> {
        self.end_one(id, token, AttemptOutcome::Done, None).await.map(drop)
    }

    /// Records that an attempt failed. Returns the state of the job: `retry` or `dead`. A repeat is no error.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub async fn fail(
        &self,
        kind: &str,
        id: i64,
        token: u32,
        reason: &str,
        is_final: bool,
    ) -> Result<AttemptEnd, JobError> {
        let outcome = match is_final {
            true => AttemptOutcome::Hopeless,
            false => {
                AttemptOutcome::Failed { delay_ms: delay_ms(&self.kind(kind)?.options, token) }
            }
        };
        self.end_one(id, token, outcome, Some(recordable(reason))).await
    }

    async fn end_one(
        &self,
        id: i64,
        token: u32,
        outcome: AttemptOutcome,
        reason: Option<String>,
    ) -> Result<AttemptEnd, JobError> {
        let ends = vec![EndJob { id, attempt: token, outcome, reason }];
        let ended = self.ledger.end_jobs(ends).await?;
        let Some(EndedJob { end: Some(end), is_first }) = ended.into_iter().next() else {
            return Err(JobError::UnknownJob { id, token });
        };
        let is_repeat = match outcome {
            AttemptOutcome::Done => end == AttemptEnd::Done,
            AttemptOutcome::Failed { .. } | AttemptOutcome::Hopeless => {
                matches!(end, AttemptEnd::Retry | AttemptEnd::Dead)
            }
            AttemptOutcome::Released => end == AttemptEnd::Released,
        };
        match is_first || is_repeat {
            true => Ok(end),
            false => Err(JobError::LeaseLost { id, token, state: end.word() }),
        }
    }

    /// Extends a lease. Returns its new end, in ms since 1970 by the database's clock.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub async fn extend(&self, id: i64, token: u32, lease_seconds: u64) -> Result<i64, JobError> {
        check_lease(lease_seconds)?;
        let lease_ms = milliseconds(Duration::from_secs(lease_seconds));
        let extended = self.ledger.extend_job(id, token, lease_ms).await?;
        extended.ok_or(JobError::LeaseLost { id, token, state: "its lease is over" })
    }
}

/// Returns the delay after a failed attempt.
pub(super) fn delay_ms(options: &JobOptions, attempt: u32) -> i64 {
    let (first, longest) = (options.retry_delay, options.retry_delay_max);
    milliseconds(retry_delay(attempt, first, longest, rand::random_range(0.0..=1.0)))
}

fn check_lease(seconds: u64) -> Result<(), InvalidRequest> {
    if LEASES.contains(&seconds) {
        return Ok(());
    }
    Err(InvalidRequest::new("lease_seconds", "write 1 to 3600"))
}
