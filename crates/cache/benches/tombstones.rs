//! The memory of tombstones while distinct keys are invalidated, each in a commit of its own, through the
//! leader as in production; and the memory left when the floor has replaced them.
//!
//! `cargo bench -p cache --bench marks -- <memory|redis> [<keys>]`

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache::leader::{Consumer, Leader};
use cache::shared::{MemoryTier, RedisOptions, RedisTier};
use cache::{Engine, EngineOptions, Metrics, SharedTier, SystemClock};
use coherence::resume::Start;
use coherence::{Cause, Clock, Event, Lsn, Mono, Subject};
use harness::Redis;
use support::{key, resident, say};

/// Commits per batch of the leader.
const BATCH: u32 = 1_000;

/// The longest TTL of an entry; tombstones are kept for twice as long.
const LONGEST_TTL: Duration = Duration::from_secs(3_600);

/// The system's clock, advanced on demand.
struct AdvancedClock {
    clock: SystemClock,
    by: AtomicU64,
}

impl Clock for AdvancedClock {
    fn mono(&self) -> Mono {
        self.clock.mono() + Duration::from_nanos(self.by.load(Ordering::Relaxed))
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms() + self.by.load(Ordering::Relaxed) / 1_000_000
    }
}

/// The shared tier of the run.
enum Kind {
    Memory(Arc<MemoryTier>),
    Redis(Redis),
}

/// Memory and tombstones at one time.
#[derive(Clone, Copy, Default)]
struct Usage {
    /// Resident bytes of this process: the in-process tier, the leader, and a shared tier in memory.
    process: u64,
    /// Tombstones in the in-process tier.
    local: usize,
    /// Tombstones in the shared tier, and their bytes by Redis's own count.
    shared: u64,
    shared_bytes: u64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let on_redis = args.first().is_some_and(|arg| arg == "redis");
    let keys = args.iter().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(on_redis, keys));
}

async fn run(on_redis: bool, keys: u32) {
    let advanced = Arc::new(AdvancedClock { clock: SystemClock::start(), by: AtomicU64::new(0) });
    let clock = Arc::clone(&advanced) as Arc<dyn Clock>;
    let (tier, kind): (Arc<dyn SharedTier>, Kind) = if on_redis {
        let redis = Redis::start().expect("a Redis server");
        let options =
            RedisOptions { timeout: Duration::from_secs(10), ..RedisOptions::new(redis.url()) };
        (Arc::new(RedisTier::connect(options).await.expect("a tier")), Kind::Redis(redis))
    } else {
        let tier = Arc::new(MemoryTier::new(Arc::clone(&clock), 64 << 20));
        (Arc::clone(&tier) as Arc<dyn SharedTier>, Kind::Memory(tier))
    };
    let options = EngineOptions { local_bytes: 64 << 20, ..EngineOptions::default() };
    let engine = Engine::new(options, tier, Arc::clone(&clock), Metrics::detached());
    let follower = engine.clone();
    tokio::spawn(async move { follower.follow(std::future::pending()).await });
    let mut leader = Leader::new(engine.clone(), clock, LONGEST_TTL);
    let position = Lsn(1);
    let (new_slot, unbroken) = (true, None);
    let start = Start { system: 1, timeline: 1, server: 1, new_slot, unbroken, position };
    leader.start(start, Consumer::default()).await.expect("a start");

    let before = usage(&engine, &kind);
    report("before", before);
    let mut most = before;
    let mut at = 1;
    for first in (0..keys).step_by(BATCH as usize) {
        let ids = first..(first + BATCH).min(keys);
        at = apply(&mut leader, at, ids).await;
        if (first / BATCH).is_multiple_of(20) {
            let now = usage(&engine, &kind);
            most.process = most.process.max(now.process);
            most.local = most.local.max(now.local);
            most.shared = most.shared.max(now.shared);
            most.shared_bytes = most.shared_bytes.max(now.shared_bytes);
        }
    }
    report("at most", most);
    report("at the end", usage(&engine, &kind));
    // Nothing is invalidated for as long as tombstones are kept.
    let step = Duration::from_secs(60);
    for _ in 0..=(3 * LONGEST_TTL.as_secs() / step.as_secs()) {
        advanced.by.fetch_add(step.as_nanos() as u64, Ordering::Relaxed);
        at = apply(&mut leader, at, 0..0).await;
    }
    let after = usage(&engine, &kind);
    report("collected", after);
    assert_eq!((after.local, after.shared), (0, 0), "the floor replaces them");
}

/// Applies a commit for each of these keys, in one batch. Returns its end.
async fn apply(leader: &mut Leader, at: u64, ids: std::ops::Range<u32>) -> u64 {
    let upto = at + u64::from(ids.end - ids.start).max(1);
    let event = |(n, id)| Event {
        lsn: Lsn(at + 1 + n as u64),
        cause: Cause::Commit,
        committed_us: 0,
        subjects: vec![Subject::Key(key(id))],
        renewals: Vec::new(),
    };
    let mut events = ids.enumerate().map(event).collect();
    leader.apply(Lsn(at), Lsn(upto), Lsn(upto), &mut events).await.expect("the tier answers");
    leader.collect().await.expect("the tier answers");
    tokio::task::yield_now().await;
    upto
}

fn usage(engine: &Engine, kind: &Kind) -> Usage {
    let (shared, shared_bytes) = match kind {
        Kind::Memory(tier) => (tier.tombstones() as u64, 0),
        Kind::Redis(redis) => {
            let ask = |words: &[&str]| -> u64 {
                let reply = redis.cli(words).expect("redis-cli");
                reply.trim().parse().unwrap_or_default()
            };
            let name = "{tg:0}:tombstones";
            // One of them is the guard.
            let tombstones = ask(&["zcard", name]).saturating_sub(1);
            (tombstones, ask(&["memory", "usage", name, "samples", "0"]))
        }
    };
    Usage {
        process: resident().unwrap_or_default(),
        local: engine.status().tombstones,
        shared,
        shared_bytes,
    }
}

fn report(when: &str, usage: Usage) {
    let Usage { process, local, shared, shared_bytes } = usage;
    say(&format!("{when}: process {process} local {local} shared {shared} redis {shared_bytes}"));
}
