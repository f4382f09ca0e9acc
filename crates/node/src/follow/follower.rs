//! The loop from the log to the tiers: feed, contracts, shared tier, this node's own tier.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::leader::{ApplyResult, Consumer, Leader};
use cache::{Engine, SharedTier, TierError};
use coherence::resume::{Resume, Start};
use coherence::{Clock, Event, server_digest};
use contract::Contracts;
use feed::{Checkpoint, Feed, FeedError, FeedEvent, LogBatch, LogEnd, Source, StreamStart};

use super::coverage::CoverageGain;
use super::events::EventMapper;
use super::metrics::FollowMetrics;
use super::schema_record::SchemaRecord;
use crate::health::Health;
use crate::journal::{Journal, Record, SUBJECTS_KEPT};
use crate::renew::Renewer;

/// After this many failed attempts in a row an error is logged and counted; the attempts go on.
const ATTEMPTS_BEFORE_ALERT: u32 = 10;

/// While the log is silent, the shared tier is reconciled this often: it may have been flushed or replaced by
/// another server.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(1);

/// The parts of a node that a [`Follower`] works with.
pub struct FollowerParts {
    /// The engine whose tiers are moved along the log.
    pub engine: Engine,
    /// The database of the log.
    pub source: Arc<dyn Source>,
    /// The contracts that map rows to keys and tags.
    pub contracts: Arc<Contracts>,
    /// Time for the leader and for the journal.
    pub clock: Arc<dyn Clock>,
    /// Receives the state of the components `feed` and `shared`.
    pub health: Arc<Health>,
    /// Receives each applied invalidation.
    pub journal: Arc<Journal>,
    /// The counters.
    pub metrics: FollowMetrics,
    /// The longest TTL that any contract gives an entry; tombstones are kept at least that long.
    pub longest_ttl: Duration,
    /// The name under which the database tracks its followers.
    pub slot: String,
    /// The database and the slot, for the people who see the claim of this node.
    pub label: Arc<str>,
}

/// Follows the log of one database and applies it to the shared tier and to this node's own tier.
pub struct Follower {
    feed: Box<dyn Feed>,
    leader: Leader,
    engine: Engine,
    mapper: EventMapper,
    coverage: CoverageGain,
    slot: u64,
    label: Arc<str>,
    schema: SchemaRecord,
    journal: Arc<Journal>,
    health: Arc<Health>,
    metrics: FollowMetrics,
    clock: Arc<dyn Clock>,
    /// The feed has led or waited before, so it can tell whether the server crashed.
    watched: bool,
    /// The feed leads now.
    leads: bool,
    /// Attempts to lead that met the claim of another log, since the last that succeeded.
    refusals: u32,
}

/// The position that the shared tier has applied; a database that does not track its followers is followed
/// from there.
struct SharedCheckpoint(Arc<dyn SharedTier>);

#[async_trait]
impl Checkpoint for SharedCheckpoint {
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError> {
        let position = self.0.position().await.map_err(|err| FeedError::Unavailable {
            operation: "reading the shared tier's position",
            source: Box::new(err),
        })?;
        Ok(position.map(|position| LogEnd {
            system: position.epoch.system,
            timeline: position.epoch.timeline,
            server: position.epoch.log().run().server,
            lsn: position.applied,
        }))
    }
}

impl Follower {
    /// Creates a follower of `feed`, which resumes where the shared tier stands.
    #[must_use]
    pub fn new(mut feed: Box<dyn Feed>, renewer: Renewer, parts: FollowerParts) -> Self {
        let FollowerParts { engine, contracts, clock, health, journal, metrics, .. } = parts;
        let FollowerParts { longest_ttl, source, slot, label, .. } = parts;
        feed.resume(Arc::new(SharedCheckpoint(Arc::clone(engine.shared()))));
        Self {
            feed,
            leader: Leader::new(engine.clone(), Arc::clone(&clock), longest_ttl),
            schema: SchemaRecord::new(engine.clone(), Arc::clone(&source), Arc::clone(&contracts)),
            engine,
            coverage: CoverageGain::new(source, Arc::clone(&contracts)),
            slot: contract::fnv1a(slot.bytes()),
            label,
            mapper: EventMapper::new(contracts, renewer, metrics.clone()),
            journal,
            health,
            metrics,
            clock,
            watched: false,
            leads: false,
            refusals: 0,
        }
    }

    /// Runs until the feed fails in a way that needs an operator, and returns that error.
    pub async fn run(mut self) -> FeedError {
        loop {
            match self.next().await {
                Ok(FeedEvent::Started(start)) => self.leads = self.start(&start).await,
                Ok(FeedEvent::Batch(batch)) => self.apply(batch).await,
                Ok(FeedEvent::Standby) => {
                    (self.watched, self.leads) = (true, false);
                    self.metrics.changed_tables().stop();
                    self.health.optional("feed", true, "another node follows the log");
                    if std::mem::take(&mut self.refusals) > 0 {
                        self.health.optional("shared", true, "another node applies invalidations");
                    }
                }
                Ok(FeedEvent::Lost(err)) => {
                    self.leads = false;
                    self.metrics.changed_tables().stop();
                    self.health.optional("feed", false, err.to_string());
                }
                Err(err) => {
                    self.health.required("feed", false, err.to_string());
                    return err;
                }
            }
        }
    }

    /// Waits for the feed's next event and reconciles the shared tier meanwhile.
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        let mut next = std::pin::pin!(self.feed.next());
        loop {
            if self.leads {
                self.schema.keep(self.leader.epoch(), self.clock.mono()).await;
            }
            tokio::select! {
                biased;
                event = &mut next => return event,
                () = tokio::time::sleep(RECONCILE_INTERVAL), if self.leads => {}
            }
            self.coverage.advance(&mut self.leader).await;
            match self.leader.reconcile().await {
                Ok(ApplyResult::Applied) => {}
                Ok(result) => {
                    self.schema.note(result);
                    report(&self.metrics, result);
                }
                Err(err) => {
                    tracing::debug!(error = %err, "the shared tier could not be reconciled");
                }
            }
        }
    }

    /// Begins to lead. Returns false if the shared tier is another log's.
    async fn start(&mut self, started: &StreamStart) -> bool {
        self.schema.start(started.schema.clone());
        let start = Start {
            system: started.system,
            timeline: started.timeline,
            server: server_digest(&started.server_started),
            new_slot: started.slot_generation.is_some(),
            unbroken: self.watched.then_some(started.unbroken),
            position: started.position,
        };
        let first = !std::mem::replace(&mut self.watched, true);
        self.metrics.changed_tables().start(self.clock.wall_us());
        self.mapper.check_renewals().await;
        let mut attempts = self.refusals;
        let (resume, watermark) = loop {
            let consumer = Consumer {
                slot: self.slot,
                label: Arc::clone(&self.label),
                history: Arc::clone(&started.history),
            };
            match self.leader.start(start, consumer).await {
                Ok(started) => break started,
                Err(err) => {
                    self.back_off(&err, &mut attempts).await;
                    if self.gives_up(&err, attempts) {
                        return false;
                    }
                }
            }
        };
        self.report_recovery(attempts);
        self.feed.resume_watermark(watermark);
        match resume {
            Resume::Continue(epoch) => {
                tracing::info!(%epoch, position = %start.position, "following the log");
            }
            Resume::Reset(epoch) => {
                self.metrics.epoch_resets.inc();
                let message = "following the log in a new epoch; earlier entries are void";
                if first {
                    tracing::info!(%epoch, position = %start.position, "{message}");
                } else {
                    tracing::warn!(%epoch, position = %start.position, "{message}");
                }
            }
        }
        self.health.optional("feed", true, "follows the log");
        true
    }

    /// Ends the stream if another log has the shared tier. Whether this log still is the database's, only a new
    /// stream can tell: while the old one waits, the server behind the address may be another one.
    fn gives_up(&mut self, err: &TierError, attempts: u32) -> bool {
        let is_claimed = matches!(err, TierError::Claimed { .. });
        if is_claimed {
            self.feed.release();
            self.leads = false;
            self.refusals = attempts;
            self.metrics.changed_tables().stop();
            self.health.optional("feed", false, err.to_string());
        }
        is_claimed
    }

    async fn apply(&mut self, batch: LogBatch) {
        let LogBatch { prev, upto, watermark, commits } = batch;
        self.metrics.changed_tables().record(&commits, self.clock.wall_us());
        let mut events = self.mapper.events(&commits, upto);
        let mut attempts = self.refusals;
        loop {
            match self.leader.apply(prev, upto, watermark, &mut events).await {
                Ok(result) => {
                    self.schema.note(result);
                    break report(&self.metrics, result);
                }
                Err(err) => {
                    self.back_off(&err, &mut attempts).await;
                    if self.gives_up(&err, attempts) {
                        return;
                    }
                }
            }
        }
        self.report_recovery(attempts);
        self.feed.ack(upto);
        self.record(&events, attempts);
        self.coverage.advance(&mut self.leader).await;
        match self.leader.collect().await {
            Ok(0) => {}
            Ok(dropped) => tracing::debug!(dropped, "collected tombstones"),
            Err(err) => tracing::debug!(error = %err, "tombstones could not be collected"),
        }
    }

    /// Reports a failed attempt and waits 20 to 640 ms, doubling. Delivery is at least once: nothing is
    /// acknowledged before an attempt has succeeded.
    async fn back_off(&mut self, err: &TierError, attempts: &mut u32) {
        *attempts += 1;
        self.metrics.retries.inc();
        if *attempts == ATTEMPTS_BEFORE_ALERT {
            self.metrics.exhausted.inc();
            tracing::error!(
                error = %err,
                tries = *attempts,
                "invalidations can't be applied; answers follow their contracts' rules for lost proof"
            );
        }
        self.health.optional("shared", false, err.to_string());
        let backoff = Duration::from_millis(10 << (*attempts).min(6));
        tokio::time::sleep(backoff).await;
    }

    /// Reports that the shared tier works again, if attempts have failed before.
    fn report_recovery(&mut self, attempts: u32) {
        self.refusals = 0;
        if attempts > 0 {
            self.health.optional("shared", true, "applies invalidations");
        }
    }

    fn record(&self, events: &[Event], retries: u32) {
        let now_us = self.clock.wall_us();
        let now_ms = now_us / 1_000;
        for event in events {
            self.metrics.observe(event, now_us);
            self.journal.push(Record {
                position: event.lsn,
                cause: event.cause,
                subjects: event.subjects.iter().take(SUBJECTS_KEPT).cloned().collect(),
                subjects_total: event.subjects.len(),
                committed_us: event.committed_us,
                shared_ms: Some(now_ms),
                local_ms: (self.engine.status().applied >= event.lsn).then_some(now_ms),
                retries,
            });
        }
    }
}

/// Counts and logs a repair of the shared tier.
fn report(metrics: &FollowMetrics, result: ApplyResult) {
    match result {
        ApplyResult::Applied => {}
        ApplyResult::Replayed(from) => {
            metrics.replays.inc();
            tracing::warn!(%from, "the shared tier went back to an earlier position; the log was replayed from there");
        }
        ApplyResult::Repaired(gap) => {
            tracing::warn!(%gap, "buckets of the shared tier lost their tombstones and were reset");
        }
        ApplyResult::Reset(gap) => {
            metrics.epoch_resets.inc();
            tracing::warn!(%gap, "the shared tier lost its tombstones; a new epoch begins");
        }
    }
}
