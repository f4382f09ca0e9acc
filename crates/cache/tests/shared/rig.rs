//! Tiers under test, and constructors of their inputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache::entry::{Content, Entry, Value};
use cache::shared::{
    Fill, MemoryTier, NodeMessage, Outcome, RedisOptions, RedisTier, SharedRead, SharedTier,
    TierPosition,
};
use coherence::{
    Batch, Cause, Clock, CoverageDigest, Epoch, Event, LeaseToken, Lsn, Mono, Refusal, Renewal,
    Subject, Verdict,
};
use contract::{Key, Tag};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

pub(crate) const EPOCH: Epoch = Epoch { system: 7, timeline: 1, server: 3, incarnation: 1 };
pub(crate) const NEXT: Epoch = Epoch { incarnation: 2, ..EPOCH };
/// About three years.
pub(crate) const FOREVER: Duration = Duration::from_secs(100_000_000);
/// The number of tombstones that the tiers keep.
pub(crate) const TOMBSTONES: u64 = 1_500;
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A clock that only [`advance`](Self::advance) moves.
#[derive(Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn mono(&self) -> Mono {
        Mono(self.0.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.load(Ordering::Relaxed) / 1_000_000
    }
}

/// A tier under test.
pub(crate) struct Rig {
    pub(crate) tier: Arc<dyn SharedTier>,
    time: Time,
}

enum Time {
    Virtual(Arc<ManualClock>),
    Real(Server),
}

/// The servers of a Redis tier.
#[derive(Clone)]
pub(crate) enum Server {
    One(Arc<harness::Redis>),
    Cluster(Arc<harness::Cluster>),
}

impl Server {
    pub(crate) fn one() -> Self {
        Self::One(Arc::new(harness::Redis::start().expect("a Redis server")))
    }

    pub(crate) fn cluster() -> Self {
        Self::Cluster(Arc::new(harness::Cluster::start().expect("a cluster")))
    }

    /// Returns options with time limits for a loaded machine.
    pub(crate) fn options(&self) -> RedisOptions {
        match self {
            Self::One(server) => options_for(server),
            Self::Cluster(cluster) => options_at(cluster.url()),
        }
    }

    /// Runs redis-cli on every primary, and returns the output of the first.
    pub(crate) fn on_every_primary(&self, words: &[&str]) -> String {
        match self {
            Self::One(server) => server.cli(words).expect("redis-cli"),
            Self::Cluster(cluster) => {
                let outputs = cluster.cli_on_primaries(words);
                assert_eq!(outputs.len(), 3, "{words:?}: {outputs:?}");
                outputs.into_iter().next().expect("three").1
            }
        }
    }
}

impl Rig {
    pub(crate) async fn memory() -> Self {
        let clock = Arc::new(ManualClock::default());
        let tier = MemoryTier::new(Arc::clone(&clock) as Arc<dyn Clock>, 64 << 20);
        let tier = tier.with_tombstones(TOMBSTONES as usize);
        Self { tier: Arc::new(tier), time: Time::Virtual(clock) }
    }

    pub(crate) async fn redis() -> Self {
        Self::on(&Server::one(), "tg").await
    }

    pub(crate) async fn on(server: &Server, prefix: &str) -> Self {
        let options = RedisOptions { prefix: prefix.to_owned(), ..server.options() };
        let tier = RedisTier::connect(options).await.expect("a tier");
        Self { tier: Arc::new(tier), time: Time::Real(server.clone()) }
    }

    /// Resets the epoch at position 10.
    pub(crate) async fn with_epoch(self) -> Self {
        self.tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
        self
    }

    pub(crate) async fn pass(&self, time: Duration) {
        match &self.time {
            Time::Virtual(clock) => clock.advance(time),
            Time::Real(_) => tokio::time::sleep(time).await,
        }
    }

    pub(crate) async fn read(&self, key: &Key) -> SharedRead {
        self.tier.read(key, None).await.expect("read")
    }

    pub(crate) async fn found(&self, key: &Key) -> Option<Entry> {
        match self.read(key).await.outcome {
            Outcome::Found { entry, .. } => Some(entry),
            Outcome::Miss => None,
            other => panic!("{other:?} without asking for a lease"),
        }
    }

    /// Returns the rest of the entry's TTL.
    pub(crate) async fn remaining(&self, key: &Key) -> Duration {
        match self.read(key).await.outcome {
            Outcome::Found { remaining, .. } => remaining,
            other => panic!("{other:?} instead of an entry"),
        }
    }

    /// Returns the time of the tier's wall clock.
    pub(crate) fn wall_ms(&self) -> u64 {
        match &self.time {
            Time::Virtual(clock) => clock.wall_ms(),
            Time::Real(server) => {
                let time = server.on_every_primary(&["time"]);
                let seconds = time.split_whitespace().next().expect("seconds");
                seconds.parse::<u64>().expect("a number") * 1_000
            }
        }
    }

    pub(crate) async fn lead(&self, key: &Key, ttl: Duration) -> LeaseToken {
        match self.tier.read(key, Some(ttl)).await.expect("read").outcome {
            Outcome::Lead(token) => token,
            other => panic!("{other:?} instead of a lease"),
        }
    }

    pub(crate) async fn waits(&self, key: &Key) -> bool {
        let read = self.tier.read(key, Some(LONG)).await.expect("read");
        matches!(read.outcome, Outcome::Wait(_))
    }

    pub(crate) async fn fill(&self, fill: Fill) -> Verdict {
        self.tier.fill(&fill).await.expect("fill")
    }

    pub(crate) async fn apply(&self, batch: Batch) {
        self.tier.apply(&batch).await.expect("apply").expect("no gap");
    }
}

/// Returns options with time limits for a loaded machine.
pub(crate) fn options_for(server: &harness::Redis) -> RedisOptions {
    options_at(server.url())
}

pub(crate) fn options_at(url: String) -> RedisOptions {
    RedisOptions {
        timeout: Duration::from_secs(5),
        tombstones: TOMBSTONES,
        ..RedisOptions::new(url)
    }
}

pub(crate) fn key(n: u8) -> Key {
    Key::parse(&format!("v1:catalog:price:{n}")).expect("a key")
}

/// Returns one of many keys.
pub(crate) fn numbered(n: u32) -> Subject {
    Subject::Key(Key::parse(&format!("v1:catalog:many:{n}")).expect("a key"))
}

pub(crate) fn tag(n: u8) -> Tag {
    Tag::parse(&format!("category-{n}")).expect("a tag")
}

pub(crate) fn entry(body: &'static str, tau: u64) -> Entry {
    let body = body.as_bytes().into();
    let content = Content::Present(Value { head: Default::default(), body });
    Entry {
        content,
        tau: Lsn(tau),
        tags: Arc::default(),
        loaded_wall_ms: 1_700_000_000_000,
        changes_at: None,
        cost_us: 1_500,
        ttl: LONG,
        seen: Lsn(tau),
        definition: 0,
    }
}

pub(crate) fn fill(key: &Key, body: &'static str, tau: u64) -> Fill {
    Fill { key: key.clone(), entry: entry(body, tau), epoch: EPOCH, lease: None }
}

pub(crate) fn tagged(key: &Key, body: &'static str, tau: u64, tags: &[Tag]) -> Fill {
    let mut fill = fill(key, body, tau);
    fill.entry.tags = tags.into();
    fill
}

pub(crate) fn leased(key: &Key, body: &'static str, tau: u64, lease: LeaseToken) -> Fill {
    Fill { lease: Some(lease), ..fill(key, body, tau) }
}

/// Adds the values of some keys after the commit.
pub(crate) fn renewing(batch: Batch, renewals: Vec<Renewal>) -> Batch {
    let events = batch.events.into_iter();
    let events = events.map(|event| Event { renewals: renewals.clone(), ..event }).collect();
    Batch { events, ..batch }
}

pub(crate) fn renewal(key: &Key, value: Option<&str>, tags: &[Tag]) -> Renewal {
    let ttl = FOREVER;
    Renewal {
        key: key.clone(),
        value: value.map(Into::into),
        tags: tags.to_vec(),
        ttl,
        definition: 0,
    }
}

/// Returns a batch of one commit at `upto`.
pub(crate) fn batch(prev: u64, upto: u64, subjects: Vec<Subject>) -> Batch {
    let event = Event {
        lsn: Lsn(upto),
        cause: Cause::Commit,
        committed_us: 5,
        subjects,
        renewals: Vec::new(),
    };
    let (prev, upto) = (Lsn(prev), Lsn(upto));
    Batch {
        epoch: EPOCH,
        prev,
        upto,
        watermark: upto,
        coverage: CoverageDigest::NONE,
        events: vec![event],
    }
}

/// Returns a position in the epoch of the tests, where no leader has stated mappings.
pub(crate) fn position(applied: u64, watermark: u64) -> TierPosition {
    let (applied, watermark) = (Lsn(applied), Lsn(watermark));
    TierPosition { epoch: EPOCH, applied, watermark, coverage: CoverageDigest::NONE }
}

pub(crate) const fn refused(why: Refusal) -> Verdict {
    Verdict::Refuse(why)
}

/// Returns the next message. Panics after a time that only a broken stream takes.
pub(crate) async fn next(stream: &mut Receiver<NodeMessage>) -> NodeMessage {
    let message = timeout(Duration::from_secs(20), stream.recv()).await;
    message.expect("a message in time").expect("an open stream")
}

/// Returns the next message, which has to be a batch.
pub(crate) async fn next_batch(stream: &mut Receiver<NodeMessage>) -> Batch {
    match next(stream).await {
        NodeMessage::Batch(batch) => batch,
        other => panic!("{other:?} instead of a batch"),
    }
}

impl Rig {
    /// Returns a subscription that has taken effect.
    pub(crate) async fn subscribed(&self) -> Receiver<NodeMessage> {
        let mut stream = self.tier.subscribe();
        if let Time::Real(_) = self.time {
            assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "begins with a loss");
        }
        stream
    }
}

/// Waits until `ask` returns a value. Panics after a time that only a broken tier takes.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let limit = tokio::time::Instant::now() + Duration::from_secs(60);
    while tokio::time::Instant::now() < limit {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within a minute");
}
