//! Slots and streams as releases after 16 have them. On older ones some of these tests end at once.

use std::time::Duration;

use feed::postgres::prepare;
use feed::{FeedEvent, Metrics, PostgresFeed};
use harness::Postgres;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use crate::fixture::Fixture;
use crate::postgres::PostgresFixture;
use crate::reader::{FeedReader, LIMIT};

/// A slot that standbys copy, which an administrator has made.
#[tokio::test]
async fn failover_slot_is_followed() {
    let fixture = PostgresFixture::new();
    if fixture.version() < 170_000 {
        return;
    }
    prepare(&fixture.options()).await.unwrap();
    fixture
        .run("select pg_create_logical_replication_slot('tidegate', 'pgoutput', failover => true)");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let mut reader = FeedReader::new(fixture.feed()).await;
    assert_eq!(reader.start.slot_generation, None, "it is not replaced");
    let source = fixture.source();
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await.last().unwrap(), "insert -> 2|Cup|8|900");
    assert_eq!(fixture.server.psql("select failover from pg_replication_slots").unwrap(), "t");
}

/// A slot that was not used for too long is void, and a new one begins after the changes that it missed.
#[tokio::test]
async fn slot_lost_to_idle_timeout_is_created_again() {
    let fixture = PostgresFixture::new();
    if fixture.version() < 180_000 {
        return;
    }
    let mut reader = FeedReader::new(fixture.feed()).await;
    let first = reader.start.slot_generation;
    assert!(first.is_some());
    let source = fixture.source();
    reader.read_to_end(&*source).await;
    drop(reader);
    fixture.run("alter system set idle_replication_slot_timeout = '1s'; select pg_reload_conf()");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let is_invalidated = async {
        let reason = "checkpoint; select invalidation_reason from pg_replication_slots";
        while fixture.server.psql(reason).unwrap() != "idle_timeout" {
            // The dropped connection is closed meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LIMIT, is_invalidated).await.expect("an invalidated slot");
    let mut reader = FeedReader::new(fixture.feed()).await;
    assert!(reader.start.slot_generation.is_some_and(|slot| Some(slot) != first));
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 2|Cup|8|900"]);
    // A slot in use is not idle.
    fixture.run("checkpoint");
    fixture.run("insert into products values (3, 'Pot', 8, 1900)");
    loop {
        match reader.next_event().await.unwrap() {
            FeedEvent::Batch(_) if !reader.commits.is_empty() => break,
            FeedEvent::Batch(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Servers of release 18 were reported to announce such a rollback to every client.
#[tokio::test]
async fn large_rollback_is_nothing() {
    let fixture =
        PostgresFixture::on(Postgres::builder().setting("logical_decoding_work_mem", "64kB"));
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let feed = || {
        let options = fixture.options_with(|options| options.metrics = metrics.clone());
        Box::new(PostgresFeed::new(options))
    };
    let source = fixture.source();
    let mut reader = FeedReader::new(feed()).await;
    reader.read_to_end(&*source).await;
    // The transaction has ended before its log is decoded.
    drop(reader);
    let rows = |from: u32| {
        format!(
            "insert into products select n, repeat('x', 200), 1, 1 \
             from generate_series({from}, {from} + 4000) n"
        )
    };
    let (first, second) = (rows(10_000), rows(20_000));
    fixture.run(&format!("begin; {first}; savepoint a; {second}; rollback to a; rollback"));
    fixture.run(&format!(
        "begin; insert into products values (1, 'Tea', 7, 250); savepoint a; {first}; \
         rollback to a; commit"
    ));
    let mut reader = FeedReader::new(feed()).await;
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert!(text.contains("tidegate_feed_malformed_total 0"), "{text}");
}
