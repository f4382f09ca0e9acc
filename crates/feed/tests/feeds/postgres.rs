use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use feed::{Feed, FeedEvent, PostgresFeed, PostgresOptions, PostgresSource, Source};
use harness::{Postgres, PostgresBuilder};

use crate::fixture::{Fixture, PRODUCTS, WallClock, products};
use crate::reader::{FeedReader, LIMIT, describe, next};
use crate::suite::suite;

suite!(PostgresFixture::new());

pub(crate) struct PostgresFixture {
    pub(crate) server: Postgres,
}

impl PostgresFixture {
    pub(crate) fn new() -> Self {
        Self::on(Postgres::builder())
    }

    /// Starts a configured server.
    pub(crate) fn on(server: PostgresBuilder) -> Self {
        let server = server.start().unwrap();
        server.psql(PRODUCTS).unwrap();
        Self { server }
    }

    pub(crate) fn options_with(
        &self,
        change: impl FnOnce(&mut PostgresOptions),
    ) -> PostgresOptions {
        let mut options = self.options();
        change(&mut options);
        options
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        let url = self.server.url("postgres").parse().unwrap();
        PostgresOptions::new("shop", url, vec![products()], Arc::new(WallClock))
    }
}

impl Fixture for PostgresFixture {
    fn run(&self, sql: &str) {
        self.server.psql(sql).unwrap();
    }

    fn feed(&self) -> Box<dyn Feed> {
        Box::new(PostgresFeed::new(self.options()))
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(PostgresSource::new(&self.server.url("postgres").parse().unwrap()))
    }

    fn write_message(&self, text: &str) {
        self.run(&format!("select pg_logical_emit_message(true, 'tidegate', '{text}')"));
    }
}

impl PostgresFixture {
    fn feed_with(&self, change: impl FnOnce(&mut PostgresOptions)) -> Box<dyn Feed> {
        Box::new(PostgresFeed::new(self.options_with(change)))
    }

    /// Returns the server's version, such as 150018: expectations may depend on the release.
    pub(crate) fn version(&self) -> i32 {
        self.server.psql("show server_version_num").unwrap().parse().unwrap()
    }

    /// Opens a session that stays open.
    pub(crate) async fn session(&self) -> tokio_postgres::Client {
        let url = self.server.url("postgres");
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

async fn reader_at_end(fixture: &PostgresFixture) -> (FeedReader, Box<dyn Source>) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    (reader, source)
}

/// Reads to the next start after a loss.
async fn restarted(reader: &mut FeedReader) {
    loop {
        if let FeedEvent::Started(_) = reader.next_event().await.unwrap() {
            return;
        }
    }
}

#[tokio::test]
async fn truncate_cascade_names_every_table() {
    let fixture = PostgresFixture::new();
    fixture.run("create table stock(id int primary key references products, pieces int)");
    let stock = feed::TrackedTable {
        table: "public.stock".into(),
        columns: vec!["id".into()],
        key_columns: vec![],
        old_columns: vec![],
        every_column: false,
    };
    let mut reader = FeedReader::new(fixture.feed_with(|options| options.tables.push(stock))).await;
    fixture.run("truncate products cascade");
    // It alters the schema too, so the stream may start again meanwhile.
    let mut changes: Vec<String> = Vec::new();
    while changes.is_empty() {
        reader.next_event().await.unwrap();
        changes.extend(reader.take_commits().iter().flat_map(|c| &c.changes).map(describe));
    }
    changes.sort();
    assert_eq!(changes, ["truncate public.products", "truncate public.stock"]);
}

#[tokio::test]
async fn unchanged_toast_value_marked() {
    let fixture = PostgresFixture::new();
    fixture.run("alter table products alter column name set storage external");
    fixture.run("insert into products values (1, repeat('x', 9000), 7, 250)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("update products set price_cents = 300");
    fixture.run("update products set name = repeat('y', 9000)");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes, ["update -> 1|~|7|300", "update -> 1|9000 bytes|7|300"]);
}

#[tokio::test]
async fn full_identity_includes_old_row() {
    let fixture = PostgresFixture::new();
    fixture.run("alter table products replica identity full");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("update products set category_id = 8; delete from products;");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes, ["update 1|Tea|7|250 -> 1|Tea|8|250", "delete 1|Tea|8|250 ->"]);
}

#[tokio::test]
async fn partition_reported_as_parent_table() {
    let fixture = PostgresFixture::new();
    fixture.run(
        "drop table products; \
         create table products(id int primary key, name text, category_id int, price_cents int) \
           partition by range (id); \
         create table products_low partition of products for values from (0) to (100)",
    );
    let mut reader = FeedReader::new(fixture.feed()).await;
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    reader.read_to_end(&*fixture.source()).await;
    let commits = reader.take_commits();
    assert_eq!(&*commits[0].changes[0].table, "public.products");
}

#[tokio::test]
async fn acknowledged_commit_not_redelivered() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(reader.changes_to_end(&*source).await.len(), 1);
    // The log advances meanwhile; only this much is acknowledged.
    let acknowledged = reader.upto;
    reader.feed.ack(acknowledged);
    let confirmed = || -> Lsn {
        let sql = "select confirmed_flush_lsn from pg_replication_slots";
        fixture.server.psql(sql).unwrap().parse().unwrap()
    };
    while confirmed() < acknowledged {
        let _ = tokio::time::timeout(Duration::from_millis(50), reader.next_event()).await;
    }
    drop(reader);
    let mut again = FeedReader::new(fixture.feed()).await;
    assert_eq!(again.changes_to_end(&*source).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_takes_over() {
    let fixture = PostgresFixture::new();
    let mut leader = FeedReader::new(fixture.feed()).await;
    let mut standby = fixture.feed();
    assert!(matches!(next(&mut standby).await.unwrap(), FeedEvent::Standby));
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let source = fixture.source();
    assert_eq!(leader.changes_to_end(&*source).await.len(), 1);
    let asked = tokio::time::Instant::now();
    drop(leader);
    let mut standby = FeedReader::new(standby).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "took {:?}", asked.elapsed());
    assert!(standby.start.unbroken, "the server was observed during standby");
    assert_eq!(standby.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn dropped_slot_recreated() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    assert!(reader.start.slot_generation.is_some());
    fixture.run(
        "select pg_terminate_backend(active_pid) from pg_replication_slots; \
         select pg_sleep(0.02); select pg_drop_replication_slot('tidegate') \
         from pg_replication_slots where not active",
    );
    let first = reader.start.slot_generation;
    restarted(&mut reader).await;
    if reader.start.slot_generation.is_none() {
        // The feed reacquired the slot before it was dropped.
        fixture.run(
            "do $$ begin loop begin \
               perform pg_terminate_backend(active_pid) from pg_replication_slots; \
               perform pg_drop_replication_slot('tidegate'); return; \
             exception when object_in_use then end; end loop; end $$",
        );
        restarted(&mut reader).await;
    }
    assert!(reader.start.slot_generation.is_some());
    assert_ne!(reader.start.slot_generation, first);
    assert!(reader.start.unbroken);
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn lost_connection_loses_no_commit() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let before = reader.start.clone();
    fixture.run("select pg_terminate_backend(active_pid) from pg_replication_slots");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    restarted(&mut reader).await;
    assert!(reader.start.unbroken, "only a connection was lost");
    assert_eq!(reader.start.server_started, before.server_started);
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_restart_reported() {
    let mut fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let before = reader.start.clone();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    // A server that shuts down waits until everything is acknowledged.
    let follower = tokio::spawn(async move {
        loop {
            match reader.next_event().await.unwrap() {
                FeedEvent::Batch(batch) => reader.feed.ack(batch.upto),
                FeedEvent::Started(_) => return reader,
                FeedEvent::Lost(_) | FeedEvent::Standby => {}
            }
        }
    });
    let fixture = tokio::task::spawn_blocking(move || {
        fixture.server.restart().unwrap();
        fixture
    });
    let fixture = fixture.await.unwrap();
    let mut reader = tokio::time::timeout(LIMIT, follower).await.unwrap().unwrap();
    assert!(!reader.start.unbroken);
    assert_ne!(reader.start.server_started, before.server_started);
    assert_eq!(reader.start.system, before.system);
    assert_eq!(reader.start.slot_generation, None);
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await.last().unwrap(), "insert -> 2|Cup|8|900");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_crash_reported() {
    let mut fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.server.crash().unwrap();
    fixture.server.start_again().unwrap();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    restarted(&mut reader).await;
    assert!(!reader.start.unbroken);
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_backend_reported_as_restart() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let started = reader.start.server_started.clone();
    let client = fixture.session().await;
    let row = client.query_one("select pg_backend_pid()", &[]).await.unwrap();
    let pid: i32 = row.get(0);
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
    restarted(&mut reader).await;
    assert!(!reader.start.unbroken);
    // Visible also to a node that was not connected then; the start time alone is unchanged.
    assert_ne!(reader.start.server_started, started);
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn oversized_commit_changes_whole_table() {
    let fixture = PostgresFixture::new();
    let mut reader = FeedReader::new(fixture.feed_with(|options| options.max_changes = 100)).await;
    fixture.run("insert into products select i, 'x', 1, 1 from generate_series(1, 101) i");
    fixture.run("insert into products select i, 'x', 1, 1 from generate_series(201, 300) i");
    let changes = reader.changes_to_end(&*fixture.source()).await;
    assert_eq!(changes[0], "truncate public.products");
    assert_eq!(changes.len(), 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_23_event_before_commit_visible() {
    let fixture = PostgresFixture::new();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.server.hold_commits().unwrap();
    let writer = fixture.session().await;
    writer.batch_execute("set synchronous_commit = on").await.unwrap();
    let hanging = tokio::spawn(async move {
        writer.batch_execute("update products set price_cents = 300 where id = 1").await
    });
    while reader.commits.is_empty() {
        reader.next_event().await.unwrap();
    }
    let commit = reader.take_commits().remove(0);
    assert_eq!(describe(&commit.changes[0]), "update -> 1|Tea|7|300");
    let seen = fixture.server.psql("select price_cents from products").unwrap();
    assert_eq!(seen, "250", "no other session sees it yet");
    // A later commit that is visible, and idle progress: neither may carry W past the first.
    fixture.run("set synchronous_commit = local; insert into products values (2, 'Cup', 8, 900)");
    let end = source.log_end().await.unwrap().lsn;
    source.nudge().await.unwrap();
    while reader.upto < end {
        reader.next_event().await.unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            reader.next_event().await.unwrap();
        }
    });
    assert!(quiet.await.is_err());
    assert!(reader.watermark < commit.lsn, "W is {} at {}", reader.watermark, commit.lsn);
    // Nor may the slot: the next leader has to receive the commit.
    reader.feed.ack(reader.upto);
    drop(reader);
    let mut next = FeedReader::new(fixture.feed()).await;
    assert!(next.start.position < commit.lsn);
    while next.commits.is_empty() {
        next.next_event().await.unwrap();
    }
    assert_eq!(describe(&next.take_commits()[0].changes[0]), "update -> 1|Tea|7|300");
    assert!(next.watermark < commit.lsn);
    fixture.server.release_commits().unwrap();
    next.read_to(commit.lsn).await;
    hanging.await.unwrap().unwrap();
    assert_eq!(
        fixture.server.psql("select price_cents from products where id = 1").unwrap(),
        "300"
    );
}

#[tokio::test]
async fn recreated_table_starts_another_stream() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let before = reader.start.schema.clone().unwrap();
    fixture.run(&format!("drop table products; {PRODUCTS}"));
    restarted(&mut reader).await;
    assert_ne!(reader.start.schema.as_ref().unwrap().digest(), before.digest());
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn table_rewrite_starts_another_stream() {
    let fixture = PostgresFixture::new();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, _) = reader_at_end(&fixture).await;
    let before = reader.start.schema.clone().unwrap();
    fixture.run("alter table products alter column price_cents type int using price_cents * 2");
    restarted(&mut reader).await;
    assert!(reader.start.unbroken);
    assert_ne!(reader.start.schema.as_ref().unwrap().digest(), before.digest());
}

/// Up to release 17 the server rejects a slot that begins before its publication. Later ones leave out the changes
/// while there is none and say nothing; the schema shows it.
#[tokio::test]
async fn recreated_publication_recreates_slot() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let before = reader.start.schema.clone().unwrap();
    fixture.run("drop publication tidegate; insert into products values (1, 'Tea', 7, 250)");
    loop {
        restarted(&mut reader).await;
        if reader.start.slot_generation.is_some() || fixture.version() >= 180_000 {
            break;
        }
    }
    assert_ne!(reader.start.schema.as_ref().unwrap().digest(), before.digest());
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await.last().unwrap(), "insert -> 2|Cup|8|900");
}

#[tokio::test]
async fn application_message_in_transaction() {
    let fixture = PostgresFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run(
        "begin; insert into products values (1, 'Tea', 7, 250); \
         select pg_logical_emit_message(true, 'tidegate', \
           '{\"cause\":\"application\",\"subjects\":[\"t:menu\"]}'); commit",
    );
    fixture.run(
        "begin; select pg_logical_emit_message(true, 'tidegate', \
           '{\"cause\":\"application\",\"subjects\":[\"*\"]}'); rollback",
    );
    reader.read_to_end(&*source).await;
    let commits = reader.take_commits();
    assert_eq!(commits.len(), 1);
    assert_eq!((commits[0].changes.len(), commits[0].messages.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_start_elects_one_leader() {
    let fixture = PostgresFixture::new();
    let (mut one, mut other) = (fixture.feed(), fixture.feed());
    let (one, other) = tokio::join!(next(&mut one), next(&mut other));
    let events = [one.unwrap(), other.unwrap()];
    assert!(events.iter().any(|event| matches!(event, FeedEvent::Started(_))), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, FeedEvent::Standby)), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_slot_waits_for_open_transactions() {
    let fixture = PostgresFixture::new();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let open = async |price: u32| {
        let session = fixture.session().await;
        let update = format!("begin; insert into products values ({price}, 'x', 1, 1)");
        session.batch_execute(&update).await.unwrap();
        session
    };
    // Creating the slot waits for open transactions, in two stages.
    let first = open(101).await;
    let starting = tokio::spawn(FeedReader::new(fixture.feed()));
    let waits = |count: usize| {
        let sql = "select count(*) from pg_locks where not granted and locktype = 'transactionid'";
        harness::until("the slot waiting", LIMIT, || {
            Ok((fixture.server.psql(sql)? == count.to_string()).then_some(()))
        })
        .unwrap();
    };
    waits(1);
    let second = open(102).await;
    first.batch_execute("commit").await.unwrap();
    waits(1);
    let third = open(103).await;
    second.batch_execute("commit").await.unwrap();
    let mut reader = starting.await.unwrap();
    assert!(reader.start.slot_generation.is_some());
    let source = fixture.source();
    let end = source.log_end().await.unwrap().lsn;
    source.nudge().await.unwrap();
    while reader.upto < end {
        reader.next_event().await.unwrap();
    }
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            reader.next_event().await.unwrap();
        }
    });
    assert!(quiet.await.is_err());
    assert_eq!(reader.watermark, Lsn::ZERO);
    third.batch_execute("commit").await.unwrap();
    reader.read_to_end(&*source).await;
    assert!(reader.watermark > Lsn::ZERO);
}
