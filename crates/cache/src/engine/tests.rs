//! Engines on the embedded shared tier, in virtual time.

mod absent_filter;
mod atomic;
mod batch;

mod contracts;
mod inspect;

mod pressure;
mod races;
mod read_your_writes;
mod service;
mod single_flight;
mod sliding;
mod standalone;
mod standby;
mod storm;
mod table;
mod tier_identity;
mod timed;
mod wildcards;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::fence::Gap;
use coherence::{
    AppliedSchema, Batch, CausalToken, Cause, Clock, CoverageDigest, Epoch, Event, LeaseToken, Lsn,
    Mono, Subject, Verdict,
};
use contract::{Key, Tag, Unproven};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::entry::{Content, Entry, Value};
use crate::origin::{Loaded, Origin, OriginError, OriginErrorKind};
use crate::shared::{
    Fill, LeadRequest, Leadership, Led, MemoryTier, NodeMessage, SharedRead, SharedTier, TierError,
    TierPosition, Touch,
};
use crate::survey::Survey;

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };
const MS: Duration = Duration::from_millis(1);
const BUDGET: Duration = Duration::from_secs(1);

/// Tokio's clock, which stops while tasks run and jumps while none can.
struct VirtualClock(tokio::time::Instant);

impl Clock for VirtualClock {
    fn mono(&self) -> Mono {
        // Not zero: the start of the clock must not look like a proof.
        Mono(u64::try_from(self.0.elapsed().as_nanos()).unwrap() + 1_000_000_000_000)
    }

    fn wall_ms(&self) -> u64 {
        self.wall_us() / 1_000
    }

    fn wall_us(&self) -> u64 {
        1_800_000_000_000_000 + u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

fn key(id: u32) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).unwrap()
}

fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

/// A database with one log and the shared tier that follows it, with faults.
struct World {
    clock: Arc<dyn Clock>,
    shared: Arc<FaultyTier>,
    log_end: Arc<AtomicU64>,
    /// Whether nodes can ask the primary for the end of its log.
    primary_answers: Arc<std::sync::atomic::AtomicBool>,
    epoch: Mutex<Epoch>,
    /// The mappings that the leader has stated.
    coverage: Mutex<CoverageDigest>,
}

impl World {
    /// Creates a log that ends at 10 and is applied everywhere.
    async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(tokio::time::Instant::now()));
        let world = Self {
            shared: Arc::new(FaultyTier::new(&clock)),
            clock,
            log_end: Arc::new(AtomicU64::new(10)),
            primary_answers: Arc::new(true.into()),
            epoch: Mutex::new(EPOCH),
            coverage: Mutex::new(CoverageDigest::NONE),
        };
        world.shared.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.unwrap();
        world
    }

    /// Starts a node that follows the stream and samples the primary four times a second.
    async fn node(&self) -> Engine {
        self.node_with(EngineOptions::default(), Arc::clone(&self.shared) as _).await
    }

    /// Starts a node whose contracts may spend their budgets, or one whose commits always remove entries.
    async fn node_governed(&self, governor: bool) -> Engine {
        let governor = if governor { GovernorMode::On } else { GovernorMode::Off };
        let options = EngineOptions { governor, ..EngineOptions::default() };
        self.node_with(options, Arc::clone(&self.shared) as _).await
    }

    async fn node_with(&self, options: EngineOptions, shared: Arc<dyn SharedTier>) -> Engine {
        let metrics = Metrics::detached();
        let engine = Engine::new(options, shared, Arc::clone(&self.clock), metrics);
        let follower = engine.clone();
        tokio::spawn(async move { follower.follow(std::future::pending()).await });
        let sampler = engine.clone();
        let (clock, end) = (Arc::clone(&self.clock), Arc::clone(&self.log_end));
        let answers = Arc::clone(&self.primary_answers);
        tokio::spawn(async move {
            loop {
                if answers.load(Ordering::Relaxed) {
                    let end = Lsn(end.load(Ordering::Relaxed));
                    sampler.sample(EPOCH.log(), clock.mono(), end);
                }
                tokio::time::sleep(250 * MS).await;
            }
        });
        settle().await;
        self.heartbeat().await;
        settle().await;
        assert!(engine.status().epoch.is_some(), "the node follows");
        engine
    }

    fn batch(&self, subjects: Vec<Subject>) -> Batch {
        let prev = Lsn(self.log_end.load(Ordering::Relaxed));
        let upto = Lsn(prev.0 + u64::from(!subjects.is_empty()));
        let committed_us = self.clock.wall_us();
        let event =
            Event { lsn: upto, cause: Cause::Commit, committed_us, subjects, renewals: Vec::new() };
        let events = if upto > prev { vec![event] } else { Vec::new() };
        Batch {
            epoch: *self.epoch.lock(),
            prev,
            upto,
            watermark: upto,
            coverage: *self.coverage.lock(),
            events,
        }
    }

    async fn heartbeat(&self) {
        self.shared.apply(&self.batch(Vec::new())).await.unwrap().unwrap();
    }

    /// Commits; every node has applied the commit on return.
    async fn commit(&self, subjects: Vec<Subject>) {
        let batch = self.commit_unapplied(subjects);
        self.shared.apply(&batch).await.unwrap().unwrap();
        settle().await;
    }

    /// Commits without applying the commit to any tier.
    fn commit_unapplied(&self, subjects: Vec<Subject>) -> Batch {
        let batch = self.batch(subjects);
        self.log_end.store(batch.upto.0, Ordering::Relaxed);
        batch
    }

    /// Cuts the nodes off the primary: from now on no bound can be proven.
    fn cut_off_primary(&self) {
        self.primary_answers.store(false, Ordering::Relaxed);
    }
}

/// Lets every task run until it waits, without moving time.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// The embedded shared tier with faults.
struct FaultyTier {
    tier: MemoryTier,
    /// Every call fails.
    down: std::sync::atomic::AtomicBool,
    /// The delay of replies to reads: their content is older by this.
    late_reads: Mutex<Duration>,
    /// Calls for one key, and for several.
    single_reads: AtomicUsize,
    batch_reads: AtomicUsize,
    /// Calls with touches, and the touches in them.
    touches: AtomicUsize,
    touched: AtomicUsize,
}

impl FaultyTier {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        Self {
            tier: MemoryTier::new(Arc::clone(clock), 64 << 20),
            down: false.into(),
            late_reads: Mutex::new(Duration::ZERO),
            single_reads: AtomicUsize::new(0),
            batch_reads: AtomicUsize::new(0),
            touches: AtomicUsize::new(0),
            touched: AtomicUsize::new(0),
        }
    }

    fn up(&self) -> Result<(), TierError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(TierError::Unavailable("switched off".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl SharedTier for FaultyTier {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        self.up()?;
        self.single_reads.fetch_add(1, Ordering::Relaxed);
        let late = *self.late_reads.lock();
        let read = self.tier.read(key, lease).await;
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        read
    }

    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.up()?;
        self.batch_reads.fetch_add(1, Ordering::Relaxed);
        self.tier.read_many(keys, lease).await
    }

    async fn read_and_touch(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        self.up()?;
        self.tier.read_and_touch(keys, touches, lease).await
    }

    async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        self.up()?;
        self.touches.fetch_add(1, Ordering::Relaxed);
        self.touched.fetch_add(uses.len(), Ordering::Relaxed);
        self.tier.touch(uses).await
    }

    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        self.up()?;
        self.tier.inspect(key).await
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        self.up()?;
        self.tier.fill(fill).await
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        self.up()?;
        self.tier.renew(key, lease, ttl).await
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        self.up()?;
        self.tier.release(key, lease).await
    }

    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        self.up()?;
        self.tier.apply(batch).await
    }

    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError> {
        self.up()?;
        self.tier.evict(subjects).await
    }

    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        self.up()?;
        self.tier.survey(subjects).await
    }

    async fn reset_epoch(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        self.up()?;
        self.tier.reset_epoch(epoch, at, watermark).await
    }

    async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        self.up()?;
        self.tier.lead(request).await
    }

    async fn leadership(&self) -> Result<Leadership, TierError> {
        self.up()?;
        self.tier.leadership().await
    }

    async fn position(&self) -> Result<Option<TierPosition>, TierError> {
        self.up()?;
        self.tier.position().await
    }

    async fn applied_schema(&self) -> Result<Option<(Epoch, Option<AppliedSchema>)>, TierError> {
        self.up()?;
        self.tier.applied_schema().await
    }

    async fn record_schema(&self, epoch: Epoch, schema: &AppliedSchema) -> Result<bool, TierError> {
        self.up()?;
        self.tier.record_schema(epoch, schema).await
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        self.up()?;
        self.tier.collect(upto).await
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        self.tier.subscribe()
    }
}

type Reply = Box<dyn Fn(usize) -> Result<Loaded, OriginError> + Send + Sync>;

/// A row, and how its database answers loads.
struct Row {
    calls: AtomicUsize,
    takes: Mutex<Duration>,
    reply: Mutex<Reply>,
}

impl Row {
    fn new(
        takes: Duration,
        reply: impl Fn(usize) -> Result<Loaded, OriginError> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            takes: Mutex::new(takes),
            reply: Mutex::new(Box::new(reply)),
        })
    }

    /// Creates a row with this text.
    fn returning(takes: Duration, text: &'static str) -> Arc<Self> {
        Self::new(takes, move |_| Ok(present(text)))
    }

    fn set(&self, reply: impl Fn(usize) -> Result<Loaded, OriginError> + Send + Sync + 'static) {
        *self.reply.lock() = Box::new(reply);
    }

    fn update(&self, text: &'static str) {
        self.set(move |_| Ok(present(text)));
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Origin for Row {
    /// Returns the row as of the start of the load.
    async fn load(&self, _key: &Key, _id: &str) -> Result<Loaded, OriginError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let seen = (self.reply.lock())(call);
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        seen
    }
}

fn present(text: &'static str) -> Loaded {
    let body = Bytes::from_static(text.as_bytes());
    let value = Value { head: Bytes::new(), body };
    Loaded {
        content: Content::Present(value),
        tags: vec![tag("product-1")],
        ttl: None,
        seen: None,
        replayed: None,
        log: None,
        behind: Duration::ZERO,
        change: None,
    }
}

fn absent() -> Loaded {
    Loaded {
        content: Content::Absent,
        tags: Vec::new(),
        ttl: None,
        seen: None,
        replayed: None,
        log: None,
        behind: Duration::ZERO,
        change: None,
    }
}

fn uncacheable() -> Loaded {
    Loaded {
        content: Content::Uncacheable,
        tags: Vec::new(),
        ttl: None,
        seen: None,
        replayed: None,
        log: None,
        behind: Duration::ZERO,
        change: None,
    }
}

fn failing() -> OriginError {
    OriginError { kind: OriginErrorKind::Unavailable, message: "switched off".into() }
}

/// The rules of a contract with a budget of a second, without randomness.
fn rules(unproven: Unproven) -> Rules {
    Rules {
        unproven,
        ttl: Duration::from_secs(60),
        absent_ttl: Duration::from_secs(30),
        refresh: contract::Refresh { beta: 0.0, jitter: 0.0 },
        ..Rules::new("price", BUDGET)
    }
}

fn policy(rules: Rules) -> Arc<Policy> {
    Arc::new(Policy::new(rules))
}

async fn read(engine: &Engine, policy: &Arc<Policy>, row: &Arc<Row>) -> Result<Answer, ReadError> {
    let origin = Arc::clone(row) as Arc<dyn Origin>;
    engine.get(&key(1), "1", policy, &origin).await
}

/// Reads, and returns the text with the tier that answered.
async fn served(engine: &Engine, policy: &Arc<Policy>, row: &Arc<Row>) -> (String, Tier) {
    let answer = read(engine, policy, row).await.expect("an answer");
    (text(&answer), answer.proof().tier)
}

fn text(answer: &Answer) -> String {
    match answer.entry.content() {
        Content::Present(value) => String::from_utf8_lossy(&value.body).into_owned(),
        Content::Absent => "absent".into(),
        Content::Uncacheable => "uncacheable".into(),
    }
}

fn is(text: &str, tier: Tier) -> (String, Tier) {
    (text.to_owned(), tier)
}
