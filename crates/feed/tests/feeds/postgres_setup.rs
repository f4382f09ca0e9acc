use std::sync::Arc;

use feed::postgres::prepare;
use feed::{Feed, FeedError, PostgresFeed, PostgresOptions, PostgresSource, Source};
use harness::Postgres;

use crate::fixture::{Fixture, WallClock, products};
use crate::postgres::PostgresFixture;
use crate::reader::{FeedReader, next};

async fn setup_error(options: &PostgresOptions) -> String {
    match prepare(options).await {
        Err(FeedError::Setup(setup)) => setup.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_setup_issues_reported() {
    let server = Postgres::builder().setting("wal_level", "replica").start().unwrap();
    server.psql("create role shop login; create table products(id int, name text)").unwrap();
    let url = server.url_as("shop", "postgres").parse().unwrap();
    let mut tables = vec![products()];
    tables.push(feed::TrackedTable { table: "stock".into(), ..products() });
    let options = PostgresOptions::new("shop", url, tables, Arc::new(WallClock));
    let text = setup_error(&options).await;
    for fix in [
        "alter system set wal_level = 'logical';",
        "-- then restart PostgreSQL",
        "alter role \"shop\" replication;",
        "Table `products` has no column `price_cents`",
        "-- correct the name in the contract; the columns are: id, name",
        "alter table \"public\".\"products\" add primary key (…);",
        "grant select on \"public\".\"products\" to \"shop\";",
        "-- correct the name in the contract; the tables are: products",
        "create publication \"tidegate\" for table \"public\".\"products\" \
         with (publish_via_partition_root = true);",
    ] {
        assert!(text.contains(fix), "{fix} is not in:\n{text}");
    }
    let mut feed: Box<dyn Feed> = Box::new(PostgresFeed::new(options));
    assert!(matches!(next(&mut feed).await, Err(FeedError::Setup(_))));
}

#[tokio::test]
async fn replication_role_suffices() {
    let fixture = PostgresFixture::new();
    fixture.run("create role shop login replication; alter table products owner to shop");
    let mut options = fixture.options();
    options.url = fixture.server.url_as("shop", "postgres").parse().unwrap();
    let text = setup_error(&options).await;
    assert!(text.contains("as the tables' owner or a superuser"), "{text}");
    fixture.run("grant create on database postgres to shop");
    let prepared = prepare(&options).await.unwrap();
    assert_eq!(prepared.done.len(), 1, "{prepared:?}");
    // The server may be an older minor release.
    let is_old = |issue: &&feed::SetupIssue| issue.remedy[0].starts_with("-- upgrade to");
    let warnings: Vec<_> = prepared.warnings.iter().filter(|issue| !is_old(issue)).collect();
    assert_eq!(warnings.len(), 2, "{prepared:?}");
    assert!(warnings[0].description.contains("max_slot_wal_keep_size"));
    assert!(warnings[1].description.contains("`category_id`"));
    assert_eq!(prepare(&options).await.unwrap().done, Vec::<String>::new(), "once");
    let source = PostgresSource::new(&options.url);
    let mut reader = FeedReader::new(Box::new(PostgresFeed::new(options))).await;
    let identity = source.identity().await.unwrap();
    assert_eq!(identity.system, reader.start.system);
    assert_eq!(identity.timeline, reader.start.timeline);
    assert_eq!(identity.server_started, reader.start.server_started);
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(reader.changes_to_end(&source).await, ["insert -> 1|Tea|7|250"]);
}

#[tokio::test]
async fn partial_publication_rejected() {
    let fixture = PostgresFixture::new();
    fixture.run(
        "create publication tidegate for table products (id, name) where (id > 7) \
         with (publish = 'insert')",
    );
    let text = setup_error(&fixture.options()).await;
    assert!(text.contains("set (publish = 'insert, update, delete, truncate');"), "{text}");
    assert!(text.contains("only some rows or columns"), "{text}");
}

#[tokio::test]
async fn foreign_slot_left_alone() {
    let fixture = PostgresFixture::new();
    fixture.run("select pg_create_physical_replication_slot('tidegate')");
    let text = setup_error(&fixture.options()).await;
    assert!(text.contains("belongs to something else"), "{text}");
}
