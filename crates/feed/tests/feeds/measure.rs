//! Measurements, not tests: `cargo test -p feed --test feeds -- --ignored --nocapture measure`.

use std::time::Duration;

use coherence::Lsn;
use feed::FeedEvent;
use tokio::time::{Instant, sleep_until};

use crate::fixture::Fixture;
use crate::postgres::PostgresFixture;
use crate::reader::FeedReader;
use crate::sqlite::SqliteFixture;

const RATE: u32 = 500;
const SECONDS: u32 = 5;

/// Prints lags since the writer's commit was acknowledged; negative if the event arrived earlier.
#[expect(clippy::print_stdout, reason = "a measurement is read by a person")]
fn show(what: &str, mut lags_us: Vec<i64>) {
    lags_us.sort_unstable();
    let at = |share: f64| lags_us[((lags_us.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: n={} p50={} µs p99={} µs max={} µs",
        lags_us.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Reads `count` changes and records when each arrived and when each was known to be visible.
async fn arrivals(mut reader: FeedReader, count: usize) -> (Vec<Instant>, Vec<Instant>) {
    let (mut arrived, mut visible) = (Vec::new(), Vec::new());
    let mut ends: Vec<Lsn> = Vec::new();
    while visible.len() < count {
        if let FeedEvent::Batch(batch) = reader.next_event().await.unwrap() {
            let now = Instant::now();
            for commit in reader.take_commits() {
                ends.extend(commit.changes.iter().map(|_| commit.lsn));
                arrived.resize(ends.len(), now);
            }
            while ends.get(visible.len()).is_some_and(|end| *end <= batch.watermark) {
                visible.push(now);
            }
            reader.feed.ack(batch.upto);
        }
    }
    (arrived, visible)
}

fn lags(committed: &[Instant], seen: &[Instant]) -> Vec<i64> {
    let signed = |at: &Instant, from: &Instant| {
        at.saturating_duration_since(*from).as_micros() as i64
            - from.saturating_duration_since(*at).as_micros() as i64
    };
    committed.iter().zip(seen).map(|(from, at)| signed(at, from)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_postgres() {
    let fixture = PostgresFixture::new();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    let count = RATE * SECONDS;
    let follower = tokio::spawn(arrivals(reader, count as usize));
    let writer = fixture.session().await;
    let update = writer.prepare("update products set price_cents = $1 where id = 1").await.unwrap();
    let (began, mut committed) = (Instant::now(), Vec::new());
    for n in 0..count {
        sleep_until(began + Duration::from_secs(1) / RATE * n).await;
        writer.execute(&update, &[&(n as i32)]).await.unwrap();
        committed.push(Instant::now());
    }
    let (arrived, visible) = follower.await.unwrap();
    show("postgres: commit acknowledged → event", lags(&committed, &arrived));
    show("postgres: commit acknowledged → W past it", lags(&committed, &visible));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_takeover() {
    let fixture = PostgresFixture::new();
    let mut took = Vec::new();
    let mut leader = FeedReader::new(fixture.feed()).await;
    for _ in 0..20 {
        let mut standby = fixture.feed();
        crate::reader::next(&mut standby).await.unwrap();
        let dropped = Instant::now();
        drop(leader);
        leader = FeedReader::new(standby).await;
        took.push(dropped.elapsed().as_micros() as i64);
    }
    show("postgres: leader dropped → standby leads", took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_sqlite() {
    let fixture = SqliteFixture::new();
    let connection = rusqlite::Connection::open(fixture.path()).unwrap();
    connection.execute_batch("pragma synchronous = normal").unwrap();
    let write = |from: u32, to: u32| {
        let began = Instant::now();
        for id in from..to {
            connection.execute("insert into products values (?1, 'x', 1, 1)", [id]).unwrap();
        }
        began.elapsed() / (to - from)
    };
    let bare = write(0, 20_000);
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    let count = 2_000;
    let follower = tokio::spawn(arrivals(reader, count as usize));
    let began = Instant::now();
    let mut committed = Vec::new();
    for n in 0..count {
        sleep_until(began + Duration::from_secs(1) / RATE * n).await;
        let update = "update products set price_cents = ?1 where id = 1";
        connection.execute(update, [n + 2]).unwrap();
        committed.push(Instant::now());
    }
    let (arrived, _) = follower.await.unwrap();
    show("sqlite: commit acknowledged → event", lags(&committed, &arrived));
    let followed = write(100_000, 120_000);
    println!("sqlite: an insert costs {bare:?} alone, {followed:?} with triggers and a follower");
}
