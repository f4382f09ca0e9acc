//! A real cluster: slots that move, and shards that crash, lose writes, are flushed or stay unreachable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cache::leader::{ApplyResult, Consumer, Leader};
use cache::shared::{
    Fill, NodeMessage, Outcome, RedisMetrics, RedisOptions, RedisTier, RedisTls, SharedRead,
    SharedTier, TierError,
};
use cache::{Engine, EngineOptions, SystemClock};
use coherence::fence::Gap;
use coherence::resume::{Resume, Start};
use coherence::{Clock, Epoch, Lsn, Refusal, Subject, Verdict};
use harness::{Certificates, Cluster, Port};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::refusal;
use crate::rig::*;

/// Enough keys to have some in each bucket.
const KEYS: u8 = 120;

struct Lab {
    cluster: Cluster,
    tier: Arc<RedisTier>,
    leader: Leader,
    metrics: RedisMetrics,
    epoch: Epoch,
    at: u64,
}

impl Lab {
    /// Starts a cluster, and a leader at position 10.
    async fn new() -> Self {
        let cluster = Cluster::start().expect("a cluster");
        let metrics = RedisMetrics::default();
        let options = RedisOptions { metrics: metrics.clone(), ..options_at(cluster.url()) };
        let tier = Arc::new(RedisTier::connect(options).await.expect("a tier"));
        let mut leader = lead(&tier);
        leader
            .start(Start { new_slot: true, ..start(10) }, Consumer::default())
            .await
            .expect("an epoch");
        let epoch = tier.position().await.expect("a position").expect("an epoch").epoch;
        let mut lab = Self { cluster, tier, leader, metrics, epoch, at: 10 };
        assert_eq!(lab.commit(vec![]).await, ApplyResult::Applied);
        lab
    }

    /// Applies the next commit of the log.
    async fn commit(&mut self, subjects: Vec<Subject>) -> ApplyResult {
        let (prev, upto) = (self.at, self.at + 1);
        let mut events = batch(prev, upto, subjects).events;
        let applied = self.leader.apply(Lsn(prev), Lsn(upto), Lsn(upto), &mut events).await;
        self.at = upto;
        applied.expect("applied")
    }

    async fn fill(&self, n: u8, tau: u64) -> Verdict {
        let mut fill = Fill { epoch: self.epoch, ..tagged(&key(n), "v", tau, &[tag(1)]) };
        fill.entry.loaded_wall_ms = tau;
        self.tier.fill(&fill).await.expect("fill")
    }

    async fn fill_all(&self) {
        for n in 0..KEYS {
            assert_eq!(self.fill(n, self.at).await, Verdict::Accept, "{n}");
        }
    }

    async fn read_all(&self) -> Vec<SharedRead> {
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        self.tier.read_many(&keys, None).await.expect("read")
    }

    /// Applies a deletion that reaches node 1 and not its replica, which is frozen when node 1 crashes.
    async fn lose_a_deletion_on_node_1(&mut self, n: u8) {
        self.cluster.wait_for_replica(4, 1).expect("in step");
        // The data in the frozen replica's socket is lost with the connection.
        self.cluster.node(4).pause().expect("frozen");
        self.cluster.cli(1, &["client", "kill", "type", "replica"]).expect("cut off");
        assert_eq!(self.commit(vec![Subject::Key(key(n))]).await, ApplyResult::Applied);
        let gone = self.tier.read(&key(n), None).await.expect("read");
        assert!(!is_found(&gone));
        self.cluster.node(1).crash().expect("killed");
    }

    /// Ends the shard's outage: the replica resumes and is promoted.
    fn fail_over(&mut self) {
        self.cluster.node(4).resume().expect("woken");
        self.cluster.wait_for_primary(4, &[1]).expect("a failover");
    }

    /// Returns the primary of each key.
    fn homes(&self) -> BTreeMap<u8, usize> {
        let mut homes = BTreeMap::new();
        for (node, output) in self.cluster.cli_on_primaries(&["keys", "*:k:v1:catalog:price:*"]) {
            for name in output.lines() {
                let n = name.rsplit(':').next().and_then(|n| n.parse().ok());
                homes.insert(n.expect("a key of ours"), node);
            }
        }
        homes
    }

    /// Returns the names of the buckets on a primary.
    fn buckets(&self, node: usize) -> Vec<String> {
        let output = self.cluster.cli(node, &["keys", "{tg:*}:state"]).expect("listed");
        output.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

fn lead(tier: &Arc<RedisTier>) -> Leader {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let metrics = cache::Metrics::new(&mut Registry::default());
    let shared = Arc::clone(tier) as Arc<dyn SharedTier>;
    let engine = Engine::new(EngineOptions::default(), shared, Arc::clone(&clock), metrics);
    Leader::new(engine, clock, LONG)
}

fn start(position: u64) -> Start {
    let position = Lsn(position);
    Start { system: 7, timeline: 1, server: 3, new_slot: false, unbroken: None, position }
}

fn is_found(read: &SharedRead) -> bool {
    matches!(read.outcome, Outcome::Found { .. })
}

fn key_on(homes: &BTreeMap<u8, usize>, node: usize) -> u8 {
    *homes.iter().find(|(_, home)| **home == node).expect("a key there").0
}

/// Tags and keys are in different slots. One commit on a tag invalidates all its entries.
#[tokio::test]
async fn tag_commit_reaches_all_shards() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    let homes = lab.homes();
    assert_eq!(homes.len(), usize::from(KEYS));
    for node in 0..3 {
        assert!(homes.values().any(|home| *home == node), "{homes:?}");
        assert!(lab.buckets(node).len() >= 5, "equal shares of the buckets");
    }
    lab.cluster.cli_on_primaries(&["script", "flush"]);
    assert!(lab.read_all().await.iter().all(is_found), "scripts are loaded where they are missing");
    lab.commit(vec![Subject::Tag(tag(1))]).await;
    let reads = lab.read_all().await;
    assert!(!reads.iter().any(is_found));
    let applied = |read: &SharedRead| read.position.map(|position| position.applied);
    assert!(reads.iter().all(|read| applied(read) == Some(Lsn(12))), "every bucket has applied it");
    for n in 0..KEYS {
        assert_eq!(lab.fill(n, 11).await, refused(Refusal::Tombstone), "{n}");
        assert_eq!(lab.fill(n, 12).await, Verdict::Accept, "{n}");
    }
    // A collection in one bucket raises no floor in the others.
    lab.commit(vec![Subject::Key(key(1))]).await;
    assert_eq!(lab.tier.collect(Lsn(11)).await.expect("collect"), 0);
    assert_eq!(lab.tier.collect(Lsn(12)).await.expect("collect"), 16, "the tag, in each bucket");
    assert_eq!(lab.tier.collect(Lsn(13)).await.expect("collect"), 1);
    let left = lab.read_all().await;
    let elsewhere = left.iter().filter(|read| is_found(read)).count();
    assert!((1..usize::from(KEYS)).contains(&elsewhere), "{elsewhere}");
}

/// Slots of buckets move key by key from shard to shard, including the slot of the node stream, while a
/// leader applies commits and readers read and load. No answer misses a commit that its bucket shows as
/// applied, nothing is lost, and calls fail at most for a while.
#[tokio::test(flavor = "multi_thread")]
async fn race_17_slots_move_under_load() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    let mut stream = lab.tier.subscribe();
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "begins with a loss");
    let (stop, epoch) = (Arc::new(AtomicBool::new(false)), lab.epoch);
    // All commits of each key. A load reads the last one.
    let log = Arc::new(Mutex::new(vec![Vec::<u64>::new(); usize::from(KEYS)]));
    let readers: Vec<_> = (0..4_u8)
        .map(|reader| {
            let (tier, stop, log) = (Arc::clone(&lab.tier), Arc::clone(&stop), Arc::clone(&log));
            tokio::spawn(async move {
                let (mut n, mut found, mut away) = (reader, 0, 0);
                while !stop.load(Ordering::Relaxed) {
                    n = (n + 7) % KEYS;
                    let read = match tier.read(&key(n), None).await {
                        Ok(read) => read,
                        Err(TierError::Unavailable(_) | TierError::Timeout(_)) => {
                            away += 1;
                            continue;
                        }
                        Err(err) => panic!("{err}"),
                    };
                    let position = read.position.expect("nothing is lost when slots move");
                    assert_eq!(position.epoch, epoch);
                    if let Outcome::Found { entry, .. } = read.outcome {
                        let missed = log.lock()[usize::from(n)]
                            .iter()
                            .any(|at| *at > entry.loaded_wall_ms && *at <= position.applied.0);
                        assert!(!missed, "{n}: {entry:?} at {position:?}");
                        found += 1;
                        continue;
                    }
                    let mut load = Fill { epoch, ..fill(&key(n), "v", position.watermark.0) };
                    let seen = log.lock()[usize::from(n)].last().copied();
                    load.entry.loaded_wall_ms = seen.unwrap_or(10);
                    match tier.fill(&load).await {
                        Ok(_) | Err(TierError::Unavailable(_) | TierError::Timeout(_)) => {}
                        Err(err) => panic!("{err}"),
                    }
                }
                (found, away)
            })
        })
        .collect();
    let cluster = Arc::new(lab.cluster);
    let moving = {
        let cluster = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || {
            // The first bucket of each primary moves to the next primary.
            for from in 0..3 {
                let output = cluster.cli(from, &["keys", "{tg:*}:state"]).expect("listed");
                let first = output.lines().min().expect("a bucket");
                let slot = cluster.slot(first).expect("its slot");
                let pause = |_| std::thread::sleep(Duration::from_millis(10));
                let to = (from + 1) % 3;
                // The second one in one step, where the servers can.
                if from != 1 || !cluster.move_slot_at_once(slot, from, to).expect("moved") {
                    cluster.move_slot(slot, from, to, pause).expect("moved");
                }
            }
        })
    };
    let mut moves = moving;
    let (mut at, mut n) = (lab.at, 0);
    let mut done = false;
    while !done {
        done = tokio::time::timeout(Duration::from_millis(2), &mut moves).await.is_ok();
        n = (n + 1) % KEYS;
        at += 1;
        // Committed and visible before the leader applies it.
        log.lock()[usize::from(n)].push(at);
        let events = batch(at - 1, at, vec![Subject::Key(key(n))]).events;
        let leader = &mut lab.leader;
        eventually("the commit is applied", async || {
            let moved =
                leader.apply(Lsn(at - 1), Lsn(at), Lsn(at), &mut events.clone()).await.ok()?;
            assert!(matches!(moved, ApplyResult::Applied | ApplyResult::Replayed(_)), "{moved:?}");
            Some(())
        })
        .await;
    }
    // Replays reach every bucket that was unreachable, and only the locations have changed.
    let position = eventually("every bucket has all of it", async || {
        lab.leader.reconcile().await.ok()?;
        let position = lab.tier.position().await.ok()??;
        (position.applied == Lsn(at)).then_some(position)
    })
    .await;
    assert_eq!(position.epoch, epoch);
    stop.store(true, Ordering::Relaxed);
    let mut found = 0;
    for reader in readers {
        found += reader.await.expect("a reader").0;
    }
    assert!(found > 100, "{found}");
    let keys: Vec<_> = (0..KEYS).map(key).collect();
    let reads = lab.tier.read_many(&keys, None).await.expect("read");
    assert!(reads.iter().all(|read| read.position == Some(position)), "{reads:?}");
    assert_eq!(lab.metrics.buckets_reset.get(), 0, "nothing was lost");
    eventually("the moves are known", async || {
        (lab.metrics.primary_changes.get() >= 3).then_some(())
    })
    .await;
    assert!(lab.metrics.redirections.get() > 0);
    // The stream has moved with the first bucket, and reports that earlier messages may be missing.
    let mut lost = false;
    loop {
        match next(&mut stream).await {
            NodeMessage::Lost => lost = true,
            NodeMessage::Batch(batch) if batch.upto == Lsn(at) => break,
            NodeMessage::Batch(_) => {}
            other => panic!("{other:?}"),
        }
        if lost && stream.is_empty() {
            at += 1;
            lab.leader.apply(Lsn(at - 1), Lsn(at), Lsn(at), &mut vec![]).await.expect("applied");
        }
    }
    assert!(lost);
}

/// The importing shard already has all keys of a bucket, but not its slot: a script with these keys runs
/// there, and other scripts can't run at all.
#[tokio::test(flavor = "multi_thread")]
async fn migrating_bucket_follows_ask() {
    let mut lab = Lab::new().await;
    let bucket = lab.buckets(1).remove(0);
    let slot = lab.cluster.slot(&bucket).expect("its slot");
    let (tier, leader) = (Arc::clone(&lab.tier), &mut lab.leader);
    let mut shown = None;
    let between = |left: usize| {
        if left > 0 {
            return;
        }
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                let moved = leader.apply(Lsn(11), Lsn(12), Lsn(12), &mut vec![]).await;
                assert_eq!(
                    moved.expect("applied"),
                    ApplyResult::Applied,
                    "one bucket delays no other"
                );
                shown = tier.position().await.expect("a position");
            });
        });
    };
    lab.cluster.move_slot(slot, 1, 2, between).expect("moved");
    assert_eq!(shown.map(|shown| shown.applied), Some(Lsn(11)), "its position shows the gap");
    lab.at = 12;
    assert_eq!(lab.commit(vec![]).await, ApplyResult::Replayed(Lsn(11)));
    let position = lab.tier.position().await.expect("a position").expect("an epoch");
    assert_eq!((position.epoch, position.applied), (lab.epoch, Lsn(13)));
}

/// Race 21 in one shard: the promoted replica has missed a deletion. The other shards continue meanwhile,
/// and the leader replays the deletion.
#[tokio::test]
async fn race_21_shard_failover_lost_deletion() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    let homes = lab.homes();
    let (here, there) = (key_on(&homes, 1), key_on(&homes, 0));
    let deletion = lab.at + 1;
    lab.lose_a_deletion_on_node_1(here).await;
    // The log continues, and the keys of other shards are read with proof.
    for _ in 0..3 {
        assert_eq!(lab.commit(vec![Subject::Key(key(there))]).await, ApplyResult::Applied);
        let read = lab.tier.read(&key(there), None).await.expect("read");
        assert_eq!(read.position.map(|position| position.applied), Some(Lsn(lab.at)));
    }
    lab.fail_over();
    let back = eventually("an answer", async || lab.tier.read(&key(here), None).await.ok()).await;
    assert!(is_found(&back), "the old entry is back");
    let shown = back.position.expect("an epoch");
    assert!(shown.applied < Lsn(deletion), "with the position of that time: {shown:?}");
    // The gap is noticed without further commits.
    let replayed = eventually("the missed batch is replayed", async || {
        let moved = lab.leader.reconcile().await.ok()?;
        assert!(matches!(moved, ApplyResult::Applied | ApplyResult::Replayed(_)), "{moved:?}");
        (moved != ApplyResult::Applied).then_some(moved)
    })
    .await;
    assert_eq!(replayed, ApplyResult::Replayed(shown.applied));
    let position = lab.tier.position().await.expect("a position").expect("an epoch");
    assert_eq!((position.epoch, position.applied), (lab.epoch, Lsn(lab.at)), "the same epoch");
    let reads = lab.read_all().await;
    let found = reads.iter().filter(|read| is_found(read)).count();
    assert_eq!(found, usize::from(KEYS) - 2, "all but the two that commits have named");
    assert_eq!(lab.fill(here, deletion - 1).await, refused(Refusal::Tombstone));
    assert_eq!(lab.metrics.buckets_reset.get(), 0);
}

/// A new leader has nothing to replay: it resets the buckets that lag, and only those.
#[tokio::test]
async fn new_leader_resets_lagging_buckets_only() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    let homes = lab.homes();
    lab.lose_a_deletion_on_node_1(key_on(&homes, 1)).await;
    lab.fail_over();
    eventually("all of it", async || {
        let behind = lab.tier.position().await.ok()??;
        (behind.applied < Lsn(lab.at)).then_some(())
    })
    .await;
    let mut next = lead(&lab.tier);
    let (verdict, _) = next.start(start(lab.at), Consumer::default()).await.expect("an epoch");
    assert_eq!(verdict, Resume::Continue(lab.epoch));
    let left = lab.read_all().await.iter().filter(|read| is_found(read)).count();
    assert_eq!(left, homes.values().filter(|home| **home != 1).count());
    assert_eq!(lab.metrics.buckets_reset.get(), lab.buckets(4).len() as u64);
}

/// A shard without data proves nothing and is reset; the others keep their entries. If it has the first
/// bucket, the epoch of all is reset.
#[tokio::test]
async fn flushed_shard_reset_alone() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    let homes = lab.homes();
    let flushed = |node: usize| homes.values().filter(|home| **home == node).count();
    lab.cluster.node(1).flushall().expect("flushed");
    let reads = lab.read_all().await;
    for (n, read) in reads.iter().enumerate() {
        let is_lost = homes[&(n as u8)] == 1;
        assert_eq!((is_found(read), read.position.is_none()), (!is_lost, is_lost), "{n}");
    }
    let here = key_on(&homes, 1);
    assert_eq!(lab.fill(here, lab.at).await, refused(Refusal::Unproven));
    let repaired = lab.leader.reconcile().await.expect("looked");
    assert_eq!(repaired, ApplyResult::Repaired(Gap::Unproven));
    assert_eq!(lab.metrics.buckets_reset.get(), lab.buckets(1).len() as u64);
    let position = lab.tier.position().await.expect("a position").expect("an epoch");
    assert_eq!((position.epoch, position.applied), (lab.epoch, Lsn(lab.at)));
    let left = lab.read_all().await.iter().filter(|read| is_found(read)).count();
    assert_eq!(left, usize::from(KEYS) - flushed(1));
    assert_eq!(lab.fill(here, lab.at - 1).await, refused(Refusal::Floor), "read before the flush");
    assert_eq!(lab.fill(here, lab.at).await, Verdict::Accept);
    assert_eq!(lab.leader.reconcile().await.expect("looked"), ApplyResult::Applied);

    lab.cluster.node(0).flushall().expect("flushed");
    let reset = lab.leader.reconcile().await.expect("looked");
    assert_eq!(reset, ApplyResult::Reset(Gap::Unproven));
    let position = lab.tier.position().await.expect("a position").expect("an epoch");
    assert_ne!(position.epoch, lab.epoch);
    assert!(!lab.read_all().await.iter().any(is_found));
}

/// Primary and replica of a shard are down. Its keys can't be read; other keys can, with proof, and the log
/// continues. When the shard comes back without data, it is reset alone.
#[tokio::test]
async fn unreachable_shard_affects_own_keys() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    let homes = lab.homes();
    let here = key_on(&homes, 1);
    let gone = lab.buckets(1).len() as i64;
    lab.cluster.node(4).crash().expect("killed");
    lab.cluster.node(1).crash().expect("killed");
    let err = eventually("a failure", async || lab.tier.read(&key(here), None).await.err()).await;
    assert!(matches!(err, TierError::Unavailable(_) | TierError::Timeout(_)), "{err}");
    assert_eq!(lab.commit(vec![Subject::Tag(tag(9))]).await, ApplyResult::Applied);
    assert_eq!(lab.metrics.buckets_unreachable.get(), gone);
    for (n, read) in lab.read_all().await.iter().enumerate() {
        let is_lost = homes[&(n as u8)] == 1;
        assert_eq!((is_found(read), read.position.is_none()), (!is_lost, is_lost), "{n}");
    }
    lab.cluster.node(1).start_again().expect("started");
    let repaired = eventually("it is reset", async || {
        let moved = lab.leader.reconcile().await.ok()?;
        assert!(matches!(moved, ApplyResult::Applied | ApplyResult::Repaired(_)), "{moved:?}");
        (moved != ApplyResult::Applied).then_some(moved)
    })
    .await;
    assert_eq!(repaired, ApplyResult::Repaired(Gap::Unproven));
    eventually("all of it", async || {
        lab.leader.reconcile().await.ok()?;
        (lab.metrics.buckets_unreachable.get() == 0).then_some(())
    })
    .await;
    let left = lab.read_all().await.iter().filter(|read| is_found(read)).count();
    assert_eq!(left, homes.values().filter(|home| **home != 1).count());
    assert_eq!(lab.fill(here, lab.at).await, Verdict::Accept);
}

/// A leader of an older epoch repairs nothing.
#[tokio::test]
async fn former_leader_repairs_nothing() {
    let mut lab = Lab::new().await;
    lab.fill_all().await;
    lab.tier.reset_epoch(NEXT, Lsn(lab.at), Lsn(lab.at)).await.expect("reset");
    assert!(!lab.tier.repair(lab.epoch, Lsn(lab.at)).await.expect("repair"));
    let position = lab.tier.position().await.expect("a position").expect("an epoch");
    assert_eq!(position.epoch, NEXT);
    // As on one server: a leader that finds another epoch resets to a third one.
    assert!(matches!(lab.commit(vec![]).await, ApplyResult::Reset(Gap::Epoch { tier: NEXT })));
}

#[tokio::test]
async fn cluster_over_tls() {
    let certificates = Certificates::make().expect("certificates");
    let path = |name| certificates.path(name).display().to_string();
    let ports = std::cell::RefCell::new(Vec::new());
    let _cluster = Cluster::start_with(|builder| {
        let port = Port::reserve().expect("a port");
        let number = port.number().to_string();
        ports.borrow_mut().push(port);
        builder
            .setting("tls-port", &number)
            .setting("tls-cluster", "yes")
            .setting("tls-replication", "yes")
            .setting("tls-auth-clients", "no")
            .setting("tls-cert-file", &path("server.pem"))
            .setting("tls-key-file", &path("server.key"))
            .setting("tls-ca-cert-file", &path("ca.pem"))
    })
    .expect("a cluster");
    let url = format!("rediss+cluster://127.0.0.1:{}", ports.borrow()[5].number());
    let ca = Some(certificates.pem("ca.pem").expect("a file"));
    let options = RedisOptions { tls: RedisTls { ca, ..Default::default() }, ..options_at(url) };
    let tier = RedisTier::connect(options.clone()).await.expect("a tier");
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    for n in 0..KEYS {
        assert_eq!(tier.fill(&fill(&key(n), "v", 10)).await.expect("fill"), Verdict::Accept);
    }
    let unknown = RedisOptions { tls: RedisTls::default(), ..options };
    match RedisTier::connect(unknown).await {
        Err(TierError::Unavailable(why)) => assert!(why.contains("certificate"), "{why}"),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn cluster_misconfiguration_rejected() {
    let mut cluster = Cluster::start().expect("a cluster");
    let alone = harness::Redis::start().expect("a Redis server");
    let why = refusal(options_at(format!("redis+cluster://{}", alone.addr()))).await;
    assert!(why.contains("write redis://host:port"), "{why}");
    let plain = cluster.node(0).url();
    let why = refusal(options_at(plain)).await;
    assert!(why.contains("write redis+cluster://host:port,host:port"), "{why}");

    // The manual's user on each node, with one right missing.
    let page = include_str!("../../../../../docs/shared-tier.md");
    let (_, line) = page.split_once("\nACL SETUSER ").expect("the line");
    let (line, _) = line.split_once("\n```").expect("its end");
    let (_, more) =
        page.split_once("cluster also needs `").expect("the additional rights on a cluster");
    let (more, _) = more.split_once('`').expect("its end");
    let line = format!("acl setuser {line} {more}").replace("PASSWORD", "secret");
    for without in ["+cluster|nodes", "+asking"] {
        assert!(more.contains(without), "{more}");
    }
    let set_user = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        (0..6).for_each(|n| drop(cluster.cli(n, &words).expect("a user")));
    };
    set_user(&line.replace("+cluster|nodes", ""));
    let [first, ..] = cluster.addrs()[..] else { panic!("no nodes") };
    let login = options_at(format!("redis+cluster://tidegate:secret@{first}"));
    let why = refusal(login.clone()).await;
    assert!(why.contains("+cluster|nodes") && !why.contains("secret"), "{why}");
    set_user(&line);
    let tier = RedisTier::connect(login.clone()).await.expect("a tier");
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    for n in 0..KEYS {
        assert_eq!(tier.fill(&fill(&key(n), "v", 10)).await.expect("fill"), Verdict::Accept);
    }
    assert_eq!(tier.survey(&[Subject::Everything]).await.expect("survey").total(), u64::from(KEYS));

    cluster.cli(2, &["config", "set", "maxmemory-policy", "allkeys-lru"]).expect("set");
    let why = refusal(login).await;
    let at = cluster.addrs()[2].to_string();
    assert!(why.contains(&at) && why.contains("CONFIG SET maxmemory-policy volatile-lru"), "{why}");
}
