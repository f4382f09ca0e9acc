//! Differential tests: the embedded tier, Redis and a naive model of the pure rules get the same random
//! steps and have to answer alike. So the scripts implement the same rules.

mod model;
mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cache::entry::Entry;
use cache::shared::{
    Fill, LeadRequest, MemoryTier, NodeMessage, Outcome, RedisOptions, RedisTier, SharedRead,
    SharedTier, Touch,
};
use coherence::fence::Gap;
use coherence::leadership::CLAIM_LIFETIME;
use coherence::{
    Batch, Cause, Claim, Clock, Coverage, CoverageDigest, Epoch, Event, LeaseToken, Log, Lsn,
    Renewal,
};
use contract::{Key, Tag};
use proptest::test_runner::{Config, TestRunner};

use self::model::{AGES, Model};
use self::steps::{Commit, Step, Who, steps, subject};
use crate::rig::*;

const LEASE: Duration = Duration::from_secs(300);

/// A granted lease, with the token of each tier.
#[derive(Clone)]
struct Lease {
    key: Key,
    memory: LeaseToken,
    redis: LeaseToken,
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
                self.expire_claim();
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
                entry.definition = tau % 2;
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
            Step::Apply { epoch, back, ahead, watermark, events, stated } => {
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
                        let renewed =
                            |n| Renewal { definition: lsn % 2, ..renewal(&key(n), value, &tags) };
                        keys.into_iter().map(renewed).collect()
                    }),
                    subjects: subjects.into_iter().map(subject).collect(),
                };
                let batch = Batch {
                    epoch: self.epoch(epoch),
                    prev: Lsn(prev),
                    upto: Lsn(prev + ahead),
                    watermark: Lsn(watermark),
                    coverage: match stated {
                        true => self.model.fence.coverage(),
                        false => CoverageDigest(5),
                    },
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
                self.expire_claim();
                self.clock.advance(LEASE);
                let script = "for _, k in ipairs(redis.call('KEYS', '*:l:*')) do \
                              redis.call('DEL', k) end";
                self.server.on_every_primary(&["eval", script, "0"]);
            }
            Step::Lead { who, knows, mappings, upto } => {
                self.lead(who, knows, mappings, upto).await
            }
            Step::ClaimExpires => {
                self.expire_claim();
                self.clock.advance(CLAIM_LIFETIME);
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

    async fn lead(&mut self, who: Who, knows: bool, mappings: u8, upto: Option<u64>) {
        let (node, system, timeline, run, slot, left) = who;
        let log = Log { system, timeline, server: run << 32 };
        let claim = Claim { node, log, slot, label: format!("node {node}").into() };
        let history = [(timeline - 1, Lsn(left))].into();
        let stated = self.model.coverage.digest();
        let from = if knows { stated } else { CoverageDigest(stated.0 ^ 1) };
        let coverage = (0..2).filter(|bit| mappings & (1 << bit) != 0).map(|bit| 100 + bit);
        let request = LeadRequest {
            claim,
            history,
            from,
            coverage: Coverage::of(coverage),
            upto: upto.map(Lsn),
        };
        self.renew_claim();
        let expected = self.model.lead(&request);
        assert_eq!(self.memory.lead(&request).await.expect("memory"), expected, "{request:?}");
        assert_eq!(self.redis.lead(&request).await.expect("redis"), expected, "{request:?}");
        let expected = self.model.leadership();
        assert_eq!(self.memory.leadership().await.expect("memory"), expected);
        assert_eq!(self.redis.leadership().await.expect("redis"), expected);
    }

    /// Has Redis, whose clock goes on during the test, take the claim for expired.
    fn expire_claim(&mut self) {
        self.model.is_live = false;
        self.set_claimed("0");
    }

    /// Has Redis take a live claim for renewed.
    fn renew_claim(&self) {
        if self.model.is_live {
            self.set_claimed("redis.call('TIME')[1] * 1000 + 4000");
        }
    }

    fn set_claimed(&self, upto: &str) {
        let script = format!(
            "for _, k in ipairs(redis.call('KEYS', '*:state')) do \
             if redis.call('HGET', k, 'claim') then \
             redis.call('HSET', k, 'claimed', string.format('%.0f', {upto})) end end"
        );
        self.server.on_every_primary(&["eval", &script, "0"]);
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

/// Without collections: each bucket has a floor of its own, which a collection in another bucket does not
/// raise, so it keeps more entries than the model.
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
