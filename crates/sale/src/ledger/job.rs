//! The port of jobs: they are stored in the ledger's database, so that an order and the jobs that follow from it are one
//! transaction.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::error::LedgerError;
use super::view::Finding;
use crate::request::RequestKey;
use crate::rules::{AttemptEnd, AttemptOutcome, JobClass, JobRun};

/// A kind of jobs, as the ledger has to know it.
#[derive(Clone, Debug)]
pub struct JobKind {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: JobClass,
    /// The attempts of a job.
    pub attempts: u32,
    /// The time to live of a job, in ms.
    pub ttl_ms: Option<i64>,
    /// The events of orders that each make a job.
    pub events: Vec<String>,
}

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// The name of its kind.
    pub kind: String,
    /// Its content as JSON.
    pub body: String,
    /// There is at most one open job of a kind with this key.
    pub unique: Option<String>,
    /// It is due after this time, in ms; 0: now.
    pub delay_ms: i64,
    /// Its time to live from then on, in ms; `None`: that of its kind.
    pub ttl_ms: Option<i64>,
    /// The key of the request.
    pub request: Option<RequestKey>,
}

/// The outcome of a request for a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EnqueueOutcome {
    /// It was enqueued, with this number.
    Enqueued(i64),
    /// The same request, or an open job with the same unique key, had this number before.
    Repeated(i64),
    /// Another request was executed under this key.
    KeyReused,
    /// There is no such kind.
    UnknownKind,
    /// The kind is being drained.
    Draining,
}

/// A request for work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The name of the kind.
    pub kind: String,
    /// The most jobs.
    pub most: u32,
    /// The length of the leases, in ms.
    pub lease_ms: i64,
    /// The name of the worker.
    pub worker: String,
    /// The log was read up to here.
    pub read: ReadUpTo,
}

/// How far the log of a kind was read: every attempt up to here has been leased.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReadUpTo {
    /// A place in the log.
    pub place: i64,
    /// Of delayed attempts: the time at which they were due, in ms since 1970.
    pub due_ms: i64,
}

/// A leased attempt. Times are in ms since 1970 by the database's clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeasedJob {
    /// The number of the job.
    pub id: i64,
    /// The number of the attempt: the fencing token.
    pub attempt: u32,
    /// The attempts that are left, this one included.
    pub attempts_left: u32,
    /// The content, as it was enqueued.
    pub body: String,
    /// The time at which the job was enqueued.
    pub enqueued_ms: i64,
    /// The time since which the attempt was due.
    pub due_ms: i64,
    /// The end of the lease.
    pub until_ms: i64,
}

impl LeasedJob {
    /// Returns the content with its numbers as they were written. One that the shop's SQL has enqueued and that is not
    /// JSON is a JSON text.
    #[must_use]
    pub fn content(&self) -> Box<RawValue> {
        let json = serde_json::from_str::<&RawValue>(&self.body).map(ToOwned::to_owned);
        json.unwrap_or_else(|_| to_raw_value(&self.body).expect("a text can be written as JSON"))
    }
}

/// The answer to a request for work.
#[derive(Clone, Debug, Default)]
pub struct Leased {
    /// The attempts.
    pub jobs: Vec<LeasedJob>,
    /// How far the log was read; `None`: unknown.
    pub reading: Option<Reading>,
}

/// How far a claim has read, and in which snapshot. Attempts before that place may still appear: those of transactions
/// that were open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// The last place that was leased.
    pub place: Option<i64>,
    /// The last time of a delayed attempt that was leased.
    pub due_ms: Option<i64>,
    /// The attempts that were read: leased, or expired.
    pub read: u32,
    /// The oldest transaction that was open.
    pub oldest_open: i64,
    /// Later transactions have this number or a greater one.
    pub next_open: i64,
}

/// The end of an attempt, as its worker reports it.
#[derive(Clone, Debug)]
pub struct EndJob {
    /// The number of the job.
    pub id: i64,
    /// The number of the attempt.
    pub attempt: u32,
    /// The outcome.
    pub outcome: AttemptOutcome,
    /// The reason of a failure.
    pub reason: Option<String>,
}

/// The recorded end of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EndedJob {
    /// The end; `None`: there is no such attempt, or it was never leased, or it ended long ago.
    pub end: Option<AttemptEnd>,
    /// This report has recorded it.
    pub is_first: bool,
}

/// The state of a kind, with counts.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct JobStats {
    /// The kind.
    pub kind: String,
    /// Its class.
    #[serde(serialize_with = "as_class")]
    pub class: JobClass,
    /// Its state.
    #[serde(serialize_with = "as_run")]
    pub run: JobRun,
    /// Due jobs that wait for a worker.
    pub waiting: i64,
    /// Jobs that are not due yet: delayed ones, and failed ones before their next attempt.
    pub delayed: i64,
    /// Jobs that workers have leased.
    pub leased: i64,
    /// Dead letters.
    pub dead: i64,
    /// The time for which the oldest waiting job has been due, in ms; 0 without one.
    pub oldest_ms: i64,
    /// Jobs that were enqueued so far, replays included.
    pub enqueued: i64,
    /// Jobs that are done.
    pub done: i64,
    /// Jobs that expired.
    pub expired: i64,
}

impl JobStats {
    /// Returns the number of jobs that have not ended.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.waiting + self.delayed + self.leased
    }
}

fn as_class<S: serde::Serializer>(class: &JobClass, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(class.word())
}

fn as_run<S: serde::Serializer>(run: &JobRun, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(run.word())
}

/// A dead letter. Times are in ms since 1970 by the database's clock.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DeadJob {
    /// The number of the job.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// Its attempts so far.
    pub attempts: i64,
    /// The reason of the last failure.
    pub reason: Option<String>,
    /// The time at which it was enqueued.
    pub enqueued_ms: i64,
    /// The time of its death.
    pub died_ms: i64,
    /// Its content as JSON.
    pub body: String,
}

/// The age of the oldest snapshot in the database.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OldestSnapshot {
    /// Its age in seconds; 0 without one.
    pub age_seconds: i64,
    /// Sessions whose snapshots this role may not see.
    pub hidden_sessions: i64,
}

/// Jobs in the ledger's database. Every call is one transaction, as with [`Ledger`](super::Ledger).
#[async_trait]
pub trait JobLedger: Send + Sync + 'static {
    /// Records kinds. Their states stay as they are, and so do other kinds.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn set_job_kinds(&self, kinds: Vec<JobKind>) -> Result<(), LedgerError>;

    /// Enqueues jobs. Returns an outcome for each.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn enqueue_jobs(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueOutcome>, LedgerError>;

    /// Leases due attempts, the oldest first. Returns none for a paused kind.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn lease_jobs(&self, claim: Claim) -> Result<Leased, LedgerError>;

    /// Ends attempts. Returns the recorded end of each.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn end_jobs(&self, ends: Vec<EndJob>) -> Result<Vec<EndedJob>, LedgerError>;

    /// Extends a lease. Returns its new end in ms since 1970; `None`: the worker has lost it.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn extend_job(
        &self,
        id: i64,
        attempt: u32,
        lease_ms: i64,
    ) -> Result<Option<i64>, LedgerError>;

    /// Ends attempts whose leases ended after `since_ms` and are over. Returns their number, and the time to pass
    /// next.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn recover_jobs(&self, kind: &str, since_ms: i64) -> Result<(u64, i64), LedgerError>;

    /// Sets the state of a kind. Returns false for an unknown one.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn set_job_run(&self, kind: &str, run: JobRun) -> Result<bool, LedgerError>;

    /// Returns the counts of all kinds, by name.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn job_stats(&self) -> Result<Vec<JobStats>, LedgerError>;

    /// Returns dead letters of a kind, the oldest first.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn dead_jobs(&self, kind: &str, limit: u32) -> Result<Vec<DeadJob>, LedgerError>;

    /// Enqueues the dead letters of a kind that are there now, or one of them, with all attempts. Returns their number.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn replay_jobs(&self, kind: &str, id: Option<i64>) -> Result<u64, LedgerError>;

    /// Takes ended jobs out of the log, and forgets old keys of requests.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn compact_jobs(&self) -> Result<(), LedgerError>;

    /// Returns the time of the database's clock, in ms since 1970.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn job_clock_ms(&self) -> Result<i64, LedgerError>;

    /// Returns the age of the oldest snapshot; `None`: the database has none that matter.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn oldest_snapshot(&self) -> Result<Option<OldestSnapshot>, LedgerError>;

    /// Checks the invariants of jobs.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn audit_jobs(&self) -> Result<Vec<Finding>, LedgerError>;
}
