//! Definitions that a PostgreSQL feed follows, and tables that it refuses.

use std::sync::Arc;

use feed::postgres::prepare;
use feed::{
    FeedError, PostgresSource, ReadObject, Schema, SchemaScope, ScopedContract, ScopedTable,
    Source, TableName, UnfollowedRead,
};

use crate::fixture::{Fixture, products};
use crate::postgres::PostgresFixture;
use crate::reader::FeedReader;

/// Returns the issues of following `products`, with `key` as the column of keys and `tag` as one of tags.
async fn issues(fixture: &PostgresFixture, key: &str, tag: &str) -> String {
    let options = fixture.options_with(|options| {
        let columns = vec![key.to_owned(), tag.to_owned()];
        let (key_columns, old_columns) = (vec![key.to_owned()], columns.clone());
        options.tables =
            vec![feed::TrackedTable { columns, key_columns, old_columns, ..products() }];
    });
    match prepare(&options).await {
        Ok(_) => String::new(),
        Err(FeedError::Setup(setup)) => setup.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn key_outside_identity_is_refused() {
    let fixture = PostgresFixture::new();
    let text = issues(&fixture, "name", "id").await;
    assert!(
        text.contains("do not log the old value of `name`, which keys are made from"),
        "{text}"
    );
    assert!(text.contains("alter table \"public\".\"products\" replica identity full;"), "{text}");
    fixture.run("alter table products alter name set not null, add unique (name)");
    fixture.run("alter table products replica identity using index products_name_key");
    assert_eq!(issues(&fixture, "name", "name").await, "");
    fixture.run("alter table products replica identity full");
    assert_eq!(issues(&fixture, "name", "category_id").await, "");
}

#[tokio::test]
async fn rows_under_other_names_are_refused() {
    let fixture = PostgresFixture::new();
    fixture.run("create table c() inherits (products)");
    let text = issues(&fixture, "id", "name").await;
    assert!(text.contains("Tables inherit from `public.products` (c)"), "{text}");
    assert!(text.contains("alter table c no inherit \"public\".\"products\";"), "{text}");
    fixture.run("drop table products cascade");
    fixture.run("create table products(id int primary key, name text) partition by range (id)");
    fixture.run("create unlogged table low partition of products for values from (0) to (100)");
    let text = issues(&fixture, "id", "id").await;
    assert!(text.contains("alter table low set logged;"), "{text}");
    fixture.run("alter table low set logged");
    // The identity of a partition decides, not the root's.
    fixture.run("alter table products replica identity full");
    let text = issues(&fixture, "id", "name").await;
    assert!(text.contains("its partition `low` has not"), "{text}");
    assert!(text.contains("alter table low replica identity full;"), "{text}");
    fixture.run("alter table low replica identity full");
    assert_eq!(issues(&fixture, "id", "name").await, "");
    let available = "select count(*) from pg_available_extensions where name = 'postgres_fdw'";
    if fixture.server.psql(available).unwrap() == "0" {
        return;
    }
    fixture.run("create extension postgres_fdw");
    fixture.run("create server s foreign data wrapper postgres_fdw");
    fixture.run("create foreign table far(id int not null, name text) server s");
    fixture.run("alter table products drop constraint products_pkey");
    fixture.run("alter table products attach partition far for values from (100) to (200)");
    let text = issues(&fixture, "id", "name").await;
    assert!(text.contains("detach partition far;"), "{text}");
}

#[tokio::test]
async fn partition_of_published_root_is_refused() {
    let fixture = PostgresFixture::new();
    fixture.run("alter table products rename to part");
    fixture.run("create table root(like part including all) partition by range (id)");
    fixture.run("alter table root attach partition part for values from (0) to (100)");
    fixture.run("alter table part rename to products");
    fixture.run("create publication tidegate for table root with (publish_via_partition_root)");
    let text = issues(&fixture, "id", "id").await;
    assert!(text.contains("`public.products` is a partition of `public.root`"), "{text}");
    assert!(text.contains("use \"public\".\"root\" in the contract"), "{text}");
}

#[tokio::test]
async fn two_phase_slot_is_refused() {
    let fixture = PostgresFixture::new();
    fixture.run("select pg_create_logical_replication_slot('tidegate', 'pgoutput', false, true)");
    let text = issues(&fixture, "id", "id").await;
    assert!(text.contains("created for two-phase commits"), "{text}");
    assert!(text.contains("select pg_drop_replication_slot('tidegate');"), "{text}");
}

/// Without two-phase decoding a prepared transaction arrives when it commits.
#[tokio::test]
async fn prepared_transaction_arrives_when_committed() {
    let server = harness::Postgres::builder().setting("max_prepared_transactions", "2");
    let fixture = PostgresFixture::on(server);
    let mut reader = FeedReader::new(fixture.feed()).await;
    let source = fixture.source();
    fixture.run("begin; insert into products values (1, 'Tea', 7, 250); prepare transaction 't'");
    fixture.run("insert into products values (2, 'Cup', 8, 900)");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 2|Cup|8|900"]);
    fixture.run("commit prepared 't'");
    assert_eq!(reader.changes_to_end(&*source).await, ["insert -> 1|Tea|7|250"]);
}

/// A source that follows the definitions of one contract on `products` with this value.
struct Followed<'a> {
    fixture: &'a PostgresFixture,
    source: PostgresSource,
}

impl<'a> Followed<'a> {
    async fn new(fixture: &'a PostgresFixture, value: &str) -> (Self, Arc<Schema>) {
        let options = fixture.options();
        prepare(&options).await.unwrap();
        let contract = ScopedContract {
            name: "price".into(),
            tables: vec![ScopedTable {
                name: TableName::parse("products"),
                bare_name: Some("products".into()),
                watched: Vec::new(),
            }],
            raising: Vec::new(),
            value: Some(value.into()),
            changes_by_clock: false,
        };
        let scope = Arc::new(SchemaScope::new(&options.url, "tidegate", vec![contract]));
        let source = PostgresSource::new(&options.url).with_schema(scope);
        let schema = source.schema().await.unwrap().unwrap();
        (Self { fixture, source }, schema)
    }

    async fn digest(&self) -> u64 {
        self.source.sample().await.unwrap().schema.unwrap()
    }

    /// Returns whether `sql` alters the digest, and reads the schema again.
    async fn alters(&self, sql: &str) -> bool {
        let before = self.digest().await;
        self.fixture.run(sql);
        let altered = self.digest().await != before;
        let schema = self.source.schema().await.unwrap().unwrap();
        assert_eq!(schema.digest(), self.digest().await, "the database and the node add up alike");
        altered
    }
}

const VALUE: &str = "select w.v, a.n from w join a on a.id = w.id where w.id = $1";

async fn followed(fixture: &PostgresFixture) -> (Followed<'_>, Arc<Schema>) {
    fixture.run("create type mood as enum ('calm'); create domain feeling as mood");
    fixture.run("create type pair as (x int, y feeling[])");
    fixture.run("create function f(int) returns int language sql begin atomic select $1 + 1; end");
    fixture.run("create function g(int) returns int language sql as 'select $1 + 1'");
    fixture.run("create table b(id int, p pair)");
    fixture.run("create view w as select p.id, f(price_cents) as v, (b.p).x from products p, b");
    fixture.run("create table a(id int, n int) partition by list (id)");
    fixture.run("create table a1 partition of a for values in (1)");
    Followed::new(fixture, VALUE).await
}

#[tokio::test]
async fn altered_definition_alters_digest() {
    let fixture = PostgresFixture::new();
    let (followed, _) = followed(&fixture).await;
    for sql in [
        "alter table products alter name type varchar(90)",
        "alter table products rename name to title",
        "alter table products rename title to name",
        "alter table products rename to other; alter table other rename to products",
        "alter type mood rename value 'calm' to 'quiet'",
        "alter type mood add value 'busy'",
        "alter type pair rename attribute x to z; alter type pair rename attribute z to x",
        "create or replace function f(int) returns int language sql begin atomic select $1 + 2; end",
        "create or replace view w as select p.id, g(price_cents) as v, (b.p).x from products p, b",
        "create or replace function g(int) returns int language sql as 'select $1 + 2'",
        "alter table b enable row level security",
        "create policy o on b using (id > 7)",
        "alter policy o on b using (id > 8)",
        "truncate a1",
        "create table a2 partition of a for values in (2)",
        "truncate a2",
        "drop table a2",
        "alter publication tidegate drop table products",
        "alter publication tidegate add table products",
        "alter publication tidegate set (publish = 'insert')",
        "alter publication tidegate add table a",
        "alter role all set extra_float_digits = 1",
        "alter database postgres set intervalstyle = 'iso_8601'",
        "alter schema public rename to away; alter schema away rename to public",
        "create function g(smallint) returns int language sql as 'select 1'",
        "create schema postgres; create table postgres.a(id int, n int)",
        "drop schema postgres cascade",
        "alter table products add unique (name)",
        "alter table products drop constraint products_pkey",
    ] {
        assert!(followed.alters(sql).await, "{sql}");
    }
    for sql in [
        "insert into products values (1, 'Tea', 7, 250); delete from products",
        "vacuum analyze products",
        "create index on products (price_cents)",
        "create table unrelated(id int); alter table unrelated add n int; drop table unrelated",
        "create function unrelated() returns int language sql as 'select 1'",
    ] {
        sql.split("; ").for_each(|sql| fixture.run(sql));
        assert!(!followed.alters("select 1").await, "{sql}");
    }
}

#[tokio::test]
async fn unfollowed_reads_are_listed() {
    let fixture = PostgresFixture::new();
    let (followed, schema) = followed(&fixture).await;
    let unfollowed = |read| UnfollowedRead { contract: "price".into(), read };
    let tables = ["public.a", "public.b"].map(|name| unfollowed(ReadObject::Table(name.into())));
    assert_eq!(schema.unfollowed, tables.into());
    fixture.run(
        "create or replace view w as select p.id, g(price_cents) as v, 1 as x from products p",
    );
    let schema = followed.source.schema().await.unwrap().unwrap();
    let function = unfollowed(ReadObject::Function("g(integer)".into()));
    let table = unfollowed(ReadObject::Table("public.a".into()));
    assert_eq!(schema.unfollowed, [table, function].into());
    let contracts = schema.dependents(
        schema
            .objects()
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with("class") || name.starts_with("function")),
    );
    assert_eq!(contracts.map(|contracts| contracts.len()), Some(1));
}

#[tokio::test]
async fn unlistable_value_is_refused() {
    let fixture = PostgresFixture::new();
    fixture.run("revoke temporary on database postgres from public");
    fixture.run("create role shop login; grant select on products to shop");
    let options = fixture.options();
    prepare(&options).await.unwrap();
    let contract = ScopedContract {
        name: "price".into(),
        tables: vec![ScopedTable {
            name: TableName::parse("products"),
            bare_name: None,
            watched: Vec::new(),
        }],
        raising: Vec::new(),
        value: Some("select 1 from products where id = $1".into()),
        changes_by_clock: false,
    };
    let url = fixture.server.url_as("shop", "postgres").parse().unwrap();
    let scope = Arc::new(SchemaScope::new(&url, "tidegate", vec![contract]));
    let refused = PostgresSource::new(&url).with_schema(scope).schema().await;
    let text = refused.expect_err("refused").to_string();
    assert!(text.contains("contract `price` reads can't be listed"), "{text}");
    assert!(text.contains("grant temporary on database"), "{text}");
}
