//! What tombstones and floors take in memory while distinct keys are invalidated, one after another
//! and each in a commit of its own, through the leader as in production; and what is left when the
//! floor has taken their place.
//!
//! `cargo bench -p cache --bench marks -- <memory|redis> [<keys>]`

mod setting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cache::leader::Leader;
use cache::shared::{MemoryTier, RedisOptions, RedisTier};
use cache::{Engine, EngineOptions, Metrics, SharedTier, SystemClock};
use coherence::resume::Start;
use coherence::{Cause, Clock, Event, Lsn, Mono, Subject};
use harness::Redis;
use setting::{key, resident, say};

/// Commits that the leader applies at once.
const PIECE: u32 = 1_000;

/// Entries live that long at most, so marks are kept for twice as long.
const LONGEST_TTL: Duration = Duration::from_secs(3_600);

/// As time goes by, and farther ahead each time it is told to.
struct Ahead {
    clock: SystemClock,
    by: AtomicU64,
}

impl Clock for Ahead {
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

#[derive(Clone, Copy, Default)]
struct Taken {
    /// Resident bytes of this process: the in-process tier, the leader, and a shared tier in memory.
    process: u64,
    /// Tombstones in the in-process tier.
    local: usize,
    /// Tombstones in the shared tier, and what they take, as Redis itself says.
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
    let ahead = Arc::new(Ahead { clock: SystemClock::start(), by: AtomicU64::new(0) });
    let clock = Arc::clone(&ahead) as Arc<dyn Clock>;
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
    leader.start(start).await.expect("a start");

    let before = taken(&engine, &kind);
    tell("before", before);
    let mut most = before;
    let mut at = 1;
    for first in (0..keys).step_by(PIECE as usize) {
        let ids = first..(first + PIECE).min(keys);
        at = apply(&mut leader, at, ids).await;
        if (first / PIECE).is_multiple_of(20) {
            let now = taken(&engine, &kind);
            most.process = most.process.max(now.process);
            most.local = most.local.max(now.local);
            most.shared = most.shared.max(now.shared);
            most.shared_bytes = most.shared_bytes.max(now.shared_bytes);
        }
    }
    tell("at most", most);
    tell("at the end", taken(&engine, &kind));
    // Nothing is invalidated for as long as marks are kept.
    let step = Duration::from_secs(60);
    for _ in 0..=(3 * LONGEST_TTL.as_secs() / step.as_secs()) {
        ahead.by.fetch_add(step.as_nanos() as u64, Ordering::Relaxed);
        at = apply(&mut leader, at, 0..0).await;
    }
    let after = taken(&engine, &kind);
    tell("collected", after);
    assert_eq!((after.local, after.shared), (0, 0), "the floor takes their place");
}

/// A commit for each of these keys, in one piece; answers the end.
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

fn taken(engine: &Engine, kind: &Kind) -> Taken {
    let (shared, shared_bytes) = match kind {
        Kind::Memory(tier) => (tier.tombstones() as u64, 0),
        Kind::Redis(redis) => {
            let ask = |words: &[&str]| -> u64 {
                let said = redis.cli(words).expect("redis-cli");
                said.trim().parse().unwrap_or_default()
            };
            let name = "{tg:0}:tombstones";
            // One of them is the guard.
            let marks = ask(&["zcard", name]).saturating_sub(1);
            (marks, ask(&["memory", "usage", name, "samples", "0"]))
        }
    };
    Taken {
        process: resident().unwrap_or_default(),
        local: engine.standing().tombstones,
        shared,
        shared_bytes,
    }
}

fn tell(when: &str, taken: Taken) {
    let Taken { process, local, shared, shared_bytes } = taken;
    say(&format!("{when}: process {process} local {local} shared {shared} redis {shared_bytes}"));
}
