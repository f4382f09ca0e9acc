//! The loop from the log to the tiers: feed → contracts → shared tier → this node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::TierError;
use cache::leader::{Leader, Moved};
use coherence::resume::{Resume, Start};
use coherence::{Cause, Clock, Event, Lsn, Subject};
use contract::{Affected, Contracts, Incomplete, Op};
use control::journal::SUBJECTS_KEPT;
use control::{Health, Journal, Record};
use feed::{Bookmark, Commit, Feed, FeedError, FeedEvent, LogEnd, Piece};

use super::metrics::FollowMetrics;
use super::renew::{Renewals, Renewer};
use super::{Node, Shared};

/// After so many failed tries in a row somebody is told; the tries go on.
const TRIES_BEFORE_PAGE: u32 = 10;

/// After so long a silence of the log it is looked whether the shared tier stands where it was left:
/// it may have been flushed, or be another server.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Everything the loop works with.
pub(crate) struct Follower {
    feed: Box<dyn Feed>,
    leader: Leader,
    engine: cache::Engine,
    contracts: Arc<Contracts>,
    journal: Arc<Journal>,
    health: Arc<Health>,
    metrics: FollowMetrics,
    clock: Arc<dyn Clock>,
    renewer: Renewer,
    warned: BTreeSet<String>,
    /// Whether the feed has led or waited before, so that it can tell whether the server crashed.
    watched: bool,
    /// Whether it leads now.
    leads: bool,
}

/// Where the shared tier stands: a database that keeps no account of its followers is followed from
/// there.
struct Applied(Shared);

#[async_trait]
impl Bookmark for Applied {
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError> {
        let standing = self.0.standing().await.map_err(|err| FeedError::Unavailable {
            doing: "asking the shared tier where it stands",
            source: Box::new(err),
        })?;
        Ok(standing.map(|standing| LogEnd {
            system: standing.epoch.system,
            timeline: standing.epoch.timeline,
            lsn: standing.applied,
        }))
    }
}

impl Follower {
    pub(crate) fn new(
        mut feed: Box<dyn Feed>,
        renewer: Renewer,
        node: &Node,
        longest_ttl: Duration,
    ) -> Self {
        feed.resume(Arc::new(Applied(Arc::clone(node.engine.shared()))));
        Self {
            feed,
            leader: Leader::new(node.engine.clone(), Arc::clone(&node.clock), longest_ttl),
            engine: node.engine.clone(),
            contracts: Arc::clone(&node.contracts),
            journal: Arc::clone(&node.journal),
            health: Arc::clone(&node.health),
            metrics: node.follow_metrics.clone(),
            clock: Arc::clone(&node.clock),
            renewer,
            warned: BTreeSet::new(),
            watched: false,
            leads: false,
        }
    }

    /// Runs until the feed needs a person.
    pub(crate) async fn run(mut self) -> FeedError {
        loop {
            match self.next().await {
                Ok(FeedEvent::Started(start)) => {
                    self.start(&start).await;
                    self.leads = true;
                }
                Ok(FeedEvent::Piece(piece)) => self.piece(piece).await,
                Ok(FeedEvent::Standby) => {
                    (self.watched, self.leads) = (true, false);
                    self.health.optional("feed", true, "another node follows the log");
                }
                Ok(FeedEvent::Lost(err)) => {
                    self.leads = false;
                    self.health.optional("feed", false, err.to_string());
                }
                Err(err) => {
                    self.health.required("feed", false, err.to_string());
                    return err;
                }
            }
        }
    }

    /// What the feed says next; meanwhile the shared tier is looked after.
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        let mut next = std::pin::pin!(self.feed.next());
        loop {
            tokio::select! {
                biased;
                event = &mut next => return event,
                () = tokio::time::sleep(TEND_EVERY), if self.leads => {}
            }
            match self.leader.tend().await {
                Ok(Moved::Applied) => {}
                Ok(moved) => told(&self.metrics, moved),
                Err(err) => tracing::debug!(error = %err, "the shared tier can't be looked at"),
            }
        }
    }

    async fn start(&mut self, started: &feed::Start) {
        let start = Start {
            system: started.system,
            timeline: started.timeline,
            server: digest(&started.server_started),
            new_slot: started.slot_generation.is_some(),
            unbroken: self.watched.then_some(started.unbroken),
            position: started.position,
        };
        let first = !std::mem::replace(&mut self.watched, true);
        self.renewer.check().await;
        let mut tries = 0;
        let (verdict, watermark) = loop {
            match self.leader.start(start).await {
                Ok(begun) => break begun,
                Err(err) => self.failed(&err, &mut tries).await,
            }
        };
        self.feed.seen(watermark);
        match verdict {
            Resume::Continue(epoch) => {
                tracing::info!(%epoch, position = %start.position, "following the log");
            }
            Resume::Begin(epoch) => {
                self.metrics.incarnations.inc();
                let void = "following the log; what was cached before is void";
                if first {
                    tracing::info!(%epoch, position = %start.position, "{void}");
                } else {
                    tracing::warn!(%epoch, position = %start.position, "{void}");
                }
            }
        }
        self.health.optional("feed", true, "follows the log");
    }

    async fn piece(&mut self, piece: Piece) {
        let Piece { prev, upto, watermark, commits } = piece;
        let mut events = self.events(&commits, upto);
        let mut tries = 0;
        loop {
            match self.leader.apply(prev, upto, watermark, &mut events).await {
                Ok(moved) => break told(&self.metrics, moved),
                Err(err) => self.failed(&err, &mut tries).await,
            }
        }
        if tries > 0 {
            self.health.optional("shared", true, "applies invalidations");
        }
        self.feed.ack(upto);
        self.record(&events, tries);
        match self.leader.collect().await {
            Ok(0) => {}
            Ok(dropped) => tracing::debug!(dropped, "collected tombstones"),
            Err(err) => tracing::debug!(error = %err, "tombstones not collected this time"),
        }
    }

    /// At least once, with backoff; nothing is acknowledged before it succeeded.
    async fn failed(&mut self, err: &TierError, tries: &mut u32) {
        *tries += 1;
        self.metrics.retries.inc();
        if *tries == TRIES_BEFORE_PAGE {
            self.metrics.exhausted.inc();
            tracing::error!(error = %err, tries, "invalidations can't be applied; tiers fence themselves by contract");
        }
        self.health.optional("shared", false, err.to_string());
        let backoff = Duration::from_millis(10 << (*tries).min(6));
        tokio::time::sleep(backoff).await;
    }

    fn events(&mut self, commits: &[Commit], upto: Lsn) -> Vec<Event> {
        let mut events = Vec::new();
        for commit in commits {
            let mut subjects = BTreeSet::new();
            let mut renewals = Renewals::default();
            for change in &commit.changes {
                let affected = self.contracts.affected(change);
                self.complain(&affected);
                // What is told of a part of a commit only takes away.
                if commit.lsn <= upto {
                    self.renewer.note(change, &affected, &mut renewals);
                }
                subjects.extend(affected.keys.into_iter().map(Subject::Key));
                subjects.extend(affected.tags.into_iter().map(Subject::Tag));
                if affected.everything {
                    subjects.insert(Subject::Everything);
                }
            }
            if !subjects.is_empty() {
                let subjects = subjects.into_iter().collect();
                let deletes = commit.changes.iter().any(|change| change.op == Op::Delete);
                let cause = if deletes { Cause::Delete } else { Cause::Commit };
                let event = event(commit, cause, subjects);
                events.push(Event { renewals: renewals.into_told(), ..event });
            }
            for message in &commit.messages {
                events.push(event(commit, message.cause, message.subjects.clone()));
            }
        }
        events
    }

    /// A tag whose old value the log does not carry: once per template, since it is a matter of
    /// how the table is set up.
    fn complain(&mut self, affected: &Affected) {
        for incomplete in &affected.incomplete {
            self.metrics.incomplete.inc();
            let Incomplete { contract, template, column, .. } = incomplete;
            if self.warned.insert(format!("{contract} {template} {column}")) {
                tracing::warn!(
                    contract,
                    template,
                    column,
                    "the log does not carry the old value of a column that is needed to name what a \
                     change makes old; `alter table … replica identity full` mends it"
                );
            }
        }
    }

    fn record(&self, events: &[Event], retries: u32) {
        let now_us = self.clock.wall_us();
        let now_ms = now_us / 1_000;
        for event in events {
            self.metrics.invalidation(event, now_us);
            self.journal.push(Record {
                position: event.lsn,
                cause: event.cause,
                subjects: event.subjects.iter().take(SUBJECTS_KEPT).cloned().collect(),
                subjects_total: event.subjects.len(),
                committed_us: event.committed_us,
                shared_ms: Some(now_ms),
                local_ms: (self.engine.standing().applied >= event.lsn).then_some(now_ms),
                retries,
            });
        }
    }
}

/// Counts and says what became of the shared tier.
fn told(metrics: &FollowMetrics, moved: Moved) {
    match moved {
        Moved::Applied => {}
        Moved::ToldAgain(from) => {
            metrics.told_again.inc();
            tracing::warn!(%from, "the shared tier had gone back; it was told again what it missed");
        }
        Moved::Mended(gap) => {
            tracing::warn!(%gap, "parts of the shared tier had lost their marks; they begin anew");
        }
        Moved::BegunAnew(gap) => {
            metrics.incarnations.inc();
            tracing::warn!(%gap, "the shared tier had lost its marks; it begins anew");
        }
    }
}

fn event(commit: &Commit, cause: Cause, subjects: Vec<Subject>) -> Event {
    Event {
        lsn: commit.lsn,
        cause,
        committed_us: commit.committed_us,
        subjects,
        renewals: Vec::new(),
    }
}

/// The server's start time as a number; the same on every node.
fn digest(text: &str) -> u64 {
    // FNV-1a: stable across builds, which the standard hashers do not promise.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
