use std::path::PathBuf;
use std::sync::Arc;

use feed::{Feed, FeedError, FeedEvent, Source, SqliteFeed, SqliteOptions, SqliteSource};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::follow::{Follow, next};
use crate::lab::{Lab, PRODUCTS, WallClock, products};
use crate::suite::suite;

suite!(SqliteLab::new());

pub(crate) struct SqliteLab {
    folder: TempDir,
}

impl SqliteLab {
    pub(crate) fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        lab.run("pragma journal_mode = wal");
        lab.run(PRODUCTS);
        lab
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions::new("shop", self.path(), vec![products()], Arc::new(WallClock))
    }

    fn count(&self, sql: &str) -> i64 {
        Connection::open(self.path()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

impl Lab for SqliteLab {
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

async fn caught_up(lab: &SqliteLab) -> (Follow, Box<dyn Source>) {
    let (mut follow, source) = (Follow::new(lab.feed()).await, lab.source());
    follow.reach_end(&*source).await;
    follow.take();
    (follow, source)
}

#[tokio::test]
async fn a_second_start_writes_nothing() {
    let lab = SqliteLab::new();
    let first = Follow::new(lab.feed()).await;
    assert!(first.start.slot_generation.is_some());
    drop(first);
    let watcher = Connection::open(lab.path()).unwrap();
    let version = || -> i64 { watcher.query_row("pragma data_version", [], |r| r.get(0)).unwrap() };
    let before = version();
    let second = Follow::new(lab.feed()).await;
    assert_eq!(second.start.slot_generation, None);
    assert_eq!(version(), before);
}

#[tokio::test]
async fn a_delete_without_where_is_told_row_by_row() {
    let lab = SqliteLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("insert into products values (1, 'a', 1, 1), (2, 'b', 1, 1), (3, 'c', 1, 1)");
    lab.run("delete from products");
    let changes = follow.changes(&*source).await;
    assert_eq!(changes[3..], ["delete 1|a|1|1 ->", "delete 2|b|1|1 ->", "delete 3|c|1|1 ->"]);
}

#[tokio::test]
async fn an_update_of_other_columns_is_not_told() {
    let lab = SqliteLab::new();
    lab.run("alter table products add column seen int");
    lab.run("insert into products values (1, 'a', 1, 1, 0)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("update products set seen = 1; update products set name = name;");
    lab.run("update products set name = 'A'");
    assert_eq!(follow.changes(&*source).await, ["update 1|a|1|1 -> 1|A|1|1"]);
}

#[tokio::test]
async fn replaced_rows_are_told() {
    let lab = SqliteLab::new();
    lab.run("create unique index one_name on products(name)");
    lab.run("insert into products values (1, 'a', 1, 1), (2, 'b', 2, 2)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("insert or replace into products values (3, 'a', 3, 3)");
    lab.run("update or replace products set name = 'b' where id = 3");
    let changes = follow.changes(&*source).await;
    assert!(changes.contains(&"delete 1|a|1|1 ->".to_owned()), "{changes:?}");
    assert!(changes.contains(&"delete 2|b|2|2 ->".to_owned()), "{changes:?}");
    lab.run("insert into products values (9, 'z', 1, 1)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 9|z|1|1"]);
}

#[tokio::test]
async fn a_cascade_is_told() {
    let lab = SqliteLab::new();
    lab.run("drop table products; create table categories(id integer primary key)");
    lab.run(
        "create table products(id integer primary key, name text, \
         category_id int references categories(id) on delete cascade, price_cents int)",
    );
    lab.run("insert into categories values (7); insert into products values (1, 'a', 7, 1)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("pragma foreign_keys = on; delete from categories");
    assert_eq!(follow.changes(&*source).await, ["delete 1|a|7|1 ->"]);
}

#[tokio::test]
async fn the_log_stays_short_and_a_reader_that_was_outrun_is_told_that_everything_changed() {
    let lab = SqliteLab::new();
    let mut options = lab.options();
    options.keep = 10;
    let mut follow = Follow::new(Box::new(SqliteFeed::new(options))).await;
    let source = lab.source();
    follow.reach_end(&*source).await;
    follow.take();
    lab.run(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000) \
         insert into products select i, 'x', 1, 1 from n",
    );
    assert!(lab.count("select count(*) from _tidegate_changes") <= 10);
    follow.reach_end(&*source).await;
    let commits = follow.take();
    assert_eq!(commits[0].messages[0].subjects, [coherence::Subject::Everything]);
    let changes: Vec<_> =
        commits.iter().flat_map(|c| &c.changes).map(crate::follow::told).collect();
    assert_eq!(changes[0], "truncate products");
    assert_eq!(changes.last().unwrap(), "insert -> 1000|x|1|1");
}

#[tokio::test]
async fn dropped_triggers_are_put_back_and_the_table_counts_as_changed() {
    let lab = SqliteLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    lab.run(&format!("drop table products; {PRODUCTS};"));
    while follow.commits.is_empty() {
        follow.event().await.unwrap();
    }
    assert_eq!(follow.changes(&*source).await, ["truncate products"]);
    lab.run("insert into products values (1, 'a', 1, 1)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 1|a|1|1"]);
}

#[tokio::test]
async fn other_columns_replace_the_triggers_and_void_what_was_logged() {
    let lab = SqliteLab::new();
    let (follow, source) = caught_up(&lab).await;
    lab.run("insert into products values (1, 'a', 1, 1)");
    drop(follow);
    let mut options = lab.options();
    options.tables[0].columns.pop();
    let mut follow = Follow::new(Box::new(SqliteFeed::new(options))).await;
    let changes = follow.changes(&*source).await;
    assert!(changes.iter().all(|change| change == "truncate products"), "{changes:?}");
    lab.run("insert into products values (2, 'b', 1, 1)");
    assert_eq!(follow.changes(&*source).await, ["insert -> 2|b|1"]);
}

#[tokio::test]
async fn a_file_that_was_replaced_by_an_older_copy_is_another_history() {
    let lab = SqliteLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    let copy = lab.folder.path().join("copy.db");
    lab.run(&format!("vacuum into '{}'", copy.display()));
    lab.run("insert into products values (1, 'a', 1, 1)");
    let _ = follow.changes(&*source).await;
    let told = follow.upto;
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", lab.path().display()));
    }
    std::fs::rename(copy, lab.path()).unwrap();
    loop {
        match follow.event().await.unwrap() {
            FeedEvent::Started(start) => {
                assert!(start.slot_generation.is_some());
                assert!(!start.unbroken);
                assert!(start.position >= told, "positions are not given out twice");
                break;
            }
            FeedEvent::Lost(_) | FeedEvent::Piece(_) | FeedEvent::Standby => {}
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_said_at_once() {
    let lab = SqliteLab::new();
    let mut options = lab.options();
    options.tables[0].columns.push("colour".into());
    options.tables.push(feed::Tracked {
        table: "stock".into(),
        columns: vec!["id".into()],
        old_columns: vec![],
    });
    let mut feed: Box<dyn Feed> = Box::new(SqliteFeed::new(options));
    let Err(FeedError::Setup(setup)) = next(&mut feed).await else { panic!("no setup error") };
    assert_eq!(setup.problems.len(), 2);
    let text = setup.to_string();
    assert!(text.contains("no column `colour`") && text.contains("no table `stock`"), "{text}");
}

#[tokio::test]
async fn the_feed_never_makes_an_impatient_writer_fail() {
    let lab = SqliteLab::new();
    let (mut follow, source) = caught_up(&lab).await;
    let path = lab.path();
    let writer = std::thread::spawn(move || {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(std::time::Duration::ZERO).unwrap();
        for id in 0..2_000 {
            connection.execute("insert into products values (?1, 'x', 1, 1)", [id]).unwrap();
        }
    });
    let mut seen = 0;
    while seen < 2_000 {
        follow.event().await.unwrap();
        seen += follow.take().iter().map(|commit| commit.changes.len()).sum::<usize>();
    }
    writer.join().unwrap();
    assert_eq!(follow.changes(&*source).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_database_with_a_rollback_journal_is_followed_too() {
    let lab = SqliteLab::new();
    lab.run("pragma journal_mode = delete");
    let (mut follow, source) = caught_up(&lab).await;
    for id in 0..100 {
        lab.run(&format!("insert into products values ({id}, 'x', 1, 1)"));
    }
    assert_eq!(follow.changes(&*source).await.len(), 100);
}

#[tokio::test]
async fn an_upsert_names_the_row_it_met() {
    let lab = SqliteLab::new();
    lab.run("insert into products values (1, 'a', 1, 1)");
    let (mut follow, source) = caught_up(&lab).await;
    lab.run("insert into products values (1, 'b', 2, 2) on conflict(id) do update set name = 'b'");
    let changes = follow.changes(&*source).await;
    assert_eq!(changes.last().unwrap(), "update 1|a|1|1 -> 1|b|1|1");
}

#[tokio::test]
async fn a_table_without_columns_of_interest_tells_that_something_changed() {
    let lab = SqliteLab::new();
    lab.run("insert into products values (1, 'a', 1, 1)");
    let mut options = lab.options();
    options.tables[0].columns.clear();
    let mut follow = Follow::new(Box::new(SqliteFeed::new(options))).await;
    let source = lab.source();
    follow.reach_end(&*source).await;
    follow.take();
    lab.run("update products set name = 'b'; delete from products");
    assert_eq!(follow.changes(&*source).await, ["update  -> ", "delete  ->"]);
}
