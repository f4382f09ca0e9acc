//! SQLite files with unusual schemas, values and writers.

use std::sync::Arc;

use database::sqlite::canonical_text;
use feed::{Feed, FeedError, FeedEvent, Source, SqliteFeed, SqliteOptions, TrackedTable};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::fixture::{Fixture, WallClock};
use crate::reader::{FeedReader, describe, next};
use crate::sqlite::SqliteFixture;

fn tracked(table: &str, columns: &[&str]) -> TrackedTable {
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let old_columns = columns.clone();
    TrackedTable {
        table: table.to_owned(),
        columns,
        key_columns: Vec::new(),
        old_columns,
        every_column: false,
    }
}

fn feed_of(fixture: &SqliteFixture, table: TrackedTable) -> Box<dyn Feed> {
    let options = SqliteOptions::new("shop", fixture.path(), vec![table], Arc::new(WallClock));
    Box::new(SqliteFeed::new(options))
}

/// Returns a reader at the log's end.
async fn reader_of(fixture: &SqliteFixture, table: TrackedTable) -> (FeedReader, Box<dyn Source>) {
    let mut reader = FeedReader::new(feed_of(fixture, table)).await;
    let source = fixture.source();
    reader.read_to_end(&*source).await;
    reader.take_commits();
    (reader, source)
}

#[tokio::test]
async fn every_column_counts_for_table_that_says_so() {
    let fixture = SqliteFixture::new();
    fixture.run("insert into products values (1, 'a', 1, 1)");
    let table = TrackedTable { every_column: true, ..tracked("products", &["id"]) };
    let (mut reader, source) = reader_of(&fixture, table).await;
    fixture.run("update products set price_cents = 2");
    assert_eq!(reader.changes_to_end(&*source).await, ["update 1 -> 1"]);
}

#[tokio::test]
async fn values_that_compare_as_equal_are_a_change() {
    let fixture = SqliteFixture::new();
    fixture.run("create table t(id integer primary key, n text collate nocase, v)");
    fixture.run("insert into t values (1, 'a', 1)");
    let (mut reader, source) = reader_of(&fixture, tracked("t", &["id", "n", "v"])).await;
    fixture.run("update t set n = 'A'; update t set v = 1.0; update t set v = '1.0'");
    fixture.run("update t set n = 'A' || char(0) || 'b'; update t set n = 'A' || char(0) || 'c'");
    let changes = reader.changes_to_end(&*source).await;
    let expected = [
        "update 1|a|1 -> 1|A|1",
        "update 1|A|1 -> 1|A|1.0",
        // The old text is left out: it is the same, and its type is not.
        "update 1|A -> 1|A|1.0",
        "update 1|A|1.0 -> 1|A\0b|1.0",
        "update 1|A\0b|1.0 -> 1|A\0c|1.0",
    ];
    assert_eq!(changes, expected);
}

/// Rows whose deletion no delete trigger reports.
#[tokio::test]
async fn replaced_row_of_any_constraint_delivered() {
    let fixture = SqliteFixture::new();
    for (definition, first, second) in [
        ("t(a text unique collate nocase, b)", "'x', 1", "'X', 2"),
        ("t(a text primary key, b) without rowid", "'x', 1", "'x', 2"),
        ("t(a, b, unique(a, b))", "1, 1", "1, 1"),
        ("t(a, rowid)", "1, 1", "1, 1"),
    ] {
        fixture.run(&format!("drop table if exists t; create table {definition}"));
        if definition == "t(a, rowid)" {
            fixture.run("create unique index e on t(a + 1, coalesce(rowid, ',')) where a > 0");
        }
        fixture.run(&format!("insert into t values ({first})"));
        for recursive in ["off", "on"] {
            let (mut reader, source) = reader_of(&fixture, tracked("t", &["a"])).await;
            let before = fixture.text("select a from t");
            fixture.run(&format!(
                "pragma recursive_triggers = {recursive}; insert or replace into t values ({second})"
            ));
            let changes = reader.changes_to_end(&*source).await;
            let deleted = format!("delete {before} ->");
            assert!(changes.contains(&deleted), "{definition}, {recursive}: {changes:?}");
        }
    }
    // By its number, which no column names.
    fixture.run("drop table t; create table t(a); insert into t values ('one')");
    let (mut reader, source) = reader_of(&fixture, tracked("t", &["a"])).await;
    fixture.run("insert or replace into t(_rowid_, a) values (1, 'two')");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes, ["delete one ->", "insert -> two"]);
    fixture.run("update or replace t set oid = 5; update t set a = 'three' where oid = 5");
    assert_eq!(reader.changes_to_end(&*source).await, ["update two -> three"]);
}

#[tokio::test]
async fn writer_with_unusual_settings_followed() {
    let fixture = SqliteFixture::new();
    fixture.run("create table t(id integer primary key, v, g as (v + 1), s as (v * 2) stored)");
    let (mut reader, source) = reader_of(&fixture, tracked("T", &["ID", "G", "s"])).await;
    fixture.run(
        "pragma trusted_schema = off; pragma ignore_check_constraints = on; \
         pragma case_sensitive_like = on; insert into t(id, v) values (1, 1)",
    );
    let other = Connection::open_in_memory().expect("a database");
    other
        .execute_batch(&format!(
            "attach '{}' as shop; update shop.t set v = 2",
            fixture.path().display()
        ))
        .expect("written");
    fixture.run("begin; savepoint a; update t set v = 3; rollback to a; commit");
    fixture.run("pragma journal_mode = wal; begin; delete from t; commit");
    let changes = reader.changes_to_end(&*source).await;
    assert_eq!(changes, ["insert -> 1|2|2", "update 1|2|2 -> 1|3|4", "delete 1|3|4 ->"]);
}

#[tokio::test]
async fn changed_schema_changes_whole_table() {
    let fixture = SqliteFixture::new();
    fixture.run("create table other(id)");
    let (mut reader, source) =
        reader_of(&fixture, tracked("products", &["id", "price_cents"])).await;
    for change in [
        "alter table products add column size int",
        "alter table products rename to parked; alter table parked rename to products",
        "alter table products rename column name to title",
        "create view v as select * from products",
        "vacuum",
        "pragma writable_schema = on; delete from sqlite_master where name = '_tidegate_products_update'",
    ] {
        fixture.run(change);
        // The end of the log is unknown until the feed has checked the triggers.
        while reader.commits.is_empty() {
            reader.next_event().await.expect("the feed continues");
        }
        let changes = reader.changes_to_end(&*source).await;
        assert_eq!(changes, ["truncate products"], "{change}");
        fixture.run("insert into products(id, price_cents) values (1, 1); update products set price_cents = 2; delete from products");
        let changes = reader.changes_to_end(&*source).await;
        assert_eq!(changes, ["insert -> 1|1", "update 1|1 -> 1|2", "delete 1|2 ->"], "{change}");
    }
}

#[tokio::test]
async fn log_end_unknown_until_triggers_are_checked() {
    let fixture = SqliteFixture::new();
    let (reader, source) = reader_of(&fixture, tracked("products", &["id"])).await;
    drop(reader);
    source.log_end().await.expect("the triggers are checked");
    fixture.run("create index i on products(name)");
    let err = source.log_end().await.expect_err("another schema").to_string();
    assert!(err.contains("the schema has changed"), "{err}");
    let (_reader, source) = reader_of(&fixture, tracked("products", &["id"])).await;
    source.log_end().await.expect("checked again");
}

#[tokio::test]
async fn log_that_went_back_has_no_end() {
    let fixture = SqliteFixture::new();
    let (mut reader, source) = reader_of(&fixture, tracked("products", &["id"])).await;
    fixture.run("insert into products values (1, 'a', 1, 1)");
    reader.read_to_end(&*source).await;
    drop(reader);
    // The rows of another history at the same positions.
    fixture.run("update _tidegate_changes set at_us = at_us - 1");
    let err = source.log_end().await.expect_err("another history").to_string();
    assert!(err.contains("went back"), "{err}");
}

#[tokio::test]
async fn table_without_triggers_refused_with_cure() {
    let fixture = SqliteFixture::new();
    fixture.run("create virtual table words using fts5(text)");
    let mut feed = feed_of(&fixture, tracked("words", &["text"]));
    let Err(FeedError::Setup(setup)) = next(&mut feed).await else { panic!("no setup error") };
    assert!(setup.to_string().contains("virtual table"), "{setup}");
    fixture.run("create table t(a, b); create unique index i on t(lower(a) /* why */)");
    let mut feed = feed_of(&fixture, tracked("t", &["a"]));
    let Err(FeedError::Setup(setup)) = next(&mut feed).await else { panic!("no setup error") };
    assert!(setup.to_string().contains("drop index \"i\""), "{setup}");
}

#[tokio::test]
async fn copied_file_is_another_timeline() {
    let fixture = SqliteFixture::new();
    let (reader, source) = reader_of(&fixture, tracked("products", &["id"])).await;
    let first = reader.start.timeline;
    assert_eq!(source.log_end().await.expect("an end").timeline, first);
    drop(reader);
    let (reader, _) = reader_of(&fixture, tracked("products", &["id"])).await;
    assert_eq!(reader.start.timeline, first, "the same file and log");
    drop(reader);
    let copy = fixture.path().with_extension("copy");
    fixture.run(&format!("vacuum into '{}'", copy.display()));
    std::fs::rename(&copy, fixture.path()).expect("replaced");
    let end = source.log_end().await;
    assert!(end.is_err() || end.is_ok_and(|end| end.timeline != first), "the same log elsewhere");
    let mut feed = feed_of(&fixture, tracked("products", &["id"]));
    let FeedEvent::Started(start) = next(&mut feed).await.expect("it starts") else { panic!() };
    assert_ne!(start.timeline, first);
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (-3_i64..3).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        (-3_i32..3).prop_map(|number| Value::Real(f64::from(number) * 1e20)),
        "(.|'|\0|é|🍵|,){0,6}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..6).prop_map(Value::Blob),
    ]
}

/// The text from the log is the text of the loaded value, in each encoding and for each affinity.
#[test]
fn logged_text_is_loaded_text() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let fixture = SqliteFixture::empty();
        fixture.run(&format!("pragma encoding = '{encoding}'; pragma journal_mode = wal"));
        fixture.run(
            "create table t(id integer primary key, a, b text, c int, d real, e numeric, f blob)",
        );
        let columns = ["a", "b", "c", "d", "e", "f"];
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (reader, source) = runtime.block_on(reader_of(&fixture, tracked("t", &columns)));
        let reader = tokio::sync::Mutex::new(reader);
        let writer = Connection::open(fixture.path()).expect("it opens");
        let config = ProptestConfig::with_cases(150);
        proptest!(config, |(value in values())| {
            writer.execute(
                "insert or replace into t values (1, ?1, ?1, ?1, ?1, ?1, ?1)", [&value],
            ).expect("written");
            let loaded = writer.query_row("select a, b, c, d, e, f from t", [], |row| {
                let texts = (0..columns.len()).map(|at| {
                    let text = canonical_text(row.get_ref(at)?);
                    Ok(text.map_or("null".to_owned(), std::borrow::Cow::into_owned))
                });
                texts.collect::<rusqlite::Result<Vec<String>>>()
            }).expect("a row");
            let changes = runtime.block_on(async {
                let mut reader = reader.lock().await;
                reader.read_to_end(&*source).await;
                reader.take_commits()
            });
            let last = changes.iter().flat_map(|commit| &commit.changes).next_back();
            let last = describe(last.expect("a change"));
            prop_assert_eq!(last, format!("insert -> {}", loaded.join("|")));
        });
    }
}
