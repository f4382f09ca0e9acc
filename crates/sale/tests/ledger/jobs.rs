//! Jobs: attempts, leases, pauses, dead letters and compaction, on both ledgers.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use sale::jobs::{JobError, JobMetrics, JobOptions, JobRequest, Jobs, JobsSetup};
use sale::ledger::{JobStats, LeasedJob};
use sale::rules::{AttemptEnd, JobClass, JobRun};
use serde_json::json;

use crate::checkouts::paid_order;
use crate::fixture::{DEADLINE, Shop, StoppedClock, key};

on_both_ledgers! {
    job_is_leased_once_and_done_once
    lost_lease_is_recovered_and_fences_its_worker
    extended_lease_is_not_recovered
    failed_job_waits_and_dies_after_its_attempts
    final_failure_is_a_dead_letter_at_once
    replay_takes_a_snapshot_and_gives_attempts_back
    pause_survives_a_restart_and_jobs_wait
    drained_kind_refuses_new_jobs_and_runs_old_ones
    request_key_has_one_job
    unique_job_is_one_while_it_is_open
    delayed_job_waits_until_it_is_due
    expired_job_does_not_run
    order_events_make_jobs
    low_jobs_are_refused_first
    compaction_keeps_open_jobs_and_counts
    concurrent_workers_share_the_jobs
    unknown_kind_is_named
}

fn setup(depth: u64) -> JobsSetup {
    let kind = |class, attempts, on: &[&'static str]| JobOptions {
        class,
        attempts,
        retry_delay: Duration::from_millis(100),
        retry_delay_max: Duration::from_millis(100),
        on: on.to_vec(),
        ..JobOptions::default()
    };
    let kinds = [
        ("mail".to_owned(), kind(JobClass::High, 2, &["order-placed"])),
        ("stock".to_owned(), kind(JobClass::Medium, 3, &[])),
        ("export".to_owned(), kind(JobClass::Low, 3, &[])),
    ];
    JobsSetup { kinds: kinds.into(), depth, ..JobsSetup::default() }
}

async fn jobs_with(shop: &Shop, depth: u64) -> Jobs {
    let metrics = JobMetrics::new(&mut Registry::default());
    let ledger = Arc::clone(&shop.ledger);
    let jobs = Jobs::new(ledger, Arc::new(StoppedClock), metrics, setup(depth));
    jobs.record_kinds().await.expect("recorded");
    jobs
}

async fn jobs(shop: &Shop) -> Jobs {
    jobs_with(shop, 1_000_000).await
}

fn request(kind: &str, number: u32) -> JobRequest {
    JobRequest::new(kind, &json!({ "n": number }), None, 0, None).expect("valid")
}

async fn enqueue(jobs: &Jobs, request: JobRequest) -> i64 {
    jobs.enqueue(vec![request]).await.expect("enqueued")[0].0
}

async fn lease(jobs: &Jobs, kind: &str) -> Vec<LeasedJob> {
    jobs.claim(kind, 10, 60, "w").await.expect("an answer")
}

/// Asks until there is a job.
async fn lease_one(jobs: &Jobs, kind: &str) -> LeasedJob {
    let found = async {
        loop {
            if let Some(job) = lease(jobs, kind).await.pop() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("a job in time")
}

async fn stats(jobs: &Jobs, kind: &str) -> JobStats {
    let stats = jobs.stats().await.expect("counted");
    stats.into_iter().find(|stats| stats.kind == kind).expect("known")
}

/// Recovers leases until one was over.
async fn recover(shop: &Shop, kind: &str) {
    let recovered = async {
        while shop.ledger.recover_jobs(kind, 0).await.expect("an answer").0 == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, recovered).await.expect("recovered in time");
}

async fn audit(shop: &Shop) {
    assert_eq!(shop.ledger.audit_jobs().await.expect("audited"), []);
}

async fn job_is_leased_once_and_done_once(shop: Shop) {
    let jobs = jobs(&shop).await;
    let id = enqueue(&jobs, request("mail", 1)).await;
    let leased = lease(&jobs, "mail").await;
    assert_eq!((leased.len(), leased[0].id, leased[0].attempt), (1, id, 1));
    assert_eq!(leased[0].body, "{\"n\":1}");
    assert_eq!(lease(&jobs, "mail").await, []);
    jobs.done(id, 1).await.expect("done");
    jobs.done(id, 1).await.expect("a repeat is no error");
    let late = jobs.fail("mail", id, 1, "late", false).await;
    assert!(matches!(late, Err(JobError::LeaseLost { .. })), "{late:?}");
    assert!(matches!(jobs.done(id, 2).await, Err(JobError::UnknownJob { .. })));
    let stats = stats(&jobs, "mail").await;
    assert_eq!((stats.open(), stats.enqueued, stats.done), (0, 1, 1));
    audit(&shop).await;
}

/// A worker that was slow or cut off does not end the job of its successor.
async fn lost_lease_is_recovered_and_fences_its_worker(shop: Shop) {
    let jobs = jobs(&shop).await;
    let id = enqueue(&jobs, request("mail", 1)).await;
    let first = jobs.claim("mail", 1, 1, "slow").await.expect("an answer");
    assert_eq!(first.len(), 1);
    recover(&shop, "mail").await;
    assert!(jobs.extend(id, 1, 60).await.is_err());
    let second = lease_one(&jobs, "mail").await;
    assert_eq!((second.id, second.attempt, second.attempts_left), (id, 2, 1));
    let late = jobs.done(id, 1).await;
    assert!(matches!(late, Err(JobError::LeaseLost { state: "lost", .. })), "{late:?}");
    jobs.done(id, 2).await.expect("done");
    assert_eq!(stats(&jobs, "mail").await.done, 1);
    audit(&shop).await;
}

async fn extended_lease_is_not_recovered(shop: Shop) {
    let jobs = jobs(&shop).await;
    let id = enqueue(&jobs, request("mail", 1)).await;
    let leased = jobs.claim("mail", 1, 1, "w").await.expect("an answer");
    let until = jobs.extend(id, 1, 600).await.expect("extended");
    assert!(until > leased[0].until_ms + 500_000, "{until}");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(shop.ledger.recover_jobs("mail", 0).await.expect("an answer").0, 0);
    jobs.done(id, 1).await.expect("done");
    audit(&shop).await;
}

async fn failed_job_waits_and_dies_after_its_attempts(shop: Shop) {
    let jobs = jobs(&shop).await;
    let id = enqueue(&jobs, request("mail", 1)).await;
    let first = lease_one(&jobs, "mail").await;
    let end = jobs.fail("mail", id, first.attempt, "busy", false).await.expect("recorded");
    assert_eq!(end, AttemptEnd::Retry);
    assert_eq!(jobs.fail("mail", id, 1, "busy", false).await.expect("a repeat"), AttemptEnd::Retry);
    let second = lease_one(&jobs, "mail").await;
    assert!(second.due_ms > first.due_ms, "{first:?} {second:?}");
    assert_eq!(jobs.fail("mail", id, 2, "no", false).await.expect("recorded"), AttemptEnd::Dead);
    let dead = shop.ledger.dead_jobs("mail", 10).await.expect("read");
    assert_eq!((dead.len(), dead[0].id, dead[0].attempts), (1, id, 2));
    assert_eq!(dead[0].reason.as_deref(), Some("no"));
    audit(&shop).await;
}

async fn final_failure_is_a_dead_letter_at_once(shop: Shop) {
    let jobs = jobs(&shop).await;
    let id = enqueue(&jobs, request("stock", 1)).await;
    let leased = lease_one(&jobs, "stock").await;
    let end = jobs.fail("stock", id, leased.attempt, "no such address", true).await;
    assert_eq!(end.expect("recorded"), AttemptEnd::Dead);
    audit(&shop).await;
}

async fn replay_takes_a_snapshot_and_gives_attempts_back(shop: Shop) {
    let jobs = jobs(&shop).await;
    let mut dead = Vec::new();
    for number in 0..3 {
        dead.push(enqueue(&jobs, request("mail", number)).await);
    }
    for job in lease(&jobs, "mail").await {
        jobs.fail("mail", job.id, job.attempt, "no", true).await.expect("recorded");
    }
    assert_eq!(shop.ledger.replay_jobs("mail", Some(dead[0])).await.expect("replayed"), 1);
    assert_eq!(shop.ledger.replay_jobs("mail", None).await.expect("replayed"), 2);
    assert_eq!(shop.ledger.replay_jobs("mail", None).await.expect("replayed"), 0);
    let again = lease(&jobs, "mail").await;
    assert_eq!(
        again.iter().map(|job| (job.attempt, job.attempts_left)).collect::<Vec<_>>(),
        [(2, 2); 3]
    );
    // It dies again, and waits for another replay.
    jobs.fail("mail", again[0].id, 2, "still not", true).await.expect("recorded");
    jobs.done(again[1].id, 2).await.expect("done");
    jobs.done(again[2].id, 2).await.expect("done");
    let stats = stats(&jobs, "mail").await;
    assert_eq!((stats.dead, stats.done, stats.enqueued), (1, 2, 6));
    audit(&shop).await;
}

async fn pause_survives_a_restart_and_jobs_wait(shop: Shop) {
    let before = jobs(&shop).await;
    let id = enqueue(&before, request("mail", 1)).await;
    assert!(shop.ledger.set_job_run("mail", JobRun::Paused).await.expect("set"));
    // Twice, as an operator in doubt does.
    assert!(shop.ledger.set_job_run("mail", JobRun::Paused).await.expect("set"));
    assert_eq!(lease(&before, "mail").await, []);
    let restarted = jobs(&shop).await;
    enqueue(&restarted, request("mail", 2)).await;
    assert_eq!(lease(&restarted, "mail").await, []);
    assert_eq!(stats(&restarted, "mail").await.run, JobRun::Paused);
    shop.ledger.set_job_run("mail", JobRun::Running).await.expect("set");
    let leased = lease(&restarted, "mail").await;
    assert_eq!((leased.len(), leased[0].id), (2, id));
    assert!(!shop.ledger.set_job_run("nothing", JobRun::Paused).await.expect("an answer"));
    audit(&shop).await;
}

async fn drained_kind_refuses_new_jobs_and_runs_old_ones(shop: Shop) {
    let jobs = jobs(&shop).await;
    enqueue(&jobs, request("mail", 1)).await;
    shop.ledger.set_job_run("mail", JobRun::Draining).await.expect("set");
    let refused = jobs.enqueue(vec![request("mail", 2).with_key(&key("k"))]).await;
    assert!(matches!(refused, Err(JobError::Draining(_))), "{refused:?}");
    assert_eq!(lease(&jobs, "mail").await.len(), 1);
    shop.ledger.set_job_run("mail", JobRun::Running).await.expect("set");
    // The refusal has used up no key.
    jobs.enqueue(vec![request("mail", 2).with_key(&key("k"))]).await.expect("enqueued");
    audit(&shop).await;
}

async fn request_key_has_one_job(shop: Shop) {
    let jobs = jobs(&shop).await;
    let again = || request("mail", 1).with_key(&key("k"));
    let (first, second) = tokio::join!(jobs.enqueue(vec![again()]), jobs.enqueue(vec![again()]));
    let (first, second) = (first.expect("enqueued")[0], second.expect("enqueued")[0]);
    assert_eq!((first.0, first.1 != second.1), (second.0, true));
    let other = jobs.enqueue(vec![request("mail", 2).with_key(&key("k"))]).await;
    assert!(matches!(other, Err(JobError::KeyReused)), "{other:?}");
    // Another kind has keys of its own.
    jobs.enqueue(vec![request("stock", 2).with_key(&key("k"))]).await.expect("enqueued");
    let job = lease_one(&jobs, "mail").await;
    jobs.done(job.id, 1).await.expect("done");
    assert_eq!(jobs.enqueue(vec![again()]).await.expect("repeated"), [(job.id, false)]);
    assert_eq!(lease(&jobs, "mail").await, []);
    audit(&shop).await;
}

/// Also in one call with several jobs.
async fn unique_job_is_one_while_it_is_open(shop: Shop) {
    let jobs = jobs(&shop).await;
    let unique = |n| JobRequest::new("stock", &json!(n), Some("A"), 0, None).expect("valid");
    let both =
        jobs.enqueue(vec![unique(1), unique(2), request("stock", 3)]).await.expect("enqueued");
    assert_eq!((both[0].0, both[0].1, both[1].1), (both[1].0, true, false));
    let leased = lease(&jobs, "stock").await;
    assert_eq!(leased.len(), 2);
    // It is open while it runs, and while it waits for its next attempt.
    assert!(!jobs.enqueue(vec![unique(4)]).await.expect("an answer")[0].1);
    jobs.fail("stock", both[0].0, 1, "busy", false).await.expect("recorded");
    assert!(!jobs.enqueue(vec![unique(5)]).await.expect("an answer")[0].1);
    let again = lease_one(&jobs, "stock").await;
    jobs.done(again.id, again.attempt).await.expect("done");
    assert!(jobs.enqueue(vec![unique(6)]).await.expect("an answer")[0].1);
    audit(&shop).await;
}

/// A lease does not run while a job is delayed, however long that is.
async fn delayed_job_waits_until_it_is_due(shop: Shop) {
    let jobs = jobs(&shop).await;
    let delayed = |ms| JobRequest::new("mail", &json!(ms), None, ms, None).expect("valid");
    enqueue(&jobs, delayed(1_000_000)).await;
    let soon = enqueue(&jobs, delayed(300)).await;
    let now = enqueue(&jobs, request("mail", 1)).await;
    let first = lease(&jobs, "mail").await;
    assert_eq!(first.iter().map(|job| job.id).collect::<Vec<_>>(), [now]);
    let second = lease_one(&jobs, "mail").await;
    assert_eq!(second.id, soon);
    let stats = stats(&jobs, "mail").await;
    assert_eq!((stats.delayed, stats.leased, stats.waiting), (1, 2, 0));
    audit(&shop).await;
}

async fn expired_job_does_not_run(shop: Shop) {
    let jobs = jobs(&shop).await;
    let short = JobRequest::new("mail", &json!(1), Some("u"), 0, Some(1)).expect("valid");
    enqueue(&jobs, short.clone()).await;
    let kept = enqueue(&jobs, request("mail", 2)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let leased = lease(&jobs, "mail").await;
    assert_eq!(leased.iter().map(|job| job.id).collect::<Vec<_>>(), [kept]);
    let stats = stats(&jobs, "mail").await;
    assert_eq!((stats.expired, stats.open()), (1, 1));
    // Its unique key is free again.
    assert!(jobs.enqueue(vec![short]).await.expect("enqueued")[0].1);
    audit(&shop).await;
}

async fn order_events_make_jobs(shop: Shop) {
    let jobs = jobs(&shop).await;
    shop.put("A", 5).await;
    paid_order(&shop).await;
    let leased = lease(&jobs, "mail").await;
    assert_eq!(leased.len(), 1, "{leased:?}");
    let body: serde_json::Value = serde_json::from_str(&leased[0].body).expect("JSON");
    assert_eq!((&body["event"], &body["number"]), (&json!("order-placed"), &json!(1)));
    assert!(body["content"].is_object() && body["order"].is_string(), "{body}");
    audit(&shop).await;
}

async fn low_jobs_are_refused_first(shop: Shop) {
    let jobs = jobs_with(&shop, 1).await;
    enqueue(&jobs, request("mail", 1)).await;
    enqueue(&jobs, request("mail", 1)).await;
    jobs.stats().await.expect("counted");
    let low = jobs.enqueue(vec![request("export", 1)]).await;
    assert!(matches!(low, Err(JobError::Busy { open: 2, limit: 1 })), "{low:?}");
    enqueue(&jobs, request("stock", 1)).await;
    enqueue(&jobs, request("mail", 1)).await;
    jobs.stats().await.expect("counted");
    assert!(jobs.enqueue(vec![request("stock", 1)]).await.is_err());
    enqueue(&jobs, request("mail", 1)).await;
}

/// Open jobs of a segment that is emptied keep their leases, delays and keys.
async fn compaction_keeps_open_jobs_and_counts(shop: Shop) {
    let jobs = jobs(&shop).await;
    let mut leased = None;
    for round in 0..3 {
        for number in 0..60 {
            enqueue(&jobs, request("stock", number)).await;
        }
        let mut ended = 0;
        while ended < 60 {
            for job in jobs.claim("stock", 100, 60, "w").await.expect("an answer") {
                jobs.done(job.id, job.attempt).await.expect("done");
                ended += 1;
            }
        }
        if round == 1 {
            let id = enqueue(&jobs, request("mail", 1)).await;
            leased = Some(lease_one(&jobs, "mail").await);
            assert_eq!(leased.as_ref().map(|job| job.id), Some(id));
            let later =
                JobRequest::new("mail", &json!(1), Some("u"), 600_000, None).expect("valid");
            enqueue(&jobs, later).await;
        }
        for _ in 0..4 {
            shop.ledger.compact_jobs().await.expect("compacted");
        }
        audit(&shop).await;
    }
    let leased = leased.expect("leased");
    jobs.extend(leased.id, leased.attempt, 60).await.expect("extended");
    jobs.done(leased.id, leased.attempt).await.expect("done");
    let (stock, mail) = (stats(&jobs, "stock").await, stats(&jobs, "mail").await);
    assert_eq!((stock.enqueued, stock.done, stock.open()), (180, 180, 0));
    assert_eq!((mail.enqueued, mail.done, mail.delayed, mail.open()), (2, 1, 1, 1));
    audit(&shop).await;
}

async fn concurrent_workers_share_the_jobs(shop: Shop) {
    let jobs = jobs(&shop).await;
    let numbers: Vec<u32> = (0..200).collect();
    let requests = numbers.iter().map(|number| request("stock", *number)).collect();
    jobs.enqueue(requests).await.expect("enqueued");
    let worker = |jobs: Jobs| async move {
        let mut done = Vec::new();
        loop {
            let leased = jobs.claim("stock", 7, 60, "w").await.expect("an answer");
            if leased.is_empty() {
                return done;
            }
            for job in leased {
                jobs.done(job.id, job.attempt).await.expect("done");
                done.push(job.body);
            }
        }
    };
    // Two nodes: each has its own knowledge of the log.
    let other = jobs_with(&shop, 1_000_000).await;
    let workers =
        [jobs.clone(), jobs.clone(), other.clone(), other].map(|jobs| tokio::spawn(worker(jobs)));
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.expect("a worker"));
    }
    done.sort_unstable();
    let mut expected: Vec<String> = numbers.iter().map(|n| json!({ "n": n }).to_string()).collect();
    expected.sort_unstable();
    assert_eq!(done, expected);
    audit(&shop).await;
}

async fn unknown_kind_is_named(shop: Shop) {
    let jobs = jobs(&shop).await;
    let unknown = jobs.enqueue(vec![request("nothing", 1)]).await.expect_err("unknown");
    assert!(unknown.to_string().contains("[jobs.nothing]"), "{unknown}");
    assert!(jobs.claim("nothing", 1, 1, "w").await.is_err());
    assert!(jobs.claim("mail", 0, 1, "w").await.is_err());
    assert!(jobs.claim("mail", 1, 0, "w").await.is_err());
}
