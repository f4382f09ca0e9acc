//! Jobs per second from the enqueuing to the end, beside the usual queue: a table whose rows are locked with `SKIP LOCKED`, updated
//! and deleted. Each also while another session holds a snapshot.
//!
//! `cargo bench -p sale --bench jobs`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use coherence::{Clock, Mono};
use database::postgres::{Access, ConnectConfig, Connection, ServerRole};
use harness::Postgres;
use prometheus_client::registry::Registry;
use sale::SaleOptions;
use sale::jobs::{JobMetrics, JobOptions, JobRequest, Jobs, JobsSetup};
use sale::ledger::EndJob;
use sale::rules::AttemptOutcome;
use serde_json::json;

/// The jobs that a worker takes at once.
const BATCH: usize = 32;
const WORKERS: usize = 4;
/// The producer waits above this number of open jobs.
const DEPTH: u64 = 4_000;
const SPAN: Duration = Duration::from_secs(6);
/// With the snapshot held: later spans are slower where dead rows are read.
const SPANS_HELD: usize = 4;

/// A queue.
#[async_trait]
trait Queue: Send + Sync + 'static {
    async fn enqueue(&self, jobs: usize) -> Result<()>;
    /// Takes jobs and ends them. Returns their number.
    async fn work(&self, worker: usize) -> Result<usize>;
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn mono(&self) -> Mono {
        Mono(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_ms(&self) -> u64 {
        0
    }
}

struct Ours(Jobs, Arc<dyn sale::ledger::Ledger>);

#[async_trait]
impl Queue for Ours {
    async fn enqueue(&self, jobs: usize) -> Result<()> {
        let request = JobRequest::new("job", &json!({ "n": 1 }), None, 0, None)?;
        self.0.enqueue(vec![request; jobs]).await?;
        Ok(())
    }

    async fn work(&self, _: usize) -> Result<usize> {
        let leased = self.0.claim("job", BATCH as u32, 60, "w").await?;
        let end = |job: &sale::ledger::LeasedJob| EndJob {
            id: job.id,
            attempt: job.attempt,
            outcome: AttemptOutcome::Done,
            reason: None,
        };
        if !leased.is_empty() {
            self.1.end_jobs(leased.iter().map(end).collect()).await?;
        }
        Ok(leased.len())
    }
}

/// Each takes as many jobs at once as ours.
struct SkipLocked(Vec<Connection>);

const TABLE: &str = "create table queue(id bigint generated always as identity primary key, state text not null \
    default 'waiting', due_at timestamptz not null default now(), body text not null); \
    create index queue_due on queue(due_at) where state = 'waiting'";

#[async_trait]
impl Queue for SkipLocked {
    async fn enqueue(&self, jobs: usize) -> Result<()> {
        let sql =
            format!("insert into queue(body) select '{{\"n\":1}}' from generate_series(1, {jobs})");
        Ok(self.0[WORKERS].run(&sql).await?)
    }

    async fn work(&self, worker: usize) -> Result<usize> {
        let take = format!(
            "update queue set state = 'running' where id in (select id from queue where state = 'waiting' \
             and due_at <= now() order by due_at limit {BATCH} for update skip locked) returning id"
        );
        let rows = self.0[worker].rows("taking", &take, &[]).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if !ids.is_empty() {
            self.0[worker].rows("ending", "delete from queue where id = any($1)", &[&ids]).await?;
        }
        Ok(ids.len())
    }
}

async fn connect(postgres: &Postgres) -> Result<Connection> {
    let config = ConnectConfig {
        url: postgres.url("postgres").parse()?,
        role: ServerRole::Primary,
        access: Access::ReadWrite,
        application_name: "bench",
        settings: &[],
        statement_timeout: Duration::ZERO,
    };
    Ok(config.connect(Duration::from_secs(10)).await?)
}

/// Returns the jobs per second of each span.
async fn measure(queue: Arc<dyn Queue>, spans: usize) -> Result<Vec<f64>> {
    let (open, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..=WORKERS {
        let (queue, open, done, stop) =
            (Arc::clone(&queue), open.clone(), done.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if worker == WORKERS {
                    if open.load(Ordering::Relaxed) >= DEPTH {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        continue;
                    }
                    queue.enqueue(200).await?;
                    open.fetch_add(200, Ordering::Relaxed);
                } else {
                    let ended = queue.work(worker).await? as u64;
                    done.fetch_add(ended, Ordering::Relaxed);
                    open.fetch_sub(ended.min(open.load(Ordering::Relaxed)), Ordering::Relaxed);
                    if ended == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            anyhow::Ok(())
        });
    }
    let mut rates = Vec::new();
    for _ in 0..spans {
        let before = done.load(Ordering::Relaxed);
        tokio::time::sleep(SPAN).await;
        rates.push((done.load(Ordering::Relaxed) - before) as f64 / SPAN.as_secs_f64());
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(rates)
}

#[tokio::main]
#[allow(clippy::print_stdout)]
#[allow(clippy::disallowed_methods)]
async fn main() -> Result<()> {
    for name in ["skip locked", "jobs"] {
        for held in [false, true] {
            let postgres = Postgres::builder().setting("max_wal_size", "4GB").start()?;
            let options = SaleOptions::new(postgres.url("postgres").parse()?);
            options.migrate().await?;
            let reader = connect(&postgres).await?;
            reader.run(TABLE).await?;
            let mut upkeep = tokio::task::JoinSet::new();
            let queue: Arc<dyn Queue> = if name == "jobs" {
                let ledger = options.open().await?;
                let clock = Arc::new(SystemClock(Instant::now()));
                let kinds = [("job".to_owned(), JobOptions::default())].into();
                let setup = JobsSetup { kinds, depth: 1_000_000, ..JobsSetup::default() };
                let metrics = JobMetrics::new(&mut Registry::default());
                let jobs = Jobs::new(Arc::clone(&ledger), clock, metrics, setup);
                jobs.record_kinds().await?;
                let kept = jobs.clone();
                upkeep.spawn(async move { kept.run_upkeep().await });
                Arc::new(Ours(jobs, ledger))
            } else {
                let mut connections = Vec::new();
                for _ in 0..=WORKERS {
                    connections.push(connect(&postgres).await?);
                }
                Arc::new(SkipLocked(connections))
            };
            if held {
                reader
                    .run("begin isolation level repeatable read; select count(*) from queue")
                    .await?;
            }
            let rates = measure(queue, if held { SPANS_HELD } else { 2 }).await?;
            let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
            let state = if held { "snapshot held" } else { "undisturbed" };
            println!("{name}, {state}: {} jobs/s in spans of {SPAN:?}", rates.join(", "));
        }
    }
    Ok(())
}
