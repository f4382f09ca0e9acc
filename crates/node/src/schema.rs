//! The schema of a source as each node follows it: which samples prove its tiers after a definition was
//! altered.

use std::collections::BTreeSet;
use std::sync::Arc;

use cache::{Engine, Origin, OriginErrorKind, TierError};
use coherence::applied_schema::SampleVerdict;
use coherence::{Cause, Lsn, SchemaGate, Subject};
use feed::{FeedError, LogMessage, LogSample, Schema, Source, UnfollowedRead};
use thiserror::Error;

use crate::health::Health;

/// The number of unproven samples in a row after which the schema counts as not applied for long.
const PENDING_SAMPLES: u32 = 40;

/// An origin whose statements depend on the schema of a source.
#[derive(Clone)]
pub struct SchemaDependent {
    /// The origin.
    pub origin: Arc<dyn Origin>,
    /// The entries that it loads, invalidated once its contract no longer fits the database; `None` if it
    /// loads none, as the auditor's.
    pub entries: Option<Subject>,
}

/// The part of a node that waits, after a definition was altered, until the leader has invalidated everything
/// that depends on it, and prepares this node's own statements again.
pub(crate) struct SchemaFollower {
    engine: Engine,
    source: Arc<dyn Source>,
    origins: Vec<SchemaDependent>,
    gate: SchemaGate,
    /// The schema that the source's samples refer to.
    own: Option<Arc<Schema>>,
    /// The digest of the schema that the origins were prepared under.
    prepared: Option<u64>,
    /// Entries to invalidate, because their contract no longer fits the database.
    unfit: Vec<Subject>,
    /// Samples in a row that proved nothing.
    unproven: u32,
}

/// Why no sample proves the tiers now.
#[derive(Debug, Error)]
enum Unproven {
    #[error(transparent)]
    Source(#[from] FeedError),
    #[error("the shared tier's schema can't be read: {0}")]
    Tier(#[from] TierError),
    #[error("a statement can't be prepared for the altered schema: {0}")]
    Origin(#[from] cache::OriginError),
    #[error("a definition was altered, and the leader has not applied that yet")]
    NotApplied,
}

impl SchemaFollower {
    pub(crate) fn new(engine: Engine, source: Arc<dyn Source>) -> Self {
        Self {
            engine,
            source,
            origins: Vec::new(),
            gate: SchemaGate::default(),
            own: None,
            prepared: None,
            unfit: Vec::new(),
            unproven: 0,
        }
    }

    /// Also prepares `origins` again whenever the schema was altered.
    pub(crate) fn prepare(&mut self, origins: Vec<SchemaDependent>) {
        self.origins = origins;
    }

    /// Returns the position at which a tier is proven by the sample; `None` if it proves nothing.
    pub(crate) async fn proven_at(&mut self, sample: &LogSample, health: &Health) -> Option<Lsn> {
        let position = self.position(sample, health).await;
        self.unproven = if position.is_some() { 0 } else { self.unproven.saturating_add(1) };
        position
    }

    /// Whether the next sample may soon prove: the leader applies a schema within a second or two.
    pub(crate) fn is_pending(&self) -> bool {
        (1..=PENDING_SAMPLES).contains(&self.unproven)
    }

    async fn position(&mut self, sample: &LogSample, health: &Health) -> Option<Lsn> {
        let Some(digest) = sample.schema else { return Some(sample.end.lsn) };
        let verdict = self.judge(digest, sample.end.lsn);
        if let SampleVerdict::Proves(position) = verdict {
            // An attempt to adopt another schema may have failed meanwhile.
            health.optional("schema", true, "is applied");
            return Some(position);
        }
        match self.adopt(digest, verdict == SampleVerdict::Returned).await {
            Ok(adopted) => {
                health.optional("schema", true, "is applied");
                // Else the sample is of before the schema was read, and the next one may prove.
                if adopted != digest {
                    return None;
                }
            }
            Err(err) => health.optional("schema", false, err.to_string()),
        }
        match self.judge(digest, sample.end.lsn) {
            SampleVerdict::Proves(position) => Some(position),
            SampleVerdict::Differs | SampleVerdict::Returned => None,
        }
    }

    fn judge(&mut self, digest: u64, end: Lsn) -> SampleVerdict {
        self.gate.judge(self.engine.status().epoch, digest, end)
    }

    /// Adopts the present schema if the leader has applied it, and returns its digest. It is read if its digest is
    /// not this one. `returned`: this node has to invalidate the entries that were loaded under another schema meanwhile.
    async fn adopt(&mut self, digest: u64, returned: bool) -> Result<u64, Unproven> {
        let schema = match &self.own {
            Some(own) if own.digest() == digest => Arc::clone(own),
            _ => self.read().await?,
        };
        if self.prepared != Some(schema.digest()) {
            self.unfit = self.prepare_origins(schema.digest()).await?;
            self.prepared = Some(schema.digest());
        }
        let recorded = self.engine.shared().applied_schema().await?;
        let Some((epoch, Some(applied))) = recorded else { return Err(Unproven::NotApplied) };
        if !applied.covers(schema.objects()) {
            return Err(Unproven::NotApplied);
        }
        let mut position = applied.position;
        if returned {
            tracing::warn!("an altered definition was altered back; everything is invalidated");
            position = position.max(self.source.emit(&LogMessage::everything("schema")).await?);
        }
        if !self.unfit.is_empty() {
            let cause = Cause::Application;
            let message = LogMessage { id: "schema".into(), cause, subjects: self.unfit.clone() };
            for part in message.split() {
                position = position.max(self.source.emit(&part).await?);
            }
            self.unfit.clear();
        }
        self.gate.adopt(epoch, schema.digest(), position);
        Ok(schema.digest())
    }

    async fn read(&mut self) -> Result<Arc<Schema>, Unproven> {
        let schema = self.source.schema().await?.ok_or(Unproven::NotApplied)?;
        if let Some(before) = self.own.replace(Arc::clone(&schema)) {
            tracing::info!("a definition that contracts depend on was altered");
            warn_unfollowed(&schema.unfollowed, &before.unfollowed);
        }
        Ok(schema)
    }

    /// Prepares the origins again. One whose contract no longer fits the database refuses its loads from now on;
    /// the others are not held up. Returns the entries that such an origin has loaded: after the leader had
    /// applied the schema, a statement prepared before it may have filled one, which nothing else would end.
    async fn prepare_origins(&self, schema: u64) -> Result<Vec<Subject>, Unproven> {
        let mut unfit = Vec::new();
        for dependent in &self.origins {
            match dependent.origin.prepare_again(schema).await {
                Err(err) if err.kind == OriginErrorKind::Broken => {
                    tracing::error!(error = %err, "a contract no longer fits its database");
                    unfit.extend(dependent.entries.clone());
                }
                prepared => prepared?,
            }
        }
        Ok(unfit)
    }
}

/// Warns of tables and functions that values read and no contract follows, except for those of `before`.
pub fn warn_unfollowed(reads: &BTreeSet<UnfollowedRead>, before: &BTreeSet<UnfollowedRead>) {
    use feed::ReadObject::{Clock, Column, Function, Table, View};
    for unfollowed in reads.difference(before) {
        let contract = &unfollowed.contract;
        match &unfollowed.read {
            Table(table) => tracing::warn!(
                contract,
                table,
                fix = "list the table in `from`, with the entries that its rows are part of, or shorten `ttl`",
                "the value reads a table whose changes do not invalidate it"
            ),
            Function(function) => tracing::warn!(
                contract,
                function,
                fix = "on PostgreSQL write its body as `begin atomic … end`, which the database analyses; on MariaDB write its \
                       statement into the value, or shorten `ttl`",
                "the value calls a function; the tables that it reads are not known"
            ),
            View(view) => tracing::warn!(
                contract,
                view,
                fix = "grant select, show view on the view to the user of the source, and start again",
                "could not find out which tables a view of the value reads"
            ),
            Column(column) => tracing::warn!(
                contract,
                column,
                fix = "add it to `from.columns`, unless the value does not depend on it",
                "the value reads a view, function or row policy that reads a column outside `from.columns`"
            ),
            Clock(function) => tracing::warn!(
                contract,
                function,
                fix = "say in `changes_at` when the value changes next, or read the stored columns and compare them with the \
                       clock in the application",
                "the value reads a view, function or row policy whose result changes without a commit"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;
    use cache::shared::MemoryTier;
    use cache::{EngineOptions, Metrics, OriginError, SharedTier, SystemClock};
    use coherence::{AppliedSchema, Clock, Epoch};
    use feed::{Identity, LogEnd};
    use parking_lot::Mutex;

    use super::*;

    /// A source whose schema is one object with this digest.
    #[derive(Default)]
    struct Altered {
        digest: Mutex<u64>,
        emitted: Mutex<Vec<LogMessage>>,
    }

    const END: Lsn = Lsn(7);

    impl Altered {
        fn objects(&self) -> coherence::ObjectDigests {
            BTreeMap::from([("table".to_owned(), *self.digest.lock())])
        }
    }

    #[async_trait]
    impl Source for Altered {
        async fn log_end(&self) -> Result<LogEnd, FeedError> {
            Ok(LogEnd { system: 1, timeline: 1, server: 0, lsn: END })
        }

        async fn schema(&self) -> Result<Option<Arc<Schema>>, FeedError> {
            let schema = Schema::new(self.objects(), BTreeMap::new(), BTreeSet::new());
            Ok(Some(Arc::new(schema)))
        }

        async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
            self.emitted.lock().push(message.clone());
            Ok(Lsn(90))
        }

        async fn nudge(&self) -> Result<(), FeedError> {
            Ok(())
        }

        async fn identity(&self) -> Result<Identity, FeedError> {
            unreachable!("it is not asked for")
        }
    }

    /// An origin whose contract fits schemas up to 5.
    struct FitsUpToFive;

    #[async_trait]
    impl Origin for FitsUpToFive {
        async fn load(&self, _: &contract::Key, _: &str) -> Result<cache::Loaded, OriginError> {
            unreachable!("nothing is loaded")
        }

        async fn prepare_again(&self, schema: u64) -> Result<(), OriginError> {
            let message = "its key has several texts".into();
            let broken = OriginError { kind: OriginErrorKind::Broken, message };
            if schema <= 5 { Ok(()) } else { Err(broken) }
        }
    }

    /// Returns an engine that follows this tier's log in an epoch.
    async fn following(shared: &Arc<MemoryTier>, clock: Arc<dyn Clock>, epoch: Epoch) -> Engine {
        shared.reset_epoch(epoch, Lsn::ZERO, Lsn::ZERO).await.expect("reset");
        let engine =
            Engine::new(EngineOptions::default(), shared.clone(), clock, Metrics::detached());
        let follows = engine.clone();
        tokio::spawn(async move { follows.follow(std::future::pending()).await });
        let (prev, upto, watermark) = (Lsn::ZERO, Lsn::ZERO, Lsn::ZERO);
        let (coverage, events) = (coherence::CoverageDigest::NONE, Vec::new());
        let batch = coherence::Batch { epoch, prev, upto, watermark, coverage, events };
        while engine.status().epoch.is_none() {
            let _ = shared.apply(&batch).await.expect("a tier in memory");
            tokio::task::yield_now().await;
        }
        engine
    }

    fn recorded(digest: u64) -> AppliedSchema {
        let objects = BTreeMap::from([("table".to_owned(), digest)]);
        AppliedSchema { position: Lsn(3), objects }
    }

    fn sample(digest: u64) -> LogSample {
        LogSample {
            end: LogEnd { system: 1, timeline: 1, server: 0, lsn: END },
            schema: Some(digest),
        }
    }

    #[tokio::test]
    async fn schema_that_returned_is_invalidated() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let shared = Arc::new(MemoryTier::new(Arc::clone(&clock), 1 << 20));
        let epoch = Epoch::default();
        let engine = following(&shared, clock, epoch).await;
        let source = Arc::new(Altered::default());
        let mut follower = SchemaFollower::new(engine, source.clone());
        let health = Health::default();
        let mut proven_at = async |digest: u64| {
            *source.digest.lock() = digest;
            follower.proven_at(&sample(digest), &health).await
        };
        assert_eq!(proven_at(5).await, None, "no schema is recorded");
        shared.record_schema(epoch, &recorded(5)).await.expect("recorded");
        assert_eq!(proven_at(5).await, Some(END));
        assert_eq!(proven_at(6).await, None, "the leader has not applied it");
        assert!(source.emitted.lock().is_empty());
        // The record is that of the first state, and says nothing about the time in between.
        assert_eq!(proven_at(5).await, Some(Lsn(90)));
        assert_eq!(*source.emitted.lock(), [LogMessage::everything("schema")]);
        shared.record_schema(epoch, &recorded(8)).await.expect("recorded");
        assert_eq!(proven_at(8).await, Some(END));
        assert_eq!(source.emitted.lock().len(), 1);
    }

    // A statement prepared before the schema may have filled an entry after the leader had applied it.
    #[tokio::test]
    async fn entries_of_unfit_contract_are_invalidated_once() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let shared = Arc::new(MemoryTier::new(Arc::clone(&clock), 1 << 20));
        let epoch = Epoch::default();
        let engine = following(&shared, clock, epoch).await;
        let source = Arc::new(Altered::default());
        let keys = contract::Pattern::of_keys("v1:k:*").expect("a pattern");
        let entries = Subject::KeysLike(keys);
        let origins = vec![SchemaDependent {
            origin: Arc::new(FitsUpToFive),
            entries: Some(entries.clone()),
        }];
        let mut follower = SchemaFollower::new(engine, source.clone());
        follower.prepare(origins);
        let health = Health::default();
        let mut proven_at = async |digest: u64| {
            *source.digest.lock() = digest;
            shared.record_schema(epoch, &recorded(digest)).await.expect("recorded");
            follower.proven_at(&sample(digest), &health).await
        };
        assert_eq!(proven_at(5).await, Some(END));
        assert!(source.emitted.lock().is_empty());
        assert_eq!(proven_at(6).await, Some(Lsn(90)), "proven from the invalidation on");
        assert_eq!(proven_at(6).await, Some(Lsn(90)));
        let emitted: Vec<_> = source.emitted.lock().iter().map(|m| m.subjects.clone()).collect();
        assert_eq!(emitted, [vec![entries]]);
    }
}
