//! Differential tests: the embedded tier, Redis and a naive model of the pure rules get the same random steps and
//! have to answer alike. So the scripts implement the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cache::entry::{Content, Entry, Value};
use cache::shared::{
    Fill, MemoryTier, NodeMessage, Outcome, RedisOptions, RedisTier, SharedRead, SharedTier,
    TierPosition, Touch,
};
use coherence::fence::Gap;
use coherence::{
    Batch, Cause, Clock, Epoch, Event, Fence, LeaseToken, Lsn, Offer, Refusal, Renewal, Subject,
    Verdict,
};
use contract::{Key, Tag};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::rig::*;

const LEASE: Duration = Duration::from_secs(300);
/// The number of `Age` steps in the TTL of an entry.
const AGES: u32 = 8;

#[derive(Clone, Debug)]
enum Step {
    Read {
        key: u8,
        lease: bool,
    },
    /// Several keys in one call, possibly one of them twice.
    ReadMany {
        keys: Vec<u8>,
        lease: bool,
    },
    /// Several keys are touched: with a read (`here`), or without.
    Use {
        keys: Vec<u8>,
        here: bool,
    },
    /// Time passes: an eighth of the TTL.
    Age,
    Fill {
        key: u8,
        tags: Vec<u8>,
        tau: u64,
        epoch: u64,
        lease: Option<usize>,
    },
    Renew {
        lease: usize,
    },
    Release {
        lease: usize,
    },
    Apply {
        epoch: u64,
        back: u64,
        ahead: u64,
        watermark: u64,
        events: Vec<Commit>,
    },
    Evict {
        subjects: Vec<u8>,
    },
    /// Counts the entries that a purge request would remove.
    Survey {
        subjects: Vec<u8>,
    },
    Collect {
        upto: u64,
    },
    ResetEpoch {
        at: u64,
        watermark: u64,
    },
    LeasesExpire,
    Flush,
}

/// Position, subjects, and the tag of the keys' new values, if the commit contains them.
type Commit = (u64, Vec<u8>, Option<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = || 0..4_u8;
    let lsn = || 0..60_u64;
    let subjects = || proptest::collection::vec(0..SUBJECTS, 0..4);
    // Usually the present epoch (0), sometimes an earlier one.
    let epoch = || prop_oneof![6 => Just(0_u64), 1 => 1..3_u64];
    let lease = || proptest::option::of(0..6_usize);
    let step = prop_oneof![
        30 => (keys(), any::<bool>()).prop_map(|(key, lease)| Step::Read { key, lease }),
        10 => (proptest::collection::vec(keys(), 0..6), any::<bool>())
            .prop_map(|(keys, lease)| Step::ReadMany { keys, lease }),
        10 => (proptest::collection::vec(keys(), 0..6), any::<bool>())
            .prop_map(|(keys, here)| Step::Use { keys, here }),
        6 => Just(Step::Age),
        30 => (keys(), proptest::collection::vec(0..3_u8, 0..3), lsn(), epoch(), lease()).prop_map(
            |(key, tags, tau, epoch, lease)| Step::Fill { key, tags, tau, epoch, lease },
        ),
        4 => (0..6_usize).prop_map(|lease| Step::Renew { lease }),
        4 => (0..6_usize).prop_map(|lease| Step::Release { lease }),
        20 => (
            epoch(), 0..4_u64, 0..5_u64, lsn(),
            proptest::collection::vec(
                (lsn(), subjects(), proptest::option::of(0..4_u8)),
                0..3,
            ),
        ).prop_map(|(epoch, back, ahead, watermark, events)| {
            Step::Apply { epoch, back, ahead, watermark, events }
        }),
        5 => subjects().prop_map(|subjects| Step::Evict { subjects }),
        3 => subjects().prop_map(|subjects| Step::Survey { subjects }),
        3 => lsn().prop_map(|upto| Step::Collect { upto }),
        2 => (lsn(), lsn()).prop_map(|(at, watermark)| Step::ResetEpoch { at, watermark }),
        2 => Just(Step::LeasesExpire),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..250)
}

const SUBJECTS: u8 = 8 + WILDCARDS.len() as u8;

/// Each matches some keys or tags of the test and not others, except the first and the last one.
const WILDCARDS: [&str; 8] = [
    "k*:v1:catalog:price:*",
    "k*:*price:1",
    "k*:*:price:*2*",
    "k*:v1*log:*:3",
    "t*:category-*",
    "t*:*-1",
    "t*:*teg*ry-0*",
    "t*:categories-*",
];

/// Returns a key for 0 to 3, a tag for 4 to 6, everything for 7, then the wildcards.
fn subject(n: u8) -> Subject {
    match n {
        0..=3 => Subject::Key(key(n)),
        4..=6 => Subject::Tag(tag(n - 4)),
        7 => Subject::Everything,
        n => WILDCARDS[usize::from(n - 8)].parse().expect("a subject"),
    }
}

/// A granted lease, with the token of each tier.
#[derive(Clone)]
struct Lease {
    key: Key,
    memory: LeaseToken,
    redis: LeaseToken,
}

/// The rules of `coherence`, with naive collections of entries and lease holders.
#[derive(Default)]
struct Model {
    fence: Fence,
    entries: BTreeMap<Key, Entry>,
    /// The `Age` steps that each entry has left.
    left: BTreeMap<Key, u32>,
    /// The index of the present lease of each key.
    holders: BTreeMap<Key, usize>,
}

impl Model {
    fn position(&self) -> Option<TierPosition> {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        self.fence.epoch().map(|epoch| TierPosition { epoch, applied, watermark })
    }

    fn fill(&mut self, fill: &Fill, lease: Option<usize>) -> Verdict {
        let offer = Offer {
            key: &fill.key,
            tags: &fill.entry.tags,
            tau: fill.entry.tau,
            epoch: fill.epoch,
            stored: self.entries.get(&fill.key).map(|entry| entry.tau),
        };
        let mut verdict = self.fence.admit(offer);
        if let Some(lease) = lease {
            let holder = self.holders.get(&fill.key).copied();
            if holder == Some(lease) {
                self.holders.remove(&fill.key);
            } else if verdict == Verdict::Accept && holder.is_some() {
                verdict = Verdict::Refuse(Refusal::Lease);
            }
        }
        if verdict == Verdict::Accept {
            self.store(&fill.key, fill.entry.clone());
        }
        verdict
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Gap> {
        self.fence.apply(batch)?;
        for event in &batch.events {
            for subject in &event.subjects {
                let Subject::Key(key) = subject else { continue };
                if self.entries.get(key).is_none_or(|entry| entry.tau >= event.lsn) {
                    continue;
                }
                self.entries.remove(key);
                let Some(Renewal { value, tags, ttl, .. }) = event.renewal(key) else { continue };
                let (tau, epoch) = (event.lsn, batch.epoch);
                let offer = Offer { key, tags, tau, epoch, stored: None };
                if self.fence.admit(offer) == Verdict::Accept {
                    let content = match value {
                        Some(text) => Content::Present(Value {
                            head: Bytes::new(),
                            body: Bytes::copy_from_slice(text.as_bytes()),
                        }),
                        None => Content::Absent,
                    };
                    let renewed = Entry {
                        tau,
                        content,
                        tags: tags[..].into(),
                        loaded_wall_ms: 0,
                        cost: Duration::ZERO,
                        ttl: *ttl,
                        seen: tau,
                    };
                    self.store(key, renewed);
                }
            }
        }
        self.drop_invalid();
        Ok(())
    }

    fn store(&mut self, key: &Key, entry: Entry) {
        self.entries.insert(key.clone(), entry);
        self.left.insert(key.clone(), AGES);
    }

    fn touch(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.is_present()) else {
            return;
        };
        if self.left.insert(key.clone(), AGES) != Some(AGES) {
            entry.tau = self.fence.confirm(key, &entry.tags, entry.tau).expect("it is valid");
        }
    }

    fn age(&mut self) {
        self.holders.clear();
        let left = &mut self.left;
        self.entries.retain(|key, _| {
            let left = left.get_mut(key).expect("every entry has a rest");
            *left -= 1;
            *left > 0
        });
    }

    fn drop_invalid(&mut self) {
        let fence = &self.fence;
        self.entries.retain(|key, entry| fence.stands(key, &entry.tags, entry.tau));
    }

    fn evict(&mut self, subjects: &[Subject]) {
        self.entries.retain(|key, entry| {
            !subjects.iter().any(|subject| subject.concerns(key, &entry.tags))
        });
    }
}

struct Tiers<'a> {
    model: Model,
    memory: MemoryTier,
    redis: &'a RedisTier,
    server: &'a Server,
    clock: Arc<ManualClock>,
    leases: Vec<Lease>,
    /// All epochs, the present one last.
    epochs: Vec<Epoch>,
    bodies: u64,
}

/// The part of a read's outcome that is the same in all three.
#[derive(Debug, PartialEq)]
enum Observed {
    Found(Entry),
    Lead,
    Wait,
    Miss,
}

fn observe(outcome: Outcome) -> (Observed, Option<LeaseToken>) {
    match outcome {
        Outcome::Found { entry, .. } => (Observed::Found(entry), None),
        Outcome::Lead(token) => (Observed::Lead, Some(token)),
        Outcome::Wait(_) => (Observed::Wait, None),
        Outcome::Miss => (Observed::Miss, None),
    }
}

impl<'a> Tiers<'a> {
    fn new(redis: &'a RedisTier, server: &'a Server) -> Self {
        server.on_every_primary(&["flushall"]);
        let clock = Arc::new(ManualClock::default());
        let memory = MemoryTier::new(Arc::clone(&clock) as Arc<dyn Clock>, 16 << 20);
        let (model, leases, epochs) = (Model::default(), Vec::new(), Vec::new());
        Self { model, memory, redis, server, clock, leases, epochs, bodies: 0 }
    }

    /// Returns the epoch `back` epochs before the present one.
    fn epoch(&self, back: u64) -> Epoch {
        self.epochs.iter().rev().nth(back as usize).copied().unwrap_or_default()
    }

    async fn read(&mut self, key: &Key, lease: bool) {
        let lease = lease.then_some(LEASE);
        let memory = self.memory.read(key, lease).await.expect("memory");
        let redis = self.redis.read(key, lease).await.expect("redis");
        self.compare_read(key, lease, memory, redis);
    }

    /// Has to give the results of single reads in the same order.
    async fn read_many(&mut self, keys: &[Key], lease: bool) {
        let lease = lease.then_some(LEASE);
        let memory = self.memory.read_many(keys, lease).await.expect("memory");
        let redis = self.redis.read_many(keys, lease).await.expect("redis");
        assert_eq!((memory.len(), redis.len()), (keys.len(), keys.len()));
        for ((key, memory), redis) in keys.iter().zip(memory).zip(redis) {
            self.compare_read(key, lease, memory, redis);
        }
    }

    async fn r#use(&mut self, keys: &[Key], here: bool) {
        let touch = Touch::within(Duration::MAX);
        if !here {
            let uses: Vec<_> = keys.iter().map(|key| (key.clone(), touch)).collect();
            self.memory.touch(&uses).await.expect("memory");
            return self.redis.touch(&uses).await.expect("redis");
        }
        let touches = vec![Some(touch); keys.len()];
        let memory = self.memory.read_and_touch(keys, &touches, None).await.expect("memory");
        let redis = self.redis.read_and_touch(keys, &touches, None).await.expect("redis");
        assert_eq!((memory.len(), redis.len()), (keys.len(), keys.len()));
        for ((key, memory), redis) in keys.iter().zip(memory).zip(redis) {
            self.compare_read(key, None, memory, redis);
        }
    }

    fn compare_read(
        &mut self,
        key: &Key,
        lease: Option<Duration>,
        memory: SharedRead,
        redis: SharedRead,
    ) {
        let expected = match self.model.entries.get(key) {
            Some(entry) => Observed::Found(entry.clone()),
            None if lease.is_none() || self.model.fence.epoch().is_none() => Observed::Miss,
            None if self.model.holders.contains_key(key) => Observed::Wait,
            None => Observed::Lead,
        };
        assert_eq!(memory.position, self.model.position());
        assert_eq!(redis.position, self.model.position());
        let ((from_memory, memory), (from_redis, redis)) =
            (observe(memory.outcome), observe(redis.outcome));
        assert_eq!(from_memory, expected, "memory, {key}");
        assert_eq!(from_redis, expected, "redis, {key}");
        if let (Some(memory), Some(redis)) = (memory, redis) {
            self.model.holders.insert(key.clone(), self.leases.len());
            self.leases.push(Lease { key: key.clone(), memory, redis });
        }
    }

    async fn fill(&mut self, mut fill: Fill, lease: Option<usize>) {
        let lease = lease.and_then(|back| self.leases.len().checked_sub(back + 1));
        if let Some(lease) = lease {
            fill.key = self.leases[lease].key.clone();
        }
        let with = |token: Option<LeaseToken>| Fill { lease: token, ..fill.clone() };
        let tokens = lease.map(|lease| self.leases[lease].clone());
        let memory = with(tokens.as_ref().map(|lease| lease.memory));
        let redis = with(tokens.as_ref().map(|lease| lease.redis));
        let expected = self.model.fill(&fill, lease);
        assert_eq!(self.memory.fill(&memory).await.expect("memory"), expected, "memory: {fill:?}");
        assert_eq!(self.redis.fill(&redis).await.expect("redis"), expected, "redis: {fill:?}");
    }

    async fn apply(&mut self, batch: Batch) {
        let expected: Result<(), Gap> = self.model.apply(&batch);
        assert_eq!(self.memory.apply(&batch).await.expect("memory"), expected);
        assert_eq!(self.redis.apply(&batch).await.expect("redis"), expected);
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Read { key: n, lease } => self.read(&key(n), lease).await,
            Step::ReadMany { keys, lease } => {
                let keys: Vec<Key> = keys.into_iter().map(key).collect();
                self.read_many(&keys, lease).await;
            }
            Step::Use { keys, here } => {
                let keys: Vec<Key> = keys.into_iter().map(key).collect();
                keys.iter().for_each(|key| self.model.touch(key));
                self.r#use(&keys, here).await;
            }
            Step::Age => {
                self.model.age();
                self.clock.advance(FOREVER / AGES);
                let script = format!(
                    "for _, k in ipairs(redis.call('KEYS', '*')) do \
                     local left = redis.call('PTTL', k) - {} \
                     if left > 0 then redis.call('PEXPIRE', k, string.format('%.0f', left)) \
                     elseif redis.call('PTTL', k) >= 0 then redis.call('DEL', k) end end",
                    (FOREVER / AGES).as_millis()
                );
                self.server.on_every_primary(&["eval", &script, "0"]);
            }
            Step::Fill { key: n, tags, tau, epoch, lease } => {
                let mut entry = entry("", tau);
                // Unique, so that a wrong winner is noticed.
                self.bodies += 1;
                entry.loaded_wall_ms = self.bodies;
                entry.tags = tags.into_iter().map(tag).collect();
                entry.ttl = FOREVER;
                let epoch = self.epoch(epoch);
                self.fill(Fill { key: key(n), entry, epoch, lease: None }, lease).await;
            }
            Step::Renew { lease } => {
                let Some(at) = self.leases.len().checked_sub(lease + 1) else { return };
                let Lease { key, memory, redis } = self.leases[at].clone();
                let expected = self.model.holders.get(&key) == Some(&at);
                let renewed = self.memory.renew(&key, memory, LEASE).await.expect("memory");
                assert_eq!(renewed, expected, "memory");
                let renewed = self.redis.renew(&key, redis, LEASE).await.expect("redis");
                assert_eq!(renewed, expected, "redis");
            }
            Step::Release { lease } => {
                let Some(at) = self.leases.len().checked_sub(lease + 1) else { return };
                let Lease { key, memory, redis } = self.leases[at].clone();
                if self.model.holders.get(&key) == Some(&at) {
                    self.model.holders.remove(&key);
                }
                self.memory.release(&key, memory).await.expect("memory");
                self.redis.release(&key, redis).await.expect("redis");
            }
            Step::Apply { epoch, back, ahead, watermark, events } => {
                let applied = self.model.fence.applied().0;
                // A batch that begins one past the applied position has a gap before it.
                let prev = (applied + 1).saturating_sub(back);
                let event = |(lsn, subjects, value): Commit| Event {
                    lsn: Lsn(lsn),
                    cause: Cause::Commit,
                    committed_us: 0,
                    renewals: value.map_or_else(Vec::new, |with| {
                        let keys: BTreeSet<u8> =
                            subjects.iter().copied().filter(|n| *n < 4).collect();
                        let tags: Vec<Tag> = (with < 3).then(|| tag(with)).into_iter().collect();
                        let value = format!("{lsn}");
                        let value = (with < 2).then_some(value.as_str());
                        keys.into_iter().map(|n| renewal(&key(n), value, &tags)).collect()
                    }),
                    subjects: subjects.into_iter().map(subject).collect(),
                };
                let batch = Batch {
                    epoch: self.epoch(epoch),
                    prev: Lsn(prev),
                    upto: Lsn(prev + ahead),
                    watermark: Lsn(watermark),
                    events: events.into_iter().map(event).collect(),
                };
                self.apply(batch).await;
            }
            Step::Evict { subjects } => {
                let subjects: Vec<_> = subjects.into_iter().map(subject).collect();
                self.model.evict(&subjects);
                self.memory.evict(&subjects).await.expect("memory");
                self.redis.evict(&subjects).await.expect("redis");
            }
            Step::Survey { subjects } => {
                let subjects: Vec<_> = subjects.into_iter().map(subject).collect();
                let meant = |(key, entry): &(&Key, &Entry)| {
                    subjects.iter().any(|subject| subject.concerns(key, &entry.tags))
                };
                let expected = self.model.entries.iter().filter(meant);
                let expected: BTreeSet<Key> = expected.map(|(key, _)| key.clone()).collect();
                let memory = self.memory.survey(&subjects).await.expect("memory");
                let redis = self.redis.survey(&subjects).await.expect("redis");
                assert_eq!(redis, memory);
                assert_eq!((&memory.examples, memory.cut), (&expected, false));
                assert_eq!(memory.total(), expected.len() as u64);
            }
            Step::Collect { upto } => {
                let expected = self.model.fence.collect(Lsn(upto)) as u64;
                self.model.drop_invalid();
                assert_eq!(self.memory.collect(Lsn(upto)).await.expect("memory"), expected);
                assert_eq!(self.redis.collect(Lsn(upto)).await.expect("redis"), expected);
            }
            Step::ResetEpoch { at, watermark } => {
                let incarnation = self.epochs.len() as u64 + 1;
                let epoch = Epoch { incarnation, ..EPOCH };
                self.epochs.push(epoch);
                let (at, watermark) = (Lsn(at), Lsn(watermark));
                self.model.fence.reset_epoch(epoch, at, watermark);
                self.model.entries.clear();
                self.model.holders.clear();
                self.memory.reset_epoch(epoch, at, watermark).await.expect("memory");
                self.redis.reset_epoch(epoch, at, watermark).await.expect("redis");
            }
            Step::LeasesExpire => {
                self.model.holders.clear();
                self.clock.advance(LEASE);
                let script = "for _, k in ipairs(redis.call('KEYS', '*:l:*')) do \
                              redis.call('DEL', k) end";
                self.server.on_every_primary(&["eval", script, "0"]);
            }
            Step::Flush => {
                self.model = Model::default();
                // A new embedded tier, unlike a flushed Redis, gives the same tokens again.
                self.leases.clear();
                let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
                self.memory = MemoryTier::new(clock, 16 << 20);
                self.server.on_every_primary(&["flushall"]);
            }
        }
    }

    async fn compare(&mut self) {
        for n in 0..4 {
            self.read(&key(n), false).await;
        }
    }
}

fn check(
    cases: u32,
    server: &Server,
    with: impl Fn(&Step) -> bool,
    each: impl AsyncFn(&mut Tiers<'_>, Vec<Step>),
) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let connecting = async {
        RedisTier::connect(RedisOptions { prefix: "diff".into(), ..server.options() }).await
    };
    let redis = runtime.block_on(connecting).expect("a tier");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&steps(), |mut steps| {
        steps.retain(|step| with(step));
        // Most steps have no effect without an epoch.
        steps.insert(steps.len().min(2), Step::ResetEpoch { at: 10, watermark: 10 });
        runtime.block_on(async { each(&mut Tiers::new(&redis, server), steps).await });
        Ok(())
    });
    if let Err(err) = result {
        panic!("{err}");
    }
}

#[test]
fn redis_and_memory_match_the_model() {
    check(
        96,
        &Server::one(),
        |_| true,
        async |tiers, steps| {
            for step in steps {
                tiers.run(step).await;
            }
            tiers.compare().await;
        },
    );
}

/// Without collections: each bucket has a floor of its own, which a collection in another bucket does not raise,
/// so it keeps more entries than the model.
#[test]
fn cluster_and_memory_match_the_model() {
    let with = |step: &Step| !matches!(step, Step::Collect { .. });
    check(10, &Server::cluster(), with, async |tiers, steps| {
        for step in steps {
            tiers.run(step).await;
        }
        tiers.compare().await;
    });
}

#[test]
fn redis_and_memory_streams_match() {
    let with = |step: &Step| !matches!(step, Step::Flush);
    check(24, &Server::one(), with, async |tiers, steps| {
        let mut memory = tiers.memory.subscribe();
        let mut redis = tiers.redis.subscribe();
        assert!(matches!(next(&mut redis).await, NodeMessage::Lost));
        for step in steps {
            tiers.run(step).await;
        }
        let mut count = 0;
        while let Ok(expected) = memory.try_recv() {
            let got = next(&mut redis).await;
            assert_eq!(format!("{got:?}"), format!("{expected:?}"));
            count += 1;
        }
        assert!(count > 0, "at least the first epoch reset");
    });
}
