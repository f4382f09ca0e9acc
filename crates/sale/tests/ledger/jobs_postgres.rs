//! Jobs in PostgreSQL: transactions of others, snapshots, segments and the shop's own SQL.

use std::sync::Arc;
use std::time::Duration;

use database::postgres::{Access, ConnectConfig, Connection, ServerRole};
use prometheus_client::registry::Registry;
use sale::jobs::{JobMetrics, JobOptions, JobRequest, Jobs, JobsSetup};
use serde_json::json;

use crate::fixture::{DEADLINE, Fixture, Shop, StoppedClock};

async fn jobs(shop: &Shop) -> Jobs {
    let kinds = [("mail".to_owned(), JobOptions::default())].into();
    let setup = JobsSetup { kinds, depth: 1_000_000, ..JobsSetup::default() };
    let metrics = JobMetrics::new(&mut Registry::default());
    let jobs = Jobs::new(Arc::clone(&shop.ledger), Arc::new(StoppedClock), metrics, setup);
    jobs.record_kinds().await.expect("recorded");
    jobs
}

async fn session(fixture: &Fixture) -> Connection {
    let config = ConnectConfig {
        url: fixture.postgres_url().parse().expect("a url"),
        role: ServerRole::Primary,
        access: Access::ReadWrite,
        application_name: "shop",
        settings: &[],
        statement_timeout: Duration::ZERO,
    };
    config.connect(DEADLINE).await.expect("connected")
}

fn request(number: u32) -> JobRequest {
    JobRequest::new("mail", &json!(number), None, 0, None).expect("valid")
}

async fn lease(jobs: &Jobs) -> Vec<(i64, u32)> {
    let leased = jobs.claim("mail", 100, 60, "w").await.expect("an answer");
    leased.into_iter().map(|job| (job.id, job.attempt)).collect()
}

/// A job belongs to the transaction that enqueues it; later jobs do not wait for that transaction, and it is not passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_of_an_open_transaction_is_run_after_its_commit() {
    let fixture = Fixture::postgres().await;
    let (shop, shops_own) = (fixture.shop().await, session(&fixture).await);
    let jobs = jobs(&shop).await;
    shops_own
        .run("begin; select tidegate.enqueue_job('mail', '{\"own\":1}')")
        .await
        .expect("enqueued");
    for number in 0..5 {
        jobs.enqueue(vec![request(number)]).await.expect("enqueued");
        let leased = lease(&jobs).await;
        assert_eq!(leased.len(), 1, "the open transaction stops no other job");
        jobs.done(leased[0].0, 1).await.expect("done");
    }
    shops_own.run("commit").await.expect("committed");
    assert_eq!(lease(&jobs).await.len(), 1);
    shops_own.run("begin; select tidegate.enqueue_job('mail', '{}'); rollback").await.expect("run");
    assert_eq!(lease(&jobs).await, []);
    let unknown = shops_own.run("select tidegate.enqueue_job('nothing', '{}')").await;
    assert!(unknown.expect_err("unknown").to_string().contains("[jobs.nothing]"));
}

/// A reader in a transaction that stays open keeps no ended job: its segment is truncated under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_snapshot_keeps_no_ended_jobs() {
    let fixture = Fixture::postgres().await;
    let (shop, reader) = (fixture.shop().await, session(&fixture).await);
    let jobs = jobs(&shop).await;
    reader
        .run("begin isolation level repeatable read; select count(*) from tidegate.sku")
        .await
        .expect("read");
    for round in 0..5 {
        jobs.enqueue((0..150).map(request).collect()).await.expect("enqueued");
        let mut ended = 0;
        while ended < 150 {
            for (id, attempt) in lease(&jobs).await {
                jobs.done(id, attempt).await.expect("done");
                ended += 1;
            }
        }
        for _ in 0..3 {
            shop.ledger.compact_jobs().await.expect("compacted");
        }
        let rows = "select count(*) from tidegate.job_entry";
        let row = session(&fixture).await.row("counting", rows, &[]).await.expect("counted");
        let rows: i64 = row.get(0);
        assert!(rows <= 150, "round {round}: {rows} rows");
    }
    let snapshot = shop.ledger.oldest_snapshot().await.expect("read").expect("there is one");
    assert!(snapshot.age_seconds >= 0 && snapshot.hidden_sessions == 0, "{snapshot:?}");
    assert_eq!(shop.ledger.audit_jobs().await.expect("audited"), []);
}

/// A dump or a slow report locks the tables: jobs go on, and the log is emptied later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_segment_is_emptied_later() {
    let fixture = Fixture::postgres().await;
    let (shop, dump) = (fixture.shop().await, session(&fixture).await);
    let jobs = jobs(&shop).await;
    jobs.enqueue((0..150).map(request).collect()).await.expect("enqueued");
    dump.run("begin; lock table tidegate.job_entry in access share mode").await.expect("locked");
    for _ in 0..2 {
        for (id, attempt) in lease(&jobs).await {
            jobs.done(id, attempt).await.expect("done");
        }
    }
    for _ in 0..3 {
        shop.ledger.compact_jobs().await.expect("compacted");
    }
    jobs.enqueue(vec![request(1)]).await.expect("enqueued");
    assert_eq!(lease(&jobs).await.len(), 1);
    dump.run("commit").await.expect("unlocked");
    shop.ledger.compact_jobs().await.expect("compacted");
    let row = dump.row("counting", "select count(*) from tidegate.job_entry", &[]).await;
    assert_eq!(row.expect("counted").get::<_, i64>(0), 1);
    assert_eq!(shop.ledger.audit_jobs().await.expect("audited"), []);
}

/// Each statement, and an invariant that it breaks.
const PLANTED: [(&str, &str); 7] = [
    (
        "delete from tidegate.job_entry where id in (select id from tidegate.job_end where outcome = 'done')",
        "jobs-are-conserved",
    ),
    ("delete from tidegate.job_entry where attempt = 2", "jobs-are-conserved"),
    (
        "update tidegate.job_end set at = at + interval '1 hour' where outcome = 'retry'",
        "leases-are-exclusive",
    ),
    (
        "update tidegate.job_end set outcome = 'lost' where outcome = 'retry'",
        "leases-run-out-before-recovery",
    ),
    ("update tidegate.job_entry set attempts_left = 0", "attempts-are-bounded"),
    ("update tidegate.job_entry set expires_at = enqueued_at", "expired-jobs-do-not-run"),
    (
        "update tidegate.job_entry set due_at = due_at + interval '1 hour'",
        "attempts-start-when-due",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_violations_of_jobs_are_found() {
    for (sql, invariant) in PLANTED {
        let fixture = Fixture::postgres().await;
        let shop = fixture.shop().await;
        let jobs = jobs(&shop).await;
        jobs.enqueue(vec![request(1), request(2)]).await.expect("enqueued");
        let leased = lease(&jobs).await;
        jobs.done(leased[0].0, 1).await.expect("done");
        jobs.fail("mail", leased[1].0, 1, "busy", false).await.expect("recorded");
        let next = async { while lease(&jobs).await.is_empty() {} };
        tokio::time::timeout(DEADLINE, next).await.expect("leased again");
        assert_eq!(shop.ledger.audit_jobs().await.expect("audited"), []);
        fixture.sql(sql);
        let found = shop.ledger.audit_jobs().await.expect("audited");
        assert!(found.iter().any(|finding| finding.invariant == invariant), "{sql}: {found:?}");
    }
}
