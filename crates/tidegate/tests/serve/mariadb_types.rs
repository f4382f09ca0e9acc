//! Types of columns on MariaDB: the load and the log make the same tags of a row, under any settings, and columns that
//! have no such text are refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cache::origin::mariadb::{MariaDbOrigin, MariaDbPool};
use cache::{Loaded, Origin, SystemClock};
use contract::{Cell, Contract, RowChange};
use feed::{
    Feed, FeedError, FeedEvent, MariaDbFeed, MariaDbOptions, MariaDbSource, Source, TrackedTable,
};
use harness::{MariaDb, http};
use rand::prelude::*;

use crate::mariadb::Stack;
use crate::stack::{DEADLINE, tier};

/// Types with values at their limits, in the order that has misled other readers of the log: the bit for the sign of
/// a number is counted over all numbers, also years.
const TYPES: &[(&str, &[&str])] = &[
    ("year", &["1901", "2155", "0"]),
    ("tinyint unsigned", &["255", "0"]),
    ("double", &["1.5", "-0.0"]),
    ("boolean", &["true", "false"]),
    ("tinyint", &["-128", "127"]),
    ("bit(9)", &["b'101'"]),
    ("smallint", &["-32768", "32767"]),
    ("smallint unsigned", &["65535"]),
    ("mediumint", &["-8388608", "8388607"]),
    ("mediumint unsigned", &["16777215"]),
    ("int", &["-2147483648", "2147483647"]),
    ("int unsigned", &["4294967295", "0"]),
    ("float", &["0.1"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("bigint unsigned", &["18446744073709551615", "9223372036854775808"]),
    ("decimal(20,4)", &["-1234567890123456.0789", "0", "-0.0001", "7"]),
    ("decimal(7,0) unsigned", &["9999999", "0"]),
    ("decimal(65,30)", &["0.000000000000000000000000000001", "-1"]),
    ("char(8)", &["''", "'ab'", "'a b'", "'ü'"]),
    ("char(100) character set utf8mb4", &["repeat('茶', 99)", "''"]),
    ("varchar(20)", &["''", "'ab  '", "'it''s'", "'50% off'", "'🛒'"]),
    ("varchar(300) character set utf8mb3", &["repeat('é', 200)"]),
    ("varchar(20) character set ascii", &["'a  '"]),
    ("varchar(20) collate utf8mb4_bin", &["'Ab'"]),
    ("tinytext", &["'x'"]),
    ("text", &["'0'", "' '", "'a\tb'"]),
    ("longtext", &["repeat('x', 70000)"]),
    ("json", &["'{\"a\":  1}'", "'[1, 2.50]'"]),
    ("enum('a','b''c','é','')", &["'a'", "'b''c'", "'é'", "''", "'no label'"]),
    ("set('x','y z','z')", &["''", "'x,z'", "'x,y z,z'"]),
    ("date", &["'2026-02-28'", "'0000-00-00'", "'9999-12-31'", "'2026-00-00'"]),
    ("datetime(3)", &["'2026-03-29 02:30:00.120'"]),
    ("timestamp(6) null", &["'2026-10-25 00:30:00.000001'"]),
    ("time(2)", &["'-838:59:59'", "'00:00:00.5'"]),
    ("int as (id * 2) stored", &[]),
];

/// Types that are in the table, and that no tag may be made of.
const UNTAGGED: &[&str] =
    &["double", "bit(9)", "float", "datetime(3)", "timestamp(6) null", "time(2)"];

/// Further types that no tag may be made of.
const REFUSED: &[&str] = &[
    "binary(4)",
    "varbinary(4)",
    "blob",
    "uuid",
    "inet6",
    "point",
    "varchar(9) character set latin1",
    "char(9) character set utf16",
    "enum('a') character set latin1",
    "int zerofill",
    "decimal(9,2) zerofill",
    "varchar(100) compressed",
    "int as (id + 1) virtual",
];

const SETTINGS: &[(&str, &[&str])] = &[
    ("time_zone", &["'SYSTEM'", "'+05:45'", "'-11:00'"]),
    (
        "sql_mode",
        &[
            "''",
            "'PAD_CHAR_TO_FULL_LENGTH'",
            "'ANSI'",
            "'ORACLE'",
            "'TRADITIONAL'",
            "'NO_BACKSLASH_ESCAPES,NO_ZERO_DATE'",
        ],
    ),
    ("old_mode", &["''", "'UTF8_IS_UTF8MB3'", "'ZERO_DATE_TIME_CAST'"]),
    ("character_set_server", &["latin1", "utf8mb4", "utf8mb3"]),
    ("collation_connection", &["utf8mb4_bin", "latin1_swedish_ci"]),
    ("character_set_results", &["utf8mb4", "latin1"]),
    ("div_precision_increment", &["0", "4", "30"]),
    ("lc_time_names", &["en_US", "de_DE"]),
    ("group_concat_max_len", &["4", "1048576"]),
];

const ROWS: u32 = 8;

fn column(at: usize) -> String {
    format!("c{at}")
}

fn contract() -> Contract {
    let tagged = TYPES.iter().enumerate().filter(|(_, (kind, _))| !UNTAGGED.contains(kind));
    let tags: Vec<String> = tagged.map(|(at, _)| format!("\"c{at}-{{{}}}\"", column(at))).collect();
    let text = format!(
        "key = \"v1:catalog:typed:{{id}}\"\nvalue = \"select id from typed where id = $id\"\n\
         from = {{ source = \"shop\", table = \"typed\", key = \"id\" }}\ntags = [{}]\nstaleness = \"30s\"",
        tags.join(", ")
    );
    Contract::from_toml("typed", &text.parse().expect("TOML")).expect("a contract")
}

fn server() -> MariaDb {
    let mariadb = MariaDb::start().expect("MariaDB starts");
    let columns: Vec<String> =
        TYPES.iter().enumerate().map(|(at, (kind, _))| format!("{} {kind}", column(at))).collect();
    mariadb.sql("create database shop character set utf8mb4").expect("a database");
    let sql = format!(
        "create table typed(id int primary key, {}); \
         create table tidegate_orders(id bigint unsigned auto_increment primary key, \
           message mediumtext character set utf8mb4 not null) engine=InnoDB; \
         insert into typed(id) select seq from seq_1_to_{ROWS}",
        columns.join(", ")
    );
    mariadb.sql_in("shop", &sql).expect("a table");
    mariadb
}

/// Gives new sessions other settings.
fn change_settings(mariadb: &MariaDb, rng: &mut StdRng) -> String {
    let set = |(name, values): &(&str, &[&str])| {
        format!("set global {name} = {}; ", values.choose(rng).expect("a value"))
    };
    let sql: String = SETTINGS.iter().map(set).collect();
    mariadb.sql(&sql).expect(&sql);
    sql
}

/// Changes every row, in a session that takes every value.
fn change_rows(mariadb: &MariaDb, rng: &mut StdRng, round: usize) {
    let mut sql = "set names utf8mb4; set sql_mode = ''; set time_zone = '+00:00'; ".to_owned();
    for id in 1..=ROWS {
        let written = TYPES.iter().enumerate().filter(|(_, (_, values))| !values.is_empty());
        let mut values: Vec<String> = written
            .map(|(at, (_, values))| {
                let value = match rng.random_bool(0.1) {
                    true => "null",
                    false => values.choose(rng).expect("a value"),
                };
                format!("{} = {value}", column(at))
            })
            .collect();
        // Every row changes, whatever the values are.
        values.push(format!("n = {round}"));
        sql += &format!("update typed set {} where id = {id}; ", values.join(", "));
    }
    mariadb.sql_in("shop", &sql).expect("updated");
}

async fn load(origin: &MariaDbOrigin, contract: &Contract, id: u32) -> Loaded {
    let id = id.to_string();
    origin.load(&contract.key(&id).expect("a key"), &id).await.expect("a row")
}

/// Reads the changes up to the present end of the log.
async fn changes(feed: &mut MariaDbFeed, source: &MariaDbSource) -> Vec<RowChange> {
    let end = source.log_end().await.expect("an end").lsn;
    let mut changes = Vec::new();
    loop {
        let event = tokio::time::timeout(DEADLINE, feed.next()).await.expect("an event");
        match event.expect("the feed continues") {
            FeedEvent::Batch(batch) => {
                let (upto, commits) = (batch.upto, batch.commits);
                changes.extend(commits.into_iter().flat_map(|commit| commit.changes));
                if upto >= end {
                    return changes;
                }
            }
            FeedEvent::Started(start) if start.position >= end => return changes,
            FeedEvent::Lost(err) => panic!("{err}"),
            FeedEvent::Started(_) | FeedEvent::Standby => {}
        }
    }
}

fn id_of(change: &RowChange) -> u32 {
    let id = change.new.as_ref().and_then(|row| row.get("id")).and_then(Cell::text);
    id.expect("an id").parse().expect("a number")
}

fn table(columns: Vec<String>) -> TrackedTable {
    TrackedTable {
        table: "typed".into(),
        old_columns: columns.clone(),
        columns,
        key_columns: Vec::new(),
        every_column: true,
    }
}

fn options(mariadb: &MariaDb, columns: Vec<String>) -> MariaDbOptions {
    let url = mariadb.url_as("root", "shop").parse().expect("a url");
    MariaDbOptions::new("shop", url, vec![table(columns)], Arc::new(SystemClock::start()))
}

async fn compare(seed: u64) {
    let mariadb = server();
    mariadb.sql_in("shop", "alter table typed add column n int").expect("altered");
    let mut rng = StdRng::seed_from_u64(seed);
    let contract = contract();
    let tagged = contract.load_columns().into_iter().map(str::to_owned).collect::<Vec<_>>();
    for round in 0..6 {
        let settings = change_settings(&mariadb, &mut rng);
        let context = format!("seed {seed}, round {round}, {settings}");
        let options = options(&mariadb, tagged.clone());
        feed::mariadb::prepare(&options).await.expect("it fits");
        let pool = MariaDbPool::new(&options.url, 2, Duration::from_secs(20));
        let origin = MariaDbOrigin::prepare(contract.clone(), pool).await.expect("it fits");
        let source = MariaDbSource::new(&options.url);
        let mut feed = MariaDbFeed::new(options);
        changes(&mut feed, &source).await;
        for step in 0..3 {
            let mut before = Vec::new();
            for id in 1..=ROWS {
                before.push(load(&origin, &contract, id).await);
            }
            change_rows(&mariadb, &mut rng, 10 * round + step);
            let changes = changes(&mut feed, &source).await;
            assert_eq!(changes.len(), ROWS as usize, "{context}");
            for change in changes {
                let id = id_of(&change);
                let after = load(&origin, &contract, id).await;
                let raised: BTreeSet<_> = contract.affected(&change).tags.into_iter().collect();
                let old = &before[id as usize - 1];
                let carried: BTreeSet<_> = old.tags.iter().chain(&after.tags).cloned().collect();
                assert_eq!(raised, carried, "{context}: row {id}");
            }
        }
    }
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn load_and_log_agree_under_any_settings() {
    block_on(compare(8));
}

#[test]
fn column_without_one_text_refused() {
    let mariadb = server();
    for (at, kind) in REFUSED.iter().enumerate() {
        mariadb.sql_in("shop", &format!("alter table typed add column r{at} {kind}")).expect(kind);
    }
    let unfit = TYPES.iter().enumerate().filter(|(_, (kind, _))| UNTAGGED.contains(kind));
    let columns = unfit.map(|(at, _)| column(at));
    let columns: Vec<String> =
        columns.chain((0..REFUSED.len()).map(|at| format!("r{at}"))).collect();
    block_on(async {
        let refused = feed::mariadb::prepare(&options(&mariadb, columns.clone())).await;
        let Err(FeedError::Setup(err)) = refused else { panic!("{refused:?}") };
        for column in columns {
            let name = format!("`{column}`");
            let found = err.issues.iter().find(|issue| issue.description.contains(&name));
            let issue = found.unwrap_or_else(|| panic!("{column} fits"));
            assert!(!issue.remedy.is_empty(), "{issue:?}");
        }
    });
}

/// An id is a label as the catalogue writes it; another text that the collation takes for equal is none.
#[test]
fn enum_key_follows_its_row() {
    let stack = Stack::start();
    stack.sql(
        "create table states(state enum('open','it''s','ü') primary key, price_cents int, currency char(3)); \
         insert into states values ('open', 1, 'GBP'), ('it''s', 2, 'GBP')",
    );
    let contract = |config: String| {
        config
            .replace("from products where id = $id", "from states where state = $id")
            .replace(r#"table = "products", key = "id""#, r#"table = "states", key = "state""#)
            .replace(r#""category-{category_id}""#, r#""state-{state}""#)
            .replace(r#"staleness = "1s""#, r#"staleness = "5min""#)
    };
    let node = stack.launch_with(contract).ready();
    let get = |id: &str| {
        http::get(node.data, &format!("/data/product_price/{id}"), DEADLINE).expect("an answer")
    };
    for (id, status) in [("open", 200), ("it's", 200), ("%C3%BC", 404), ("Open", 400), ("1", 400)] {
        node.wait(&format!("the answer for {id}"), |_| get(id).status == status);
    }
    for id in ["open", "%C3%BC"] {
        node.wait("a cached answer", |_| tier(&get(id)) == Some("local"));
    }
    stack.sql("update states set price_cents = 9; insert into states values ('ü', 9, 'GBP')");
    for id in ["open", "it's", "%C3%BC"] {
        node.wait("the new price", |_| get(id).text().contains("\"price_cents\":9"));
    }
    stack.sql("alter table states modify state enum('open','it''s','ü','shut'); insert into states values ('shut', 3, 'GBP')");
    node.wait("a new label", |_| get("shut").status == 200);
    stack.sql("update states set state = 'open', price_cents = 4 where state = 'shut' and false; delete from states where state = 'open'");
    node.wait("absence", |_| get("open").status == 404);
}
