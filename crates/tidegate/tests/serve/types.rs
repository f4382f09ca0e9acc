//! Types of columns: the load and the log name and write a row alike, under any settings.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cache::origin::postgres::{PostgresOrigin, PostgresPool};
use cache::{Content, Loaded, Origin, SystemClock};
use contract::{Cell, Contract, Op, Projected, RowChange, SqlDialect};
use feed::{Feed, FeedEvent, PostgresFeed, PostgresOptions, PostgresSource, Source, TrackedTable};
use harness::Postgres;
use rand::prelude::*;

use crate::stack::DEADLINE;

/// Types with values at their limits, and with several texts of one value.
const TYPES: &[(&str, &[&str])] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["0", "-32768", "32767"]),
    ("integer", &["-1", "2147483647"]),
    ("bigint", &["9223372036854775807", "-9223372036854775808"]),
    ("oid", &["0", "4294967295"]),
    (
        "numeric",
        &["0", "1.50", "-1.5", "1.500", "100", "1e30", "-1e-20", "'NaN'", "'-Infinity'", "0.00"],
    ),
    ("numeric(9,2)", &["1", "1.5", "-0.01", "1234567.89"]),
    ("real", &["1.1", "1e20", "-1e-20", "'NaN'", "'Infinity'", "-0.0::real", "16777217", "0.1"]),
    (
        "double precision",
        &[
            "0.1::float8 + 0.2",
            "1e15",
            "1e14",
            "-1e-5",
            "-0.0::float8",
            "'-Infinity'",
            "1e308",
            "5e-324",
            "100",
        ],
    ),
    ("char(5)", &["''", "'ab'", "'a b'", "'ü'", "'abcde'"]),
    ("\"char\"", &["'x'", "' '"]),
    ("varchar(9)", &["''", "'ab '", "E'q\"\\\\\\t\\n'", "'50% off'", "'🛒'"]),
    ("text", &["'0'", "' '", "E'a\\u0001b'", "repeat('long ', 100)", "'{}'"]),
    ("name", &["'n'"]),
    ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    ("bytea", &["''", "'\\x00ff5c'", "'abc'"]),
    ("date", &["'0044-03-15 BC'", "'2026-02-28'", "'infinity'", "'10000-01-01'"]),
    ("time", &["'00:00'", "'24:00'", "'10:00:00.500'"]),
    ("time(0)", &["'10:00:01'"]),
    ("timetz", &["'10:00+05:30'", "'10:00:00.1-08'"]),
    (
        "timestamp",
        &["'2026-03-29 02:30:00.120'", "'0044-03-15 10:00 BC'", "'-infinity'", "'10000-01-01'"],
    ),
    (
        "timestamptz",
        &[
            "'2026-03-29 01:30:00.120+00'",
            "'2026-10-25 00:30+00'",
            "'infinity'",
            "'1883-01-01 00:00+00'",
        ],
    ),
    ("interval", &["'1 year -2 days 03:04:05.6'", "'-00:00:01'", "'0'"]),
    ("inet", &["'10.0.0.1/32'", "'10.0.0.1/8'", "'::1'"]),
    ("cidr", &["'10.0.0.0/8'"]),
    ("macaddr", &["'08-00-2b-01-02-03'"]),
    ("macaddr8", &["'08-00-2b-01-02-03-04-05'"]),
    ("bit(3)", &["b'101'"]),
    ("varbit", &["b''", "b'01'"]),
    ("json", &["' [1 ,2.50]'", "'null'", "'{\"a\":  1}'"]),
    ("jsonb", &["'{\"b\": [1, 2.50], \"a\": null}'", "'\"x\"'"]),
    ("xml", &["'<a b=\"1\"/>'"]),
    ("int[]", &["'{}'", "'{1,null}'", "'{{1,2},{3,4}}'"]),
    ("text[]", &["array['a b','\"',null]", "'{}'"]),
    ("date[]", &["'{2026-01-02}'"]),
    ("boolean[]", &["'{t,f}'"]),
    ("int4range", &["'[1,5]'", "'empty'"]),
    ("daterange", &["'[2026-01-01,)'"]),
    ("int4multirange", &["'{[1,2],[5,9]}'"]),
    ("tsvector", &["'fat:2 cat'"]),
    ("point", &["'(0.1,1e20)'"]),
    ("money", &["12.34"]),
    ("mood", &["'ok'", "'so so'"]),
    ("label", &["'x'", "' y '"]),
    ("price", &["3", "3.10"]),
    ("pair", &["row(1, true)", "row(null, null)"]),
    ("tstzrange", &["'[2026-01-01 00:00+00,)'"]),
];

/// Types that no tag may be made of.
const UNTAGGED: &[&str] = &["interval", "jsonb", "point", "money", "tstzrange"];

/// Types whose values are not renewed from the log: JSON writes them in another form, or by settings that the
/// log's session does not have.
const NOT_RENEWED: &[&str] = &[
    "\"char\"",
    "name",
    "timetz",
    "timestamp",
    "timestamptz",
    "xml",
    "int[]",
    "text[]",
    "date[]",
    "boolean[]",
    "int4range",
    "daterange",
    "int4multirange",
    "tsvector",
    "point",
    "money",
    "mood",
    "label",
    "price",
    "pair",
    "tstzrange",
];

const SETTINGS: &[(&str, &[&str])] = &[
    ("datestyle", &["ISO", "German", "SQL, DMY", "Postgres, MDY"]),
    ("timezone", &["UTC", "America/St_Johns", "Asia/Kathmandu", "Europe/Berlin"]),
    ("intervalstyle", &["postgres", "iso_8601", "sql_standard", "postgres_verbose"]),
    ("bytea_output", &["hex", "escape"]),
    ("extra_float_digits", &["-15", "0", "1", "3"]),
    ("lc_monetary", &["C", "C.UTF-8"]),
    ("standard_conforming_strings", &["on", "off"]),
    ("quote_all_identifiers", &["on", "off"]),
    ("xmloption", &["content", "document"]),
];

const ROWS: u32 = 12;

fn column(at: usize) -> String {
    format!("c{at}")
}

fn columns_of(is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let kinds = TYPES.iter().enumerate().filter(|(_, (kind, _))| is_wanted(kind));
    kinds.map(|(at, _)| column(at)).collect()
}

fn contract() -> Contract {
    let tagged = columns_of(|kind| !UNTAGGED.contains(&kind));
    let tags: Vec<String> = tagged.iter().map(|c| format!("\"{c}-{{{c}}}\"")).collect();
    let value = columns_of(|kind| !NOT_RENEWED.contains(&kind)).join(", ");
    let text = format!(
        "key = \"v1:catalog:typed:{{id}}\"\nvalue = \"select {value} from typed where id = $id\"\n\
         from = {{ source = \"shop\", table = \"typed\", key = \"id\" }}\ntags = [{}]\nstaleness = \"30s\"",
        tags.join(", ")
    );
    Contract::from_toml("typed", &text.parse().expect("TOML")).expect("a contract")
}

/// Starts a server with the table.
fn server() -> Postgres {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    postgres.psql("create role shop login replication").expect("a role");
    postgres.psql("create database shop owner shop").expect("a database");
    let columns: Vec<String> =
        TYPES.iter().enumerate().map(|(at, (kind, _))| format!("{} {kind}", column(at))).collect();
    let sql = format!(
        "create type mood as enum ('ok', 'so so'); create domain label as text; \
         create domain price as numeric(9,2); create type pair as (a int, b boolean); \
         create table typed(id int primary key, {}); alter table typed replica identity full; \
         insert into typed select n from generate_series(1, {ROWS}) n",
        columns.join(", ")
    );
    postgres.psql_as("shop", "shop", &sql).expect("a table");
    postgres
}

/// Gives the role or the database other settings.
fn change_settings(postgres: &Postgres, rng: &mut StdRng) -> String {
    let mut sql = String::new();
    for (name, values) in SETTINGS {
        let value = values.choose(rng).expect("a value");
        let target = ["role shop", "database shop", "role shop in database shop"].choose(rng);
        sql += &format!("alter {} set {name} = '{value}'; ", target.expect("a target"));
    }
    postgres
        .psql(&format!("alter role shop reset all; alter database shop reset all; {sql}"))
        .expect(&sql);
    sql
}

/// Changes every row, in a session whose settings are the defaults.
fn change_rows(postgres: &Postgres, rng: &mut StdRng) {
    let mut sql = String::new();
    // Not every build of PostgreSQL has XML.
    let has_xml = postgres.psql("select '<a/>'::xml").is_ok();
    for id in 1..=ROWS {
        let values: Vec<String> = TYPES
            .iter()
            .enumerate()
            .map(|(at, (kind, values))| {
                let value = if rng.random_bool(0.1) || (*kind == "xml" && !has_xml) {
                    "null"
                } else {
                    values.choose(rng).expect("a value")
                };
                format!("{} = {value}", column(at))
            })
            .collect();
        sql += &format!("update typed set {} where id = {id}; ", values.join(", "));
    }
    postgres
        .psql_in(
            "shop",
            &format!("set xmloption = content; set standard_conforming_strings = on; {sql}"),
        )
        .expect("updated");
}

async fn load(origin: &PostgresOrigin, contract: &Contract, id: u32) -> Loaded {
    let id = id.to_string();
    let key = contract.key(&id).expect("a key");
    origin.load(&key, &id).await.expect("a row")
}

fn body(loaded: &Loaded) -> &str {
    match &loaded.content {
        Content::Present(value) => std::str::from_utf8(&value.body).expect("UTF-8"),
        other => panic!("{other:?}"),
    }
}

/// Reads the changes up to the present end of the log.
async fn changes(feed: &mut PostgresFeed, source: &PostgresSource) -> Vec<RowChange> {
    let end = source.log_end().await.expect("an end").lsn;
    source.nudge().await.expect("nudged");
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
            FeedEvent::Lost(err) => panic!("{err}"),
            FeedEvent::Started(_) | FeedEvent::Standby => {}
        }
    }
}

fn id_of(change: &RowChange) -> u32 {
    let id = change.new.as_ref().and_then(|row| row.get("id")).and_then(Cell::text);
    id.expect("an id").parse().expect("a number")
}

async fn compare(seed: u64) {
    let postgres = server();
    let mut rng = StdRng::seed_from_u64(seed);
    let url: database::postgres::PostgresUrl =
        postgres.url_as("shop", "shop").parse().expect("a url");
    let contract = contract();
    let projection = contract.projection(SqlDialect::Postgres).expect("a projection");
    let columns: Vec<String> = ["id".to_owned()].into_iter().chain(columns_of(|_| true)).collect();
    let tables = vec![TrackedTable {
        table: "typed".into(),
        old_columns: columns.clone(),
        columns,
        key_columns: Vec::new(),
        every_column: false,
    }];
    for round in 0..6 {
        let settings = change_settings(&postgres, &mut rng);
        let context = format!("seed {seed}, round {round}, {settings}");
        let pool = PostgresPool::new(&url, 2, Duration::from_secs(20));
        let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
        let options = PostgresOptions::new(
            "shop",
            url.clone(),
            tables.clone(),
            Arc::new(SystemClock::start()),
        );
        let (mut feed, source) = (PostgresFeed::new(options), PostgresSource::new(&url));
        changes(&mut feed, &source).await;
        for _ in 0..3 {
            let mut before = Vec::new();
            for id in 1..=ROWS {
                before.push(load(&origin, &contract, id).await);
            }
            change_rows(&postgres, &mut rng);
            let changes = changes(&mut feed, &source).await;
            assert_eq!(changes.len(), ROWS as usize, "{context}");
            for change in changes {
                assert_eq!(change.op, Op::Update, "{context}");
                let id = id_of(&change);
                let after = load(&origin, &contract, id).await;
                let raised: BTreeSet<_> = contract.affected(&change).tags.into_iter().collect();
                let old = &before[id as usize - 1];
                let carried: BTreeSet<_> = old.tags.iter().chain(&after.tags).cloned().collect();
                assert_eq!(raised, carried, "{context}: row {id}");
                let [(_, Projected::Value(Some(json), tags))] =
                    &projection.project(&contract, &change)[..]
                else {
                    panic!("{context}: row {id} is not renewed")
                };
                assert_eq!(json, body(&after), "{context}: row {id}");
                assert_eq!(*tags, after.tags, "{context}: row {id}");
            }
        }
    }
}

#[test]
fn load_and_log_agree_under_any_settings() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(compare(8));
}
