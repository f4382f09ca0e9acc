//! Jobs in SQLite: ended attempts are deleted.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use sale::jobs::{JobMetrics, JobOptions, JobRequest, Jobs, JobsSetup};
use serde_json::json;

use crate::fixture::{Fixture, StoppedClock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_attempts_are_deleted_and_counted() {
    let fixture = Fixture::sqlite().await;
    let shop = fixture.shop().await;
    let kinds = [("mail".to_owned(), JobOptions::default())].into();
    let setup = JobsSetup { kinds, depth: 1_000_000, ..JobsSetup::default() };
    let metrics = JobMetrics::new(&mut Registry::default());
    let jobs = Jobs::new(Arc::clone(&shop.ledger), Arc::new(StoppedClock), metrics, setup);
    jobs.record_kinds().await.expect("recorded");
    let request = |n: u32| JobRequest::new("mail", &json!(n), None, 0, None).expect("valid");
    jobs.enqueue((0..4).map(request).collect()).await.expect("enqueued");
    let leased = jobs.claim("mail", 3, 60, "w").await.expect("an answer");
    jobs.done(leased[0].id, 1).await.expect("done");
    jobs.fail("mail", leased[1].id, 1, "no", true).await.expect("recorded");
    let left = || async {
        let stats = jobs.stats().await.expect("counted").remove(0);
        (stats.enqueued, stats.done, stats.dead, stats.waiting, stats.leased)
    };
    assert_eq!(left().await, (4, 1, 1, 1, 1));
    // A worker may repeat its report for a minute.
    shop.ledger.compact_jobs().await.expect("compacted");
    jobs.done(leased[0].id, 1).await.expect("a repeat");
    fixture.sql("update tidegate.job_end set at = at - 120000");
    shop.ledger.compact_jobs().await.expect("compacted");
    assert_eq!(left().await, (4, 1, 1, 1, 1));
    assert!(jobs.done(leased[0].id, 1).await.is_err(), "it is forgotten");
    jobs.done(leased[2].id, 1).await.expect("done");
    assert_eq!(shop.ledger.replay_jobs("mail", None).await.expect("replayed"), 1);
    assert_eq!(left().await, (5, 2, 0, 2, 0));
    assert_eq!(shop.ledger.audit_jobs().await.expect("audited"), []);
}
