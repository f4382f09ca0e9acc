//! Loads from a real MariaDB.

use std::time::Duration;

use cache::origin::mariadb::{MariaDbOrigin, MariaDbPool};
use cache::{Content, Origin, OriginErrorKind};
use coherence::Lsn;
use contract::Contract;
use harness::MariaDb;

use super::{
    TIMEOUT, body, check_batch_loads, check_loads, contract, load, load_many, stock_contract,
};

fn mariadb() -> (MariaDb, MariaDbPool) {
    let mariadb = MariaDb::start().expect("MariaDB starts");
    let sql = "create database shop; use shop; \
               create table products(id int primary key, category_id int, price_cents int, \
               currency char(3), vip boolean, stock int, weight decimal(6,3), photo blob, \
               sku varchar(20) collate utf8mb4_bin, name varchar(20)); \
               insert into products values \
               (42, 7, 1299, 'GBP', true, 7, 0.250, x'00ff', 'a''1', 'Tea \"x\"')";
    mariadb.sql(sql).expect("a table");
    let pool =
        MariaDbPool::new(&mariadb.url_as("root", "shop").parse().expect("a url"), 4, TIMEOUT);
    (mariadb, pool)
}

#[tokio::test]
async fn mariadb_loads_like_postgres() {
    let (_mariadb, pool) = mariadb();
    let prices = contract(str::to_owned);
    let price = MariaDbOrigin::prepare(prices.clone(), pool.clone()).await.expect("it fits");
    check_loads(&price, &prices, "1").await;
    let seen = load(&price, &prices, "42").await.expect("a row").seen;
    assert!(seen.is_some_and(|seen| seen > Lsn(1 << 32)), "{seen:?}");
    let stocks = stock_contract();
    let stock = MariaDbOrigin::prepare(stocks.clone(), pool.clone()).await.expect("it fits");
    check_batch_loads((&price, &prices), (&stock, &stocks)).await;

    let wide = contract(|text| {
        let columns = "weight, name, null as x, 1e3 as y, date '2026-02-03' as d";
        text.replace("price_cents, currency, vip", columns)
    });
    let origin = MariaDbOrigin::prepare(wide.clone(), pool.clone()).await.expect("it fits");
    let found = body(load(&origin, &wide, "42").await.expect("a row"));
    assert_eq!(found, r#"{"weight":0.250,"name":"Tea \"x\"","x":null,"y":1000,"d":"2026-02-03"}"#);

    let named = contract(|text| {
        let text = text.replace("where id = $id", "where sku = $id");
        text.replace("key = \"id\"", "key = \"sku\"").replace("product-{id}", "product-{sku}")
    });
    let origin = MariaDbOrigin::prepare(named.clone(), pool).await.expect("it fits");
    assert!(body(load(&origin, &named, "a'1").await.expect("a row")).contains("1299"));
    let upper = load(&origin, &named, "A'1").await.expect("an answer");
    assert_eq!(upper.content, Content::Absent);
}

#[tokio::test]
async fn mariadb_mismatched_contract_refused() {
    let (_mariadb, pool) = mariadb();
    for (from, to, says) in [
        ("price_cents, currency", "price_pennies", "price_pennies"),
        ("table = \"products\"", "table = \"prodcts\"", "prodcts"),
        ("where id = $id", "where id = 1", "$id"),
        ("-- it's $id", "; select 1", "refused"),
        ("key = \"id\"", "key = \"name\"", "binary collation"),
        ("key = \"id\"", "key = \"weight\"", "decimal"),
    ] {
        let contract = contract(|text| text.replace(from, to));
        let refused = MariaDbOrigin::prepare(contract, pool.clone()).await;
        let err = refused.err().unwrap_or_else(|| panic!("{to} fits"));
        assert!(err.message.contains(says), "{to}: {err}");
    }
    let photo = contract(|text| text.replace("price_cents, currency, vip", "photo"));
    let origin = MariaDbOrigin::prepare(photo.clone(), pool).await.expect("it fits");
    let err = load(&origin, &photo, "42").await.expect_err("binary");
    assert!(err.kind == OriginErrorKind::Broken && err.message.contains("hex"), "{err}");
}

/// The server parses a packet's later statements only when it reaches them, so it sends their errors in place
/// of their results.
#[tokio::test]
async fn late_error_is_never_absence() {
    let (mariadb, pool) = mariadb();
    let prices = contract(str::to_owned);
    let price = MariaDbOrigin::prepare(prices.clone(), pool.clone()).await.expect("it fits");
    let stocks = stock_contract();
    let stock = MariaDbOrigin::prepare(stocks.clone(), pool.clone()).await.expect("it fits");
    let renamed = "alter table products change price_cents cents int";
    mariadb.sql_in("shop", renamed).expect("altered");
    for id in ["42", "43"] {
        let err = load(&price, &prices, id).await.expect_err("no such column");
        assert_eq!(err.kind, OriginErrorKind::Broken, "{err}");
        assert!(err.message.contains("price_cents"), "{err}");
    }
    let asks: [(&dyn Origin, _, _); 3] =
        [(&stock, &stocks, "42"), (&price, &prices, "42"), (&stock, &stocks, "43")];
    let (items, _) = load_many(&asks).await;
    assert_eq!(body(items[0].clone().expect("a row")), r#"{"stock":7}"#);
    assert_eq!(items[1].as_ref().expect_err("no such column").kind, OriginErrorKind::Broken);
    assert_eq!(items[2].as_ref().expect("an answer").content, Content::Absent);

    // The statement for the columns of the tags comes after the value's.
    mariadb
        .sql_in("shop", "alter table products change category_id category int")
        .expect("altered");
    let err = load(&stock, &stocks, "42").await.expect_err("no such column");
    assert!(err.kind == OriginErrorKind::Broken && err.message.contains("category_id"), "{err}");
    let back = "alter table products change cents price_cents int, change category category_id int";
    mariadb.sql_in("shop", back).expect("altered");
    check_loads(&price, &prices, "1").await;

    mariadb.sql_in("shop", "drop table products").expect("dropped");
    let err = load(&price, &prices, "42").await.expect_err("no such table");
    assert_eq!(err.kind, OriginErrorKind::Broken, "{err}");
}

/// A proxy that shares sessions answers from one whose variables are another client's, or not set.
#[tokio::test]
async fn answer_of_another_session_refused() {
    let (_mariadb, pool) = mariadb();
    let lost = contract(|text| {
        text.replace("select price_cents", "select @tidegate_server := null as x, price_cents")
    });
    let origin = MariaDbOrigin::prepare(lost.clone(), pool.clone()).await.expect("it fits");
    let err = load(&origin, &lost, "42").await.expect_err("another session");
    assert!(err.message.contains("keep each client's session"), "{err}");
    // The session is given up with its answer.
    let prices = contract(str::to_owned);
    let price = MariaDbOrigin::prepare(prices.clone(), pool).await.expect("it fits");
    assert!(load(&price, &prices, "42").await.expect("a row").log.is_some());
}

#[tokio::test]
async fn mariadb_recovers_after_timeout() {
    let (mut mariadb, _) = mariadb();
    let url = mariadb.url_as("root", "shop").parse().expect("a url");
    let pool = MariaDbPool::new(&url, 1, Duration::from_millis(700));
    let quick = contract(str::to_owned);
    let slow = contract(|text| text.replace("select price_cents", "select sleep(30), price_cents"));
    let origin = MariaDbOrigin::prepare(quick.clone(), pool.clone()).await.expect("it fits");
    let pause = MariaDbOrigin::prepare(slow.clone(), pool).await.expect("it fits");
    let err = load(&pause, &slow, "42").await.expect_err("too slow");
    assert_eq!(err.kind, OriginErrorKind::Timeout, "{err}");
    // The pool's one connection works again, without the earlier snapshot.
    mariadb.sql_in("shop", "update products set price_cents = 5").expect("updated");
    let found = eventually(&origin, &quick).await;
    assert!(found.contains("\"price_cents\":5"), "{found}");

    mariadb.stop().expect("stopped");
    load(&origin, &quick, "42").await.expect_err("nobody there");
    mariadb.start_again().expect("started");
    assert_eq!(eventually(&origin, &quick).await, found);
}

/// Loads until it succeeds: the first use may find that a pooled connection is dead.
async fn eventually(origin: &dyn Origin, contract: &Contract) -> String {
    let mut last = None;
    for _ in 0..40 {
        match load(origin, contract, "42").await {
            Ok(loaded) => return body(loaded),
            Err(err) => last = Some(err),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{last:?}");
}
