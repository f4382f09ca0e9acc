//! The cost of a backlog of the log: rows that the leader applies to the shared tier and to its own in-process
//! tier, and that other nodes receive, in processor time per row.
//!
//! `cargo bench -p cache --bench backlog -- <memory|redis> [<rows>] [<other nodes>]`

mod support;

use std::sync::Arc;
use std::time::Duration;

use cache::leader::{Consumer, Leader};
use cache::shared::{MemoryTier, RedisOptions, RedisTier};
use cache::{Engine, EngineOptions, Metrics, SharedTier, SystemClock};
use coherence::resume::Start;
use coherence::{Cause, Clock, Event, Lsn, Renewal, Subject};
use contract::Tag;
use harness::Redis;
use rustix::time::{ClockId, clock_gettime};
use support::{key, say};

/// Rows of the table, none of which has an entry.
const ROWS: u32 = 100_000;

const ROWS_PER_COMMIT: u32 = 20;

const COMMITS_PER_BATCH: u32 = 100;

const TTL: Duration = Duration::from_secs(3_600);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let on_redis = args.first().is_some_and(|arg| arg == "redis");
    let mut numbers = args.iter().filter_map(|arg| arg.parse().ok());
    let (rows, nodes) = (numbers.next().unwrap_or(400_000), numbers.next().unwrap_or(0));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(on_redis, rows, nodes));
}

async fn run(on_redis: bool, rows: u32, nodes: u32) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let redis = on_redis.then(|| Redis::start().expect("a Redis server"));
    let memory = Arc::new(MemoryTier::new(Arc::clone(&clock), 64 << 20));
    let mut engines = Vec::new();
    for _ in 0..=nodes {
        let tier: Arc<dyn SharedTier> = match &redis {
            Some(redis) => {
                let timeout = Duration::from_secs(10);
                let options = RedisOptions { timeout, ..RedisOptions::new(redis.url()) };
                Arc::new(RedisTier::connect(options).await.expect("a tier"))
            }
            None => Arc::clone(&memory) as _,
        };
        let options = EngineOptions { local_bytes: 64 << 20, ..EngineOptions::default() };
        let engine = Engine::new(options, tier, Arc::clone(&clock), Metrics::detached());
        let follower = engine.clone();
        tokio::spawn(async move { follower.follow(std::future::pending()).await });
        engines.push(engine);
    }
    let mut leader = Leader::new(engines[0].clone(), Arc::clone(&clock), TTL);
    let (new_slot, unbroken, position) = (true, None, Lsn(1));
    let start = Start { system: 1, timeline: 1, server: 1, new_slot, unbroken, position };
    leader.start(start, Consumer::default()).await.expect("a start");
    let per_batch = ROWS_PER_COMMIT * COMMITS_PER_BATCH;
    let batches: Vec<Vec<Event>> =
        (0..rows / per_batch).map(|batch| events(batch * per_batch)).collect();
    let (cpu_before, server_before) = (processor(), redis.as_ref().map_or(0.0, server_cpu));
    let began = clock.mono();
    let mut at = 1;
    for mut events in batches {
        let upto = at + u64::from(COMMITS_PER_BATCH);
        let applied = leader.apply(Lsn(at), Lsn(upto), Lsn(upto), &mut events).await;
        applied.expect("the tier answers");
        leader.collect().await.expect("the tier answers");
        at = upto;
    }
    let leading = clock.mono().since(began);
    // The streams end when no node works any more.
    let mut cpu = processor();
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = processor();
        if now - cpu < 0.001 && engines.iter().all(|engine| engine.status().applied == Lsn(at)) {
            break;
        }
        cpu = now;
    }
    let us = |seconds: f64| seconds * 1e6 / f64::from(rows);
    say(&format!(
        "{} rows, {}, {nodes} other nodes: {:.2} us of this process per row, {:.2} us of Redis, {:.0} rows/s led",
        rows,
        if on_redis { "Redis" } else { "memory" },
        us(cpu - cpu_before),
        us(redis.as_ref().map_or(0.0, server_cpu) - server_before),
        f64::from(rows) / leading.as_secs_f64(),
    ));
}

/// Returns the commits of a batch: each row has a key, two tags and a new value.
fn events(first: u32) -> Vec<Event> {
    let commit = |n: u32| {
        let ids =
            (first + n * ROWS_PER_COMMIT..first + (n + 1) * ROWS_PER_COMMIT).map(|id| id % ROWS);
        let tag = |name: &str, id: u32| Tag::parse(&format!("{name}-{id}")).expect("a tag");
        let tags = |id: u32| vec![tag("product", id), tag("listing", id % 1_000)];
        let renewal = |id: u32| Renewal {
            key: key(id),
            value: Some(format!("{{\"price_cents\":{id},\"currency\":\"EUR\"}}").into()),
            tags: tags(id),
            ttl: TTL,
            definition: 7,
        };
        let subjects = ids.clone().flat_map(|id| {
            let tags = tags(id).into_iter().map(Subject::Tag);
            tags.chain([Subject::Key(key(id))])
        });
        Event {
            lsn: Lsn(2 + u64::from(first / ROWS_PER_COMMIT + n)),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: subjects.collect(),
            renewals: ids.map(renewal).collect(),
        }
    };
    (0..COMMITS_PER_BATCH).map(commit).collect()
}

/// Returns the processor time of this process in seconds.
fn processor() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Returns the processor time of the server in seconds.
fn server_cpu(redis: &Redis) -> f64 {
    let info = redis.cli(&["info", "cpu"]).expect("redis-cli");
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    of("used_cpu_user:") + of("used_cpu_sys:")
}
