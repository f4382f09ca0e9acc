use std::sync::Arc;

use feed::mariadb::prepare;
use feed::{Feed, FeedError, MariaDbFeed, MariaDbOptions, MariaDbSource, Source};
use harness::MariaDb;

use crate::fixture::{Fixture, WallClock, products};
use crate::mariadb::{MariaDbFixture, REQUEST_TABLE};
use crate::reader::{FeedReader, next};

async fn setup_error(options: &MariaDbOptions) -> String {
    match prepare(options).await {
        Err(FeedError::Setup(setup)) => setup.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_setup_issues_reported() {
    let server = MariaDb::builder()
        .setting("binlog-format", "MIXED")
        .setting("binlog-row-metadata", "NO_LOG")
        .setting("binlog-row-image", "MINIMAL")
        .setting("binlog-ignore-db", "shop")
        .start()
        .unwrap();
    server.sql("create database shop; create user shop identified by 'secret'").unwrap();
    server
        .sql_in(
            "shop",
            "create table products(id float primary key, name text, \
             category_id varchar(9) character set latin1) engine=Aria; \
             create table stock(id int primary key, name int as (id) virtual, category_id int, \
             price_cents int, foreign key (category_id) references stock(id) on delete cascade); \
             grant select on shop.stock to shop; grant select on shop.products to shop",
        )
        .unwrap();
    let mut tables = vec![products()];
    tables.push(feed::TrackedTable { table: "stock".into(), ..products() });
    tables.push(feed::TrackedTable { table: "absent".into(), ..products() });
    let url = server.url_as("shop:secret", "shop").parse().unwrap();
    let options = MariaDbOptions::new("shop", url, tables, Arc::new(WallClock));
    let text = setup_error(&options).await;
    for fix in [
        "set global binlog_format = ROW;",
        "set global binlog_row_metadata = FULL;",
        "set global binlog_row_image = FULL;",
        "grant binlog monitor, replication slave on *.* to 'shop'@'%';",
        "alter table `shop`.`products` engine=InnoDB;",
        "Column `name` of `shop.stock` is virtual",
        "alter table `shop`.`stock` drop foreign key `stock_ibfk_1`;",
        "There is no table `shop.absent`",
        "-- correct the name in the contract; the tables are: products, stock",
        "-- or, if the table exists: grant select on `shop`.`absent` to 'shop'@'%';",
        "create table if not exists `shop`.tidegate_orders(",
        "grant select, insert, delete on `shop`.tidegate_orders to 'shop'@'%';",
    ] {
        assert!(text.contains(fix), "{fix} is not in:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    let mut feed: Box<dyn Feed> = Box::new(MariaDbFeed::new(options.clone()));
    assert!(matches!(next(&mut feed).await, Err(FeedError::Setup(_))));

    server.sql("grant binlog monitor on *.* to shop").unwrap();
    server.sql_in("shop", "alter table products engine=InnoDB").unwrap();
    let text = setup_error(&options).await;
    for fix in [
        "The binary log leaves out the database `shop`",
        "Column `id` of `shop.products` is of type float",
        "alter table `shop`.`products` modify `category_id` varchar(9) character set utf8mb4 …;",
        "-- correct the name in the contract; the columns are: id, name, category_id",
    ] {
        assert!(text.contains(fix), "{fix} is not in:\n{text}");
    }
}

#[tokio::test]
async fn documented_privileges_suffice() {
    let fixture = MariaDbFixture::new();
    fixture.server.sql("create user shop identified by 'secret'").unwrap();
    fixture.server.sql("grant select on shop.products to shop").unwrap();
    fixture.server.sql("grant binlog monitor on *.* to shop").unwrap();
    fixture.server.sql("grant select, insert, delete on shop.tidegate_orders to shop").unwrap();
    let mut options = fixture.options();
    options.url = fixture.server.url_as("shop:secret", "shop").parse().unwrap();
    let text = setup_error(&options).await;
    assert!(text.contains("grant replication slave on *.* to 'shop'@'%';"), "{text}");
    fixture.server.sql("grant replication slave on *.* to shop").unwrap();
    fixture.server.sql("set global binlog_expire_logs_seconds = 60").unwrap();
    let warnings = prepare(&options).await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].description.contains("60 seconds"), "{warnings:?}");
    let source = MariaDbSource::new(&options.url);
    let mut reader = FeedReader::new(Box::new(MariaDbFeed::new(options))).await;
    fixture.run("insert into products values (1, 'Tea', 7, 250)");
    assert_eq!(reader.changes_to_end(&source).await, ["insert -> 1|Tea|7|250"]);
    assert_eq!(fixture.server.sql_in("shop", "select count(*) from tidegate_orders").unwrap(), "0");
    source.identity().await.unwrap();
}

#[tokio::test]
async fn missing_binary_log_reported() {
    let server = MariaDb::builder().setting("skip-log-bin", "1").start().unwrap();
    server.sql("create database shop").unwrap();
    server.sql_in("shop", REQUEST_TABLE).unwrap();
    let url = server.url_as("root", "shop").parse().unwrap();
    let options = MariaDbOptions::new("shop", url, vec![], Arc::new(WallClock));
    let text = setup_error(&options).await;
    assert!(text.contains("log_bin = binlog"), "{text}");
}
