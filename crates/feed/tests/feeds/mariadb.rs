use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::Subject;
use feed::{
    Checkpoint, Feed, FeedError, FeedEvent, LogEnd, MariaDbFeed, MariaDbOptions, MariaDbSource,
    Source,
};
use harness::MariaDb;
use tokio::sync::Mutex;

use crate::fixture::{Fixture, PRODUCTS, WallClock, products};
use crate::reader::{FeedReader, LIMIT, next};
use crate::suite::suite;

suite!(MariaDbFixture::new());

pub(crate) struct MariaDbFixture {
    pub(crate) server: MariaDb,
    checkpoint: Arc<StoredCheckpoint>,
}

/// A checkpoint that stays at the log's end as of its first use, until it is advanced.
struct StoredCheckpoint {
    source: MariaDbSource,
    at: Mutex<Option<LogEnd>>,
}

#[async_trait]
impl Checkpoint for StoredCheckpoint {
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError> {
        let mut at = self.at.lock().await;
        if at.is_none() {
            *at = Some(self.source.log_end().await?);
        }
        Ok(*at)
    }
}

pub(crate) const REQUEST_TABLE: &str = "create table tidegate_orders(id bigint unsigned auto_increment \
    primary key, message mediumtext character set utf8mb4 not null)";

impl MariaDbFixture {
    pub(crate) fn new() -> Self {
        Self::on(MariaDb::start().unwrap())
    }

    pub(crate) fn on(server: MariaDb) -> Self {
        server.sql("create database shop").unwrap();
        server.sql_in("shop", &format!("{PRODUCTS}; {REQUEST_TABLE}")).unwrap();
        let source = MariaDbSource::new(&server.url_as("root", "shop").parse().unwrap());
        Self { server, checkpoint: Arc::new(StoredCheckpoint { source, at: Mutex::default() }) }
    }

    pub(crate) fn options(&self) -> MariaDbOptions {
        let url = self.server.url_as("root", "shop").parse().unwrap();
        MariaDbOptions::new("shop", url, vec![products()], Arc::new(WallClock))
    }

    fn feed_with(&self, change: impl FnOnce(&mut MariaDbOptions)) -> Box<dyn Feed> {
        let mut options = self.options();
        change(&mut options);
        let mut feed = MariaDbFeed::new(options);
        feed.resume(self.checkpoint.clone());
        Box::new(feed)
    }

    /// Advances the checkpoint to everything that was delivered.
    async fn advance_checkpoint(&self, reader: &FeedReader) {
        let end = self.checkpoint.source.log_end().await.unwrap();
        *self.checkpoint.at.lock().await = Some(LogEnd { lsn: reader.upto, ..end });
    }
}

impl Fixture for MariaDbFixture {
    fn run(&self, sql: &str) {
        self.server.sql_in("shop", sql).unwrap();
    }

    fn feed(&self) -> Box<dyn Feed> {
        self.feed_with(|_| {})
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(MariaDbSource::new(&self.server.url_as("root", "shop").parse().unwrap()))
    }

    fn write_message(&self, text: &str) {
        self.run(&format!("insert into tidegate_orders(message) values ('{text}')"));
    }
}

async fn reader_at_end(fixture: &MariaDbFixture) -> (FeedReader, Box<dyn Source>) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    (reader, source)
}

/// Reads past the loss of the stream to the next start.
async fn restarted(reader: &mut FeedReader) {
    loop {
        if let FeedEvent::Started(_) = reader.next_event().await.unwrap() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_takes_over() {
    let fixture = MariaDbFixture::new();
    let mut leader = FeedReader::new(fixture.feed()).await;
    let mut standby = fixture.feed();
    assert!(matches!(next(&mut standby).await.unwrap(), FeedEvent::Standby));
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let source = fixture.source();
    assert_eq!(leader.changes_to_end(&*source).await.len(), 1);
    drop(leader);
    let mut standby = FeedReader::new(standby).await;
    assert!(standby.start.unbroken, "the server was observed during standby");
    assert_eq!(standby.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_23_event_before_commit_visible() {
    let fixture = MariaDbFixture::new();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    // The server waits for a missing replica, with the commit already in its log.
    fixture
        .server
        .sql(
            "set global rpl_semi_sync_master_timeout = 600000; \
             set global rpl_semi_sync_master_wait_point = AFTER_SYNC; \
             set global rpl_semi_sync_master_enabled = 1",
        )
        .unwrap();
    let shown = || fixture.server.sql_in("shop", "select price_cents from products").unwrap();
    std::thread::scope(|scope| {
        let writer =
            scope.spawn(|| fixture.server.sql_in("shop", "update products set price_cents = 300"));
        let observed = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                while reader.commits.is_empty() {
                    reader.next_event().await.unwrap();
                }
                let lsn = reader.commits[0].lsn;
                // W is queried repeatedly meanwhile.
                let _ = tokio::time::timeout(Duration::from_millis(300), reader.next_event()).await;
                (lsn, reader.watermark, shown())
            })
        });
        let ended = fixture.server.sql("set global rpl_semi_sync_master_enabled = 0");
        let (lsn, watermark, price) = observed;
        assert_eq!(price, "250", "the event arrives before the commit is visible");
        assert!(watermark < lsn, "{watermark} {lsn}");
        ended.unwrap();
        writer.join().unwrap().unwrap();
    });
    reader.read_to_end(&*source).await;
    assert_eq!(shown(), "300");
    assert!(reader.watermark >= reader.commits[0].lsn);
}

#[tokio::test]
async fn values_match_database_text() {
    let fixture = MariaDbFixture::new();
    let columns = [
        ("a", "tinyint"),
        ("b", "smallint unsigned"),
        ("y", "year"),
        ("c", "mediumint"),
        ("f", "double"),
        ("d", "bigint unsigned"),
        ("e", "decimal(20,4)"),
        ("g", "decimal(7,0) unsigned"),
        ("h", "decimal(65,30)"),
        ("i", "char(4)"),
        ("j", "varchar(300)"),
        ("k", "char(100) character set utf8mb4"),
        ("l", "longtext"),
        ("m", "date"),
        ("n", "int unsigned"),
        ("o", "mediumint unsigned"),
        ("p", "bit(9)"),
        ("q", "int"),
    ];
    let definitions: Vec<String> =
        columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    fixture.run(&format!("create table wide(id int primary key, {})", definitions.join(", ")));
    let has_text = |opaque: &&str| !["f", "p"].contains(opaque);
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).filter(has_text).collect();
    let wide = feed::TrackedTable {
        table: "shop.wide".into(),
        columns: names.iter().map(|name| (*name).to_owned()).collect(),
        key_columns: vec![],
        old_columns: vec![],
        every_column: false,
    };
    let mut reader = FeedReader::new(fixture.feed_with(|options| options.tables.push(wide))).await;
    for values in [
        "-128, 65535, 1901, -8388608, 1.5, 18446744073709551615, -1234567890123456.0789, 42, \
         -12345678901234567890123456789012345.000000000000000000000000000001, 'ab', \
         repeat('é', 200), repeat('茶', 99), repeat('x', 70000), '2026-02-03', 4294967295, 16777215, \
         b'101', -2147483648",
        "127, 0, 2155, 8388607, -0.0, 0, 0.0001, 9999999, 0, '', '', '', '', '0000-00-00', 0, 0, 0, 0",
        "-1, 1, 0, -1, 0, 9223372036854775808, -0.5, 0, 99999999999999999999999999999999999.5, \
         'é茶', 'a\\'b', ' x', '🍵', '9999-12-31', 1, 1, 1, -1",
        "null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, \
         null, null, null",
    ] {
        fixture.run(&format!("set sql_mode = ''; replace into wide values (1, {values})"));
        let texts: Vec<String> = names
            .iter()
            .map(|name| format!("coalesce(cast({name} as char character set utf8mb4), 'null')"))
            .collect();
        let wanted = fixture
            .server
            .sql_in("shop", &format!("select concat_ws('|', {}) from wide", texts.join(", ")))
            .unwrap();
        reader.read_to_end(&*fixture.source()).await;
        let commits = reader.take_commits();
        let changes: Vec<_> = commits.iter().flat_map(|commit| &commit.changes).collect();
        let [change] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(&*change.table, "shop.wide");
        let row = change.new.as_ref().unwrap();
        let texts: Vec<&str> = row.iter().map(|(_, cell)| cell.text().unwrap_or("null")).collect();
        assert_eq!(texts.join("|"), wanted);
    }
}

#[tokio::test]
async fn missing_rows_invalidate_everything() {
    let fixture = MariaDbFixture::new();
    fixture.run("create table other(id int primary key); insert into other values (1)");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("set session binlog_format = STATEMENT; update products set price_cents = 1");
    reader.read_to_end(&*source).await;
    let commits = reader.take_commits();
    assert_eq!(commits.len(), 1, "{commits:?}");
    assert_eq!(crate::reader::describe(&commits[0].changes[0]), "truncate products");
    assert_eq!(commits[0].messages[0].subjects, [Subject::Everything]);
    // Changes of triggers and functions are unknown.
    fixture.run("set session binlog_format = STATEMENT; update other set id = 2");
    assert_eq!(reader.changes_to_end(&*source).await, ["truncate products"]);
    fixture.run("set session binlog_row_image = MINIMAL; update products set price_cents = 2");
    assert_eq!(reader.changes_to_end(&*source).await, ["truncate products"]);
    fixture.run("truncate products");
    assert_eq!(reader.changes_to_end(&*source).await, ["truncate products"]);
    fixture.run("truncate other; drop table other; create table unrelated(products_id int)");
    assert_eq!(reader.changes_to_end(&*source).await, Vec::<String>::new());
}

#[tokio::test]
async fn xa_transaction_delivered_at_commit() {
    let fixture = MariaDbFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run(
        "xa start 'a'; insert into products values (1, 'Tea', 7, 250); xa end 'a'; xa prepare 'a'",
    );
    assert_eq!(reader.changes_to_end(&*source).await, Vec::<String>::new());
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    fixture.run("xa commit 'a'");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes, ["insert -> 2|Cup|8|900", "insert -> 1|Tea|7|250"]);
    fixture.run("xa start 'b'; delete from products; xa end 'b'; xa commit 'b' one phase");
    assert_eq!(reader.changes_to_end(&*source).await.len(), 2);
    // Prepared before the feed started.
    fixture.run(
        "xa start 'c'; insert into products values (3, 'x', 1, 1); xa end 'c'; xa prepare 'c'",
    );
    reader.read_to_end(&*source).await;
    fixture.advance_checkpoint(&reader).await;
    drop(reader);
    let mut reader = FeedReader::new(fixture.feed()).await;
    fixture.run("xa commit 'c'");
    assert_eq!(reader.changes_to_end(&*source).await, ["truncate products"]);
}

#[tokio::test]
async fn altered_table_checked_again() {
    let fixture = MariaDbFixture::new();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("alter table products add column size int first");
    while reader.commits.is_empty() {
        reader.next_event().await.unwrap();
    }
    fixture.advance_checkpoint(&reader).await;
    restarted(&mut reader).await;
    assert_eq!(reader.take_commits().len(), 1);
    fixture.run("update products set price_cents = 300");
    assert_eq!(reader.changes_to_end(&*source).await, ["update 1|Tea|7|250 -> 1|Tea|7|300"]);
    // From now on rows would be deleted without a trace in the log.
    fixture.run(
        "create table categories(id int primary key); insert into categories values (7); \
         alter table products add foreign key (category_id) references categories(id) \
         on delete cascade",
    );
    let lost = tokio::time::timeout(LIMIT, async {
        loop {
            match reader.next_event().await.unwrap() {
                FeedEvent::Lost(err @ FeedError::Setup(_)) => return err.to_string(),
                FeedEvent::Batch(_) => fixture.advance_checkpoint(&reader).await,
                _ => {}
            }
        }
    });
    let lost = lost.await.unwrap();
    assert!(lost.contains("ON DELETE CASCADE"), "{lost}");
    assert!(lost.contains("alter table `shop`.`products` drop foreign key"), "{lost}");
}

#[tokio::test]
async fn oversized_commit_changes_whole_table() {
    let fixture = MariaDbFixture::new();
    let mut reader = FeedReader::new(fixture.feed_with(|options| options.max_changes = 10)).await;
    fixture.run("insert into products select seq, 'x', 1, 1 from seq_1_to_11");
    assert_eq!(reader.changes_to_end(&*fixture.source()).await, ["truncate products"]);
    fixture.run("delete from products where id <= 10");
    assert_eq!(reader.changes_to_end(&*fixture.source()).await.len(), 10);
}

#[tokio::test]
async fn purged_or_reset_log_followed_from_end() {
    let fixture = MariaDbFixture::new();
    let (reader, source) = reader_at_end(&fixture).await;
    fixture.advance_checkpoint(&reader).await;
    assert_eq!(reader.start.slot_generation, None);
    drop(reader);
    fixture.run("flush binary logs; insert into products values (1, 'Tea', 7, 250)");
    let last = fixture.server.sql("show master status").unwrap();
    let file = last.split('\t').next().unwrap().to_owned();
    fixture.run(&format!("purge binary logs to '{file}'"));
    let mut reader = FeedReader::new(fixture.feed()).await;
    assert!(reader.start.slot_generation.is_some(), "the purged part is unknown");
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 2|Cup|8|900"]);
    fixture.advance_checkpoint(&reader).await;

    let timeline = reader.start.timeline;
    fixture.run("reset master");
    restarted(&mut reader).await;
    assert!(reader.start.slot_generation.is_some() && reader.start.timeline != timeline);
    assert_eq!(source.log_end().await.unwrap().timeline, reader.start.timeline);
    fixture.run("insert into products values (3, 'Jug', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 3|Jug|8|900"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_restart_and_crash_reported() {
    let mut fixture = MariaDbFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let mut before = reader.start.clone();
    for (id, crash) in [(1, false), (2, true)] {
        // Start times have a resolution of one second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        if crash {
            fixture.server.crash().unwrap();
        } else {
            fixture.server.stop().unwrap();
        }
        fixture.server.start_again().unwrap();
        restarted(&mut reader).await;
        assert!(!reader.start.unbroken);
        assert_ne!(reader.start.server_started, before.server_started);
        assert_eq!(reader.start.system, before.system);
        fixture.run(&format!("insert into products values ({id}, 'Tea', 7, 250)"));
        let end = tokio::time::timeout(LIMIT, async {
            loop {
                match source.log_end().await {
                    Ok(end) => return end,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        reader.read_to(end.await.unwrap().lsn).await;
        let changes: Vec<String> = reader
            .take_commits()
            .iter()
            .flat_map(|c| &c.changes)
            .map(crate::reader::describe)
            .collect();
        assert_eq!(changes, [format!("insert -> {id}|Tea|7|250")]);
        before = reader.start.clone();
    }
}
