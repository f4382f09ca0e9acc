use std::path::PathBuf;
use std::sync::Arc;

use feed::{Feed, FeedError, FeedEvent, Source, SqliteFeed, SqliteOptions, SqliteSource};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::fixture::{Fixture, PRODUCTS, WallClock, products};
use crate::reader::{FeedReader, next};
use crate::suite::suite;

suite!(SqliteFixture::new());

pub(crate) struct SqliteFixture {
    folder: TempDir,
}

impl SqliteFixture {
    /// A folder without a database.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn new() -> Self {
        let fixture = Self::empty();
        fixture.run("pragma journal_mode = wal");
        fixture.run(PRODUCTS);
        fixture
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions::new("shop", self.path(), vec![products()], Arc::new(WallClock))
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        let connection = Connection::open(self.path()).unwrap();
        let sql = format!("select cast(({sql}) as text)");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    fn count(&self, sql: &str) -> i64 {
        Connection::open(self.path()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

impl Fixture for SqliteFixture {
    fn run(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }

    fn feed(&self) -> Box<dyn Feed> {
        Box::new(SqliteFeed::new(self.options()))
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(SqliteSource::new(self.path()))
    }

    fn write_message(&self, text: &str) {
        self.run(&format!(
            "insert into _tidegate_changes(at_us, op, new) values (1600000000000000, 'M', '{text}')"
        ));
    }
}

async fn reader_at_end(fixture: &SqliteFixture) -> (FeedReader, Box<dyn Source>) {
    let (mut reader, source) = (FeedReader::new(fixture.feed()).await, fixture.source());
    reader.read_to_end(&*source).await;
    reader.take_commits();
    (reader, source)
}

#[tokio::test]
async fn second_start_writes_nothing() {
    let fixture = SqliteFixture::new();
    let first = FeedReader::new(fixture.feed()).await;
    assert!(first.start.slot_generation.is_some());
    drop(first);
    let watcher = Connection::open(fixture.path()).unwrap();
    let version = || -> i64 { watcher.query_row("pragma data_version", [], |r| r.get(0)).unwrap() };
    let before = version();
    let second = FeedReader::new(fixture.feed()).await;
    assert_eq!(second.start.slot_generation, None);
    assert_eq!(version(), before);
}

#[tokio::test]
async fn unconditional_delete_lists_rows() {
    let fixture = SqliteFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("insert into products values (1, 'a', 1, 1), (2, 'b', 1, 1), (3, 'c', 1, 1)");
    fixture.run("delete from products");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes[3..], ["delete 1|a|1|1 ->", "delete 2|b|1|1 ->", "delete 3|c|1|1 ->"]);
}

#[tokio::test]
async fn untracked_column_update_ignored() {
    let fixture = SqliteFixture::new();
    fixture.run("alter table products add column seen int");
    fixture.run("insert into products values (1, 'a', 1, 1, 0)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("update products set seen = 1; update products set name = name;");
    fixture.run("update products set name = 'A'");
    assert_eq!(reader.changes_to_end(&*source).await, ["update 1|a|1|1 -> 1|A|1|1"]);
}

#[tokio::test]
async fn replaced_rows_delivered() {
    let fixture = SqliteFixture::new();
    fixture.run("create unique index one_name on products(name)");
    fixture.run("insert into products values (1, 'a', 1, 1), (2, 'b', 2, 2)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("insert or replace into products values (3, 'a', 3, 3)");
    fixture.run("update or replace products set name = 'b' where id = 3");
    let changes = reader.changes_to_end(&*source).await;
    assert!(changes.contains(&"delete 1|a|1|1 ->".to_owned()), "{changes:?}");
    assert!(changes.contains(&"delete 2|b|2|2 ->".to_owned()), "{changes:?}");
    fixture.run("insert into products values (9, 'z', 1, 1)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 9|z|1|1"]);
}

#[tokio::test]
async fn cascaded_delete_delivered() {
    let fixture = SqliteFixture::new();
    fixture.run("drop table products; create table categories(id integer primary key)");
    fixture.run(
        "create table products(id integer primary key, name text, \
         category_id int references categories(id) on delete cascade, price_cents int)",
    );
    fixture.run("insert into categories values (7); insert into products values (1, 'a', 7, 1)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run("pragma foreign_keys = on; delete from categories");
    assert_eq!(reader.changes_to_end(&*source).await, ["delete 1|a|7|1 ->"]);
}

#[tokio::test]
async fn overrun_reader_invalidates_everything() {
    let fixture = SqliteFixture::new();
    let mut options = fixture.options();
    options.keep = 10;
    let mut reader = FeedReader::new(Box::new(SqliteFeed::new(options))).await;
    let source = fixture.source();
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.run(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000) \
         insert into products select i, 'x', 1, 1 from n",
    );
    assert!(fixture.count("select count(*) from _tidegate_changes") <= 10);
    reader.read_to_end(&*source).await;
    let commits = reader.take_commits();
    assert_eq!(commits[0].messages[0].subjects, [coherence::Subject::Everything]);
    let changes: Vec<_> =
        commits.iter().flat_map(|c| &c.changes).map(crate::reader::describe).collect();
    assert_eq!(changes[0], "truncate products");
    assert_eq!(changes.last().unwrap(), "insert -> 1000|x|1|1");
}

#[tokio::test]
async fn dropped_triggers_recreated() {
    let fixture = SqliteFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture.run(&format!("drop table products; {PRODUCTS};"));
    while reader.commits.is_empty() {
        reader.next_event().await.unwrap();
    }
    assert_eq!(reader.changes_to_end(&*source).await, ["truncate products"]);
    fixture.run("insert into products values (1, 'a', 1, 1)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|a|1|1"]);
}

#[tokio::test]
async fn changed_columns_void_logged_rows() {
    let fixture = SqliteFixture::new();
    let (reader, source) = reader_at_end(&fixture).await;
    fixture.run("insert into products values (1, 'a', 1, 1)");
    drop(reader);
    let mut options = fixture.options();
    options.tables[0].columns.pop();
    let mut reader = FeedReader::new(Box::new(SqliteFeed::new(options))).await;
    let changes = reader.changes_to_end(&*source).await;
    assert!(changes.iter().all(|change| change == "truncate products"), "{changes:?}");
    fixture.run("insert into products values (2, 'b', 1, 1)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 2|b|1"]);
}

#[tokio::test]
async fn restored_file_is_new_generation() {
    let fixture = SqliteFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let copy = fixture.folder.path().join("copy.db");
    fixture.run(&format!("vacuum into '{}'", copy.display()));
    fixture.run("insert into products values (1, 'a', 1, 1)");
    let _ = reader.changes_to_end(&*source).await;
    let delivered = reader.upto;
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", fixture.path().display()));
    }
    std::fs::rename(copy, fixture.path()).unwrap();
    loop {
        match reader.next_event().await.unwrap() {
            FeedEvent::Started(start) => {
                assert!(start.slot_generation.is_some());
                assert!(!start.unbroken);
                assert!(start.position >= delivered, "a position is never assigned twice");
                break;
            }
            FeedEvent::Lost(_) | FeedEvent::Batch(_) | FeedEvent::Standby => {}
        }
    }
}

#[tokio::test]
async fn all_setup_issues_reported() {
    let fixture = SqliteFixture::new();
    let mut options = fixture.options();
    options.tables[0].columns.push("colour".into());
    options.tables.push(feed::TrackedTable {
        table: "stock".into(),
        columns: vec!["id".into()],
        key_columns: vec![],
        old_columns: vec![],
        every_column: false,
    });
    let mut feed: Box<dyn Feed> = Box::new(SqliteFeed::new(options));
    let Err(FeedError::Setup(setup)) = next(&mut feed).await else { panic!("no setup error") };
    assert_eq!(setup.issues.len(), 2);
    let text = setup.to_string();
    assert!(text.contains("no column `colour`") && text.contains("no table `stock`"), "{text}");
}

#[tokio::test]
async fn writer_without_timeout_never_fails() {
    let fixture = SqliteFixture::new();
    let (mut reader, source) = reader_at_end(&fixture).await;
    let path = fixture.path();
    let writer = std::thread::spawn(move || {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        for id in 0..2_000 {
            connection.execute("insert into products values (?1, 'x', 1, 1)", [id]).unwrap();
        }
    });
    let mut seen = 0;
    while seen < 2_000 {
        reader.next_event().await.unwrap();
        seen += reader.take_commits().iter().map(|commit| commit.changes.len()).sum::<usize>();
    }
    writer.join().unwrap();
    assert_eq!(reader.changes_to_end(&*source).await, Vec::<String>::new());
}

#[tokio::test]
async fn rollback_journal_database_followed() {
    let fixture = SqliteFixture::new();
    fixture.run("pragma journal_mode = delete");
    let (mut reader, source) = reader_at_end(&fixture).await;
    for id in 0..100 {
        fixture.run(&format!("insert into products values ({id}, 'x', 1, 1)"));
    }
    assert_eq!(reader.changes_to_end(&*source).await.len(), 100);
}

#[tokio::test]
async fn upsert_names_existing_row() {
    let fixture = SqliteFixture::new();
    fixture.run("insert into products values (1, 'a', 1, 1)");
    let (mut reader, source) = reader_at_end(&fixture).await;
    fixture
        .run("insert into products values (1, 'b', 2, 2) on conflict(id) do update set name = 'b'");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes.last().unwrap(), "update 1|a|1|1 -> 1|b|1|1");
}

#[tokio::test]
async fn table_without_columns_delivered() {
    let fixture = SqliteFixture::new();
    fixture.run("insert into products values (1, 'a', 1, 1)");
    let mut options = fixture.options();
    options.tables[0].columns.clear();
    let mut reader = FeedReader::new(Box::new(SqliteFeed::new(options))).await;
    let source = fixture.source();
    reader.read_to_end(&*source).await;
    reader.take_commits();
    fixture.run("update products set name = 'b'; delete from products");
    assert_eq!(reader.changes_to_end(&*source).await, ["update  -> ", "delete  ->"]);
}
