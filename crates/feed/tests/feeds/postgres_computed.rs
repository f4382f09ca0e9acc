//! Columns that PostgreSQL computes. From version 18 on publications may contain those that are stored, and the
//! server refuses changes of rows whose identity has one that is not published.

use feed::postgres::prepare;
use feed::{FeedError, TrackedTable};

use crate::fixture::{Fixture, products};
use crate::postgres::PostgresFixture;
use crate::reader::FeedReader;

const STORED: &str =
    "alter table products add g int generated always as (price_cents / 100) stored";

/// Returns the options of following `products`, with a tag made of `tag`.
fn options(fixture: &PostgresFixture, tag: &str) -> feed::PostgresOptions {
    fixture.options_with(|options| {
        let columns = vec!["id".to_owned(), tag.to_owned()];
        let old_columns = columns.clone();
        options.tables = vec![TrackedTable { columns, old_columns, ..products() }];
    })
}

/// Returns the issues of following `products`, with a tag made of `tag`.
async fn issues(fixture: &PostgresFixture, tag: &str) -> String {
    match prepare(&options(fixture, tag)).await {
        Ok(_) => String::new(),
        Err(FeedError::Setup(setup)) => setup.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

/// Runs the lines of a remedy that start like this.
fn apply(fixture: &PostgresFixture, remedy: &str, statement: &str) {
    let lines = remedy.lines().map(str::trim).filter(|line| line.starts_with(statement));
    let lines: Vec<&str> = lines.collect();
    assert!(!lines.is_empty(), "no {statement} in:\n{remedy}");
    fixture.run(lines[0]);
}

#[tokio::test]
async fn computed_column_in_tag_is_refused() {
    let fixture = PostgresFixture::new();
    fixture.run(STORED);
    fixture.run("alter table products replica identity full");
    if fixture.version() < 180_000 {
        // Before the publication exists, and when it does.
        for _ in 0..2 {
            let text = issues(&fixture, "g").await;
            assert!(text.contains("`public.products.g`, which the database computes"), "{text}");
            assert!(text.contains("from the columns that it is computed from"), "{text}");
            assert!(!text.contains("publish_generated_columns"), "{text}");
            assert_eq!(issues(&fixture, "name").await, "");
        }
    }
    // A value alone may show it.
    let options = fixture.options_with(|options| options.tables[0].columns.push("g".into()));
    prepare(&options).await.unwrap();
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    fixture.run("update products set price_cents = 900");
}

#[tokio::test]
async fn stored_column_is_published_where_needed() {
    let fixture = PostgresFixture::new();
    if fixture.version() < 180_000 {
        return;
    }
    fixture.run(STORED);
    fixture.run("alter table products replica identity full");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    // A publication that was made for another program.
    fixture.run("create publication tidegate for table products with (publish_via_partition_root)");
    let refused = fixture.server.psql("update products set price_cents = 300").unwrap_err();
    assert!(refused.to_string().contains("cannot update table"), "{refused}");
    let text = issues(&fixture, "name").await;
    assert!(text.contains("computed column `g`, which is not published"), "{text}");
    assert!(issues(&fixture, "g").await.contains("which the database computes"));
    apply(&fixture, &text, "alter publication");
    assert_eq!(issues(&fixture, "g").await, "");
    fixture.run("update products set price_cents = 300");
    // Nor does a publication that lacks the table yet break the application.
    fixture.run("drop publication tidegate; create table other(id int primary key)");
    fixture.run("create publication tidegate for table other with (publish_via_partition_root)");
    assert!(issues(&fixture, "name").await.contains("which is not published"));
    fixture.run("update products set price_cents = 400");
    // Tidegate's own is right from the start.
    fixture.run("drop publication tidegate");
    let feed = feed::PostgresFeed::new(options(&fixture, "g"));
    let mut reader = FeedReader::new(Box::new(feed)).await;
    fixture.run("update products set price_cents = 950");
    let changes = reader.changes_to_end(&*fixture.source()).await;
    assert_eq!(changes, ["update 1|4 -> 1|9"]);
}

#[tokio::test]
async fn column_computed_on_read_is_refused_in_identity() {
    let fixture = PostgresFixture::new();
    if fixture.version() < 180_000 {
        return;
    }
    fixture.run("alter table products add v int generated always as (price_cents / 100) virtual");
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    let text = issues(&fixture, "v").await;
    assert!(text.contains("after the column is made a stored one"), "{text}");
    assert_eq!(issues(&fixture, "id").await, "");
    fixture.run("update products set price_cents = 300");
    fixture.run("drop publication tidegate; alter table products replica identity full");
    let text = issues(&fixture, "id").await;
    assert!(text.contains("computed column `v`, which is not published"), "{text}");
    assert!(text.contains("replica identity using index …; -- of other columns"), "{text}");
    fixture.run("update products set price_cents = 400");
    fixture.run("alter table products alter name set not null, add unique (id, name)");
    fixture.run("alter table products replica identity using index products_id_name_key");
    assert_eq!(issues(&fixture, "name").await, "");
    fixture.run("update products set price_cents = 500");
}

/// A list of columns goes before the option of the publication.
#[tokio::test]
async fn column_list_decides_on_stored_columns() {
    let fixture = PostgresFixture::new();
    if fixture.version() < 180_000 {
        return;
    }
    fixture.run(STORED);
    let create = |columns: &str, stored: &str| {
        fixture.run("drop publication if exists tidegate");
        fixture.run(&format!(
            "create publication tidegate for table products ({columns}) \
             with (publish_via_partition_root, publish_generated_columns = {stored})"
        ));
    };
    create("id, name, category_id, price_cents, g", "none");
    assert_eq!(issues(&fixture, "g").await, "");
    create("id, name, category_id, price_cents", "stored");
    assert!(issues(&fixture, "g").await.contains("which the database computes"));
}
