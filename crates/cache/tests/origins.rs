//! Loads from SQLite and from a real PostgreSQL.

#[path = "origins/mariadb.rs"]
mod mariadb;
#[path = "origins/names.rs"]
mod names;
#[path = "origins/pooler.rs"]
mod pooler;
#[path = "origins/row_errors.rs"]
mod row_errors;

use std::sync::Arc;
use std::time::Duration;

use cache::origin::postgres::{PostgresOrigin, PostgresPool, Standby};
use cache::origin::sqlite::{SqliteOrigin, SqlitePool};
use cache::{Content, LoadItem, Loaded, Origin, OriginError, OriginErrorKind};
use coherence::Lsn;
use contract::{Contract, Tag};
use harness::Postgres;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The time limit of conditions that have to occur.
const EVENTUALLY: Duration = Duration::from_secs(60);

const CONTRACT: &str = r#"
key       = "v1:catalog:price:{id}"
value     = "select price_cents, currency, vip from products where id = $id -- it's $id"
from      = { source = "shop", table = "products", key = "id" }
tags      = ["product-{id}", "category-{category_id}"]
staleness = "30s"
"#;

fn contract(edit: impl Fn(&str) -> String) -> Contract {
    let table: toml::Table = edit(CONTRACT).parse().expect("TOML");
    Contract::from_toml("product_price", &table).expect("a contract")
}

async fn load(origin: &dyn Origin, contract: &Contract, id: &str) -> Result<Loaded, OriginError> {
    let key = contract.key(id).unwrap_or_else(|_| contract.key("1").expect("a key"));
    origin.load(&key, id).await
}

fn body(loaded: Loaded) -> String {
    match loaded.content {
        Content::Present(value) => String::from_utf8(value.body.to_vec()).expect("UTF-8"),
        other => panic!("{other:?}"),
    }
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::parse(name).expect("a tag")).collect()
}

async fn check_loads(origin: &dyn Origin, contract: &Contract, vip: &str) {
    let found = load(origin, contract, "42").await.expect("a row");
    assert_eq!(found.tags, tags(&["product-42", "category-7"]));
    assert_eq!(body(found), format!(r#"{{"price_cents":1299,"currency":"GBP","vip":{vip}}}"#));

    let absent = load(origin, contract, "43").await.expect("no row is an answer");
    assert_eq!(absent.content, Content::Absent);
    assert_eq!(absent.tags, tags(&["product-43"]), "it has the tags of a later INSERT");

    for wrong in ["042", "+42", "42 ", "abc", "99999999999999999999"] {
        let err = load(origin, contract, wrong).await.expect_err(wrong);
        assert_eq!(err.kind, OriginErrorKind::BadRequest, "{wrong}: {err}");
    }
}

/// Loads ids of several contracts in one call.
async fn load_many(
    asks: &[(&dyn Origin, &Contract, &str)],
) -> (Vec<Result<Loaded, OriginError>>, bool) {
    let keys: Vec<_> = asks.iter().map(|(_, contract, id)| contract.key(id).expect(id)).collect();
    let asks: Vec<LoadItem<'_>> = asks
        .iter()
        .zip(&keys)
        .map(|((origin, _, id), key)| LoadItem { origin: *origin, key, id })
        .collect();
    let loaded = asks[0].origin.load_many(&asks).await.expect("the database is there");
    (loaded.items, loaded.one_snapshot)
}

/// Asserts that the failure of one item is its own result, and that the other items are from one snapshot.
async fn check_batch_loads(price: (&dyn Origin, &Contract), stock: (&dyn Origin, &Contract)) {
    let ((price, prices), (stock, stocks)) = (price, stock);
    let asks = [
        (price, prices, "42"),
        (price, prices, "abc"),
        (stock, stocks, "42"),
        (price, prices, "43"),
        (stock, stocks, "99999999999999999999"),
        (stock, stocks, "42"),
    ];
    for _ in 0..3 {
        let (items, one_snapshot) = load_many(&asks).await;
        assert!(one_snapshot);
        let found = |at: usize| body(items[at].clone().expect("a row"));
        assert!(found(0).starts_with(r#"{"price_cents":1299"#), "{}", found(0));
        assert_eq!(found(2), r#"{"stock":7}"#);
        assert_eq!(found(5), found(2));
        assert_eq!(items[3].as_ref().expect("an answer").content, Content::Absent);
        for at in [1, 4] {
            let err = items[at].as_ref().expect_err("no id");
            assert_eq!(err.kind, OriginErrorKind::BadRequest, "{err}");
        }
    }
}

fn stock_contract() -> Contract {
    let text =
        CONTRACT.replace(":price:", ":stock:").replace("price_cents, currency, vip", "stock");
    Contract::from_toml("product_stock", &text.parse().expect("TOML")).expect("a contract")
}

fn postgres() -> (Postgres, PostgresPool) {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    postgres
        .psql(
            "create table products(id int primary key, category_id int, price_cents int, \
             currency text, vip boolean, stock int); \
             insert into products values (42, 7, 1299, 'GBP', true, 7)",
        )
        .expect("a table");
    let pool = PostgresPool::new(&postgres.url("postgres").parse().expect("a url"), 4, TIMEOUT);
    (postgres, pool)
}

#[tokio::test]
async fn noncanonical_id_refused() {
    let (_postgres, pool) = postgres();
    let contract = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    assert_eq!(origin.name(), "shop");
    check_loads(&origin, &contract, "true").await;
}

#[tokio::test]
async fn sqlite_loads_like_postgres() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let connection = rusqlite::Connection::open(&path).expect("a file");
    connection
        .execute_batch(
            "create table products(id integer primary key, category_id int, price_cents int, \
             currency text, vip int, stock int); \
             insert into products values (42, 7, 1299, 'GBP', 1, 7); \
             create table log(seq int); insert into log values (5)",
        )
        .expect("a table");
    let contract = contract(str::to_owned);
    let pool = SqlitePool::new(&path, TIMEOUT);
    let origin = SqliteOrigin::prepare(contract.clone(), pool).expect("it fits");
    check_loads(&origin, &contract, "1").await;
    assert_eq!(
        load(&origin, &contract, "42").await.expect("a row").seen,
        None,
        "the pool has no log"
    );
    let pool = SqlitePool::new(&path, TIMEOUT).with_log_end("select seq from log");
    let price = SqliteOrigin::prepare(contract.clone(), pool.clone()).expect("it fits");
    let stocks = stock_contract();
    let stock = SqliteOrigin::prepare(stocks.clone(), pool).expect("it fits");
    assert_eq!(load(&price, &contract, "42").await.expect("a row").seen, Some(Lsn(5)));
    check_batch_loads((&price, &contract), (&stock, &stocks)).await;
}

#[tokio::test]
async fn mismatched_contract_refused() {
    let (postgres, pool) = postgres();
    postgres
        .psql(
            "create table weights(id float8 primary key, category_id int); \
             create table spans(id interval primary key, category_id int)",
        )
        .expect("tables");
    for (from, to, says) in [
        ("price_cents, currency", "price_pennies", "price_pennies"),
        ("table = \"products\"", "table = \"prodcts\"", "prodcts"),
        ("key = \"id\"", "key = \"sku\"", "sku"),
        ("where id = $id", "where id = 1", "$id"),
        ("table = \"products\"", "table = \"weights\"", "double precision"),
        ("table = \"products\"", "table = \"spans\"", "interval"),
        ("category-{category_id}", "category-{categoryId}", "categoryId"),
    ] {
        let contract = contract(|text| text.replace(from, to));
        let refused = PostgresOrigin::prepare(contract, pool.clone()).await;
        let err = refused.err().unwrap_or_else(|| panic!("{to} fits"));
        assert!(err.message.contains(says), "{to}: {err}");
    }
}

#[tokio::test]
async fn two_rows_for_one_id_refused() {
    let (_postgres, pool) = postgres();
    let contract = contract(|text| {
        text.replace("where id = $id", "p, generate_series(1, 2) where p.id = $id")
    });
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let err = load(&origin, &contract, "42").await.expect_err("two rows");
    assert_eq!(err.kind, OriginErrorKind::Broken);
    assert!(err.message.contains("more than one row"), "{err}");
}

#[tokio::test]
async fn restarted_database_answers_again() {
    let (mut postgres, pool) = postgres();
    let contract = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    load(&origin, &contract, "42").await.expect("a row");
    postgres.stop().expect("stopped");
    let err = load(&origin, &contract, "42").await.expect_err("nobody there");
    assert_eq!(err.kind, OriginErrorKind::Unavailable, "{err}");
    postgres.start_again().expect("started");
    // The first use may find that a pooled connection is dead.
    let _ = load(&origin, &contract, "42").await;
    load(&origin, &contract, "42").await.expect("a row again");
}

#[tokio::test]
async fn slow_statement_times_out() {
    let (postgres, _) = postgres();
    let pool = PostgresPool::new(
        &postgres.url("postgres").parse().expect("a url"),
        1,
        Duration::from_millis(300),
    );
    let contract =
        contract(|text| text.replace("select price_cents", "select pg_sleep(30), price_cents"));
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let err = load(&origin, &contract, "42").await.expect_err("too slow");
    assert_eq!(err.kind, OriginErrorKind::Timeout, "{err}");
}

#[tokio::test]
async fn contracts_share_one_snapshot() {
    let (postgres, pool) = postgres();
    let (prices, stocks) = (contract(str::to_owned), stock_contract());
    let price = PostgresOrigin::prepare(prices.clone(), pool.clone()).await.expect("it fits");
    let stock = PostgresOrigin::prepare(stocks.clone(), pool.clone()).await.expect("it fits");
    check_batch_loads((&price, &prices), (&stock, &stocks)).await;

    // The row changes while a slow statement runs between the two. Both show the earlier state.
    let slow = contract(|text| {
        let text = text.replace(":price:", ":slow:");
        text.replace("select price_cents", "select pg_sleep(1), price_cents")
    });
    let pause = PostgresOrigin::prepare(slow.clone(), pool.clone()).await.expect("it fits");
    let asks: [(&dyn Origin, &Contract, &str); 3] =
        [(&price, &prices, "42"), (&pause, &slow, "42"), (&stock, &stocks, "42")];
    let (loads, _) = tokio::join!(load_many(&asks), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let sql = "update products set price_cents = 1, stock = 1 where id = 42";
        tokio::task::spawn_blocking(move || postgres.psql(sql).map(|_| postgres))
            .await
            .expect("no panic")
            .expect("updated")
    });
    let items: Vec<Loaded> = loads.0.into_iter().map(|item| item.expect("a row")).collect();
    assert!(items.iter().all(|item| item.seen.is_some_and(|seen| seen > Lsn::ZERO)));
    let bodies: Vec<String> = items.into_iter().map(body).collect();
    assert!(bodies[0].contains("1299") && bodies[2] == r#"{"stock":7}"#, "{bodies:?}");
}

#[tokio::test]
async fn dropped_batch_leaves_no_transaction() {
    let (postgres, _) = postgres();
    let pool = PostgresPool::new(&postgres.url("postgres").parse().expect("a url"), 1, TIMEOUT);
    let slow =
        contract(|text| text.replace("select price_cents", "select pg_sleep(2), price_cents"));
    let origin = PostgresOrigin::prepare(slow.clone(), pool.clone()).await.expect("it fits");
    let asks: [(&dyn Origin, &Contract, &str); 2] =
        [(&origin, &slow, "42"), (&origin, &slow, "43")];
    let given_up = tokio::time::timeout(Duration::from_millis(300), load_many(&asks)).await;
    assert!(given_up.is_err());
    postgres.psql("update products set price_cents = 5 where id = 42").expect("updated");
    // The pool's one connection is a new one, without the earlier snapshot.
    let quick = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(quick.clone(), pool).await.expect("it fits");
    let found = load(&origin, &quick, "42").await.expect("a row");
    assert!(body(found).contains("\"price_cents\":5"));
}

#[tokio::test]
async fn pools_share_no_snapshot() {
    let (postgres, pool) = postgres();
    let other = PostgresPool::new(&postgres.url("postgres").parse().expect("a url"), 1, TIMEOUT);
    let contract = contract(str::to_owned);
    let one = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let two = PostgresOrigin::prepare(contract.clone(), other).await.expect("it fits");
    let asks: [(&dyn Origin, &Contract, &str); 2] =
        [(&one, &contract, "42"), (&two, &contract, "42")];
    let (items, one_snapshot) = load_many(&asks).await;
    assert!(!one_snapshot && items.iter().all(Result::is_ok));
}

async fn scan_all(origin: &dyn Origin, most: usize) -> Vec<String> {
    let scan = origin.key_scan().expect("it lists its ids");
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = scan.page(after.as_deref(), most).await.expect("a page");
        assert!(page.seen.is_some_and(|seen| seen > Lsn::ZERO));
        let whole = page.ids.len() == most;
        all.extend(page.ids);
        after = all.last().cloned();
        if !whole {
            return all;
        }
    }
}

async fn unsuitable(origin: &dyn Origin) -> Option<String> {
    origin.key_scan().expect("it lists its ids").estimate().await.expect("an answer").unsuitable
}

#[tokio::test]
async fn postgres_scan_returns_each_id_once() {
    let (postgres, pool) = postgres();
    let sql = "insert into products select n * 7 - 5000 from generate_series(1, 2499) n \
               on conflict do nothing; \
               create table names(id text primary key, price_cents int, currency text, vip boolean, \
               category_id int); \
               insert into names select chr(n) || 'a' from generate_series(32, 600) n; \
               insert into names values (''), ('b''\"\\'), ('Z')";
    postgres.psql(sql).expect("rows");
    let numbers = PostgresOrigin::prepare(contract(str::to_owned), pool.clone()).await;
    let numbers = numbers.expect("it fits");
    let named = contract(|text| text.replace("products", "names"));
    let names = PostgresOrigin::prepare(named, pool.clone()).await.expect("it fits");
    for (origin, sql) in [(&numbers, "products"), (&names, "names")] {
        assert_eq!(unsuitable(origin).await, None);
        let count = postgres.psql(&format!("select count(*) from {sql}")).expect("a count");
        let count: usize = count.trim().parse().expect("a number");
        for most in [7, 100, 10_000] {
            let mut ids = scan_all(origin, most).await;
            assert_eq!(ids.len(), count, "{sql} by {most}");
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count, "{sql} by {most}");
        }
    }
    postgres.psql("analyze products").expect("analyzed");
    let about = numbers.key_scan().expect("a scan").estimate().await.expect("an answer").keys;
    assert_eq!(about, 2_500);
    for (sql, why) in [
        ("alter table products enable row level security", "row security"),
        (
            "alter table products disable row level security; create table heir() inherits (products)",
            "inherit",
        ),
        (
            "drop table heir; analyze products; alter table products drop constraint products_pkey",
            "unique",
        ),
        (
            "drop table products; create table products(id int primary key, category_id int, \
             price_cents int, currency text, vip boolean) partition by range (id)",
            "plain table",
        ),
        (
            "create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             drop table products; create table products(id text collate loose primary key, \
             category_id int, price_cents int, currency text, vip boolean)",
            "different texts",
        ),
        ("drop table products", "not there"),
    ] {
        postgres.psql(sql).expect(sql);
        let unsuitable = unsuitable(&numbers).await.unwrap_or_default();
        assert!(unsuitable.contains(why), "{sql}: {unsuitable:?}");
    }
}

#[tokio::test]
async fn sqlite_scan_returns_each_id_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let connection = rusqlite::Connection::open(&path).expect("a file");
    let columns = "category_id int, price_cents int, currency text, vip int";
    let sql = format!(
        "create table numbers(id integer primary key, {columns}); \
         with recursive n(i) as (select -1000 union all select i + 3 from n where i < 5000) \
         insert into numbers(id) select i from n; \
         create table texts(id text primary key, {columns}); \
         insert into texts(id) select 'id-' || id from numbers; \
         create table loose(id text primary key collate nocase, {columns}); \
         create table many(id int, {columns}); create table real(id real primary key, {columns}); \
         create table log(seq int); insert into log values (5)"
    );
    connection.execute_batch(&sql).expect("tables");
    let pool = SqlitePool::new(&path, TIMEOUT).with_log_end("select max(seq) from log");
    let origin = |table: &str| {
        let contract = contract(|text| text.replace("products", table));
        SqliteOrigin::prepare(contract, pool.clone()).expect("it fits")
    };
    for (table, ordinary) in [("numbers", -1000_i64), ("texts", -1000)] {
        let origin = origin(table);
        assert_eq!(unsuitable(&origin).await, None, "{table}");
        let about = origin.key_scan().expect("a scan").estimate().await.expect("an answer").keys;
        for most in [7, 100, 10_000] {
            let mut ids = scan_all(&origin, most).await;
            assert!(ids.iter().any(|id| id.ends_with(&ordinary.to_string())), "{ids:?}");
            assert_eq!(ids.len() as u64, about, "{table} by {most}");
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len() as u64, about, "{table} by {most}");
        }
    }
    for (table, why) in [("loose", "different texts"), ("many", "unique"), ("real", "integer")] {
        let unsuitable = unsuitable(&origin(table)).await.unwrap_or_default();
        assert!(unsuitable.contains(why), "{table}: {unsuitable:?}");
    }
}

/// Starts a primary with the table, and a standby that has replayed it.
fn with_standby() -> (Postgres, Postgres, PostgresPool) {
    let (primary, pool) = postgres();
    let standby = primary.standby().expect("a standby starts");
    standby.catch_up(&primary).expect("it follows");
    (primary, standby, pool)
}

fn probed_standby(url: &str) -> Arc<Standby> {
    let url = url.parse().expect("a url");
    Arc::new(Standby::new("shop", &url, 4, TIMEOUT).expect("one host"))
}

#[tokio::test]
async fn standby_reports_its_position() {
    let (primary, standby, pool) = with_standby();
    let (prices, stocks) = (contract(str::to_owned), stock_contract());
    let probed = probed_standby(&standby.url("postgres"));
    let standbys = std::slice::from_ref(&probed);
    let price = PostgresOrigin::prepare(prices.clone(), pool.clone()).await.expect("it fits");
    let stock = PostgresOrigin::prepare(stocks.clone(), pool).await.expect("it fits");
    let (price, stock) = (price.with_standbys(standbys), stock.with_standbys(standbys));
    let (price, stock) = (&*price.standbys()[0], &*stock.standbys()[0]);
    assert_eq!(price.replayed(), None, "not used before the first probe");
    let first = probed.probe().await.expect("it streams");
    assert_eq!(price.replayed(), Some(first));
    assert_eq!(price.name(), format!("shop@{}", standby.addr()));
    check_loads(price, &prices, "true").await;
    check_batch_loads((price, &prices), (stock, &stocks)).await;

    primary.psql("update products set price_cents = 5 where id = 42").expect("updated");
    standby.catch_up(&primary).expect("it follows");
    let loaded = load(price, &prices, "42").await.expect("a row");
    let replayed = loaded.replayed.expect("it says how far it was");
    assert!(replayed.upto > first.upto, "{replayed:?}");
    assert_eq!(
        (replayed.log, loaded.seen),
        (first.log, None),
        "a standby does not report the log's end"
    );
    assert_eq!(price.replayed(), Some(replayed), "a load reports as much as a probe");
    assert!(body(loaded).contains("\"price_cents\":5"));
}

/// A standby lags, so an origin's pool must not take it for the primary.
#[tokio::test]
async fn pool_connects_only_to_primary() {
    let (primary, standby, _) = with_standby();
    let prices = contract(str::to_owned);
    let pool = |url: &str| PostgresPool::new(&url.parse().expect("a url"), 1, TIMEOUT);
    let refused = PostgresOrigin::prepare(prices.clone(), pool(&standby.url("postgres"))).await;
    let err = refused.err().expect("a standby");
    assert_eq!(err.kind, OriginErrorKind::Unavailable, "{err}");
    assert!(err.message.contains("is a standby, not the primary"), "{err}");

    let both = format!("postgres://postgres@{},{}/postgres", standby.addr(), primary.addr());
    let origin = PostgresOrigin::prepare(prices.clone(), pool(&both)).await.expect("it fits");
    let loaded = load(&origin, &prices, "42").await.expect("a row");
    assert!(loaded.seen.is_some(), "only a primary reports the log's end");
}

/// Rows change one by one while a standby lags, pauses and resumes. The position that a load reports must
/// not be after a change that the load does not show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_05_standby_shows_reported_position() {
    let (primary, standby, pool) = with_standby();
    let prices = contract(str::to_owned);
    let probed = probed_standby(&standby.url("postgres"));
    let origin = PostgresOrigin::prepare(prices.clone(), pool).await.expect("it fits");
    let origin = origin.with_standbys(&[probed]);
    let origin = &*origin.standbys()[0];
    let url = primary.url("postgres");
    let connecting = tokio_postgres::connect(&url, tokio_postgres::NoTls);
    let (client, connection) = connecting.await.expect("connects");
    tokio::spawn(connection);
    // Each price with the end of its commit. There are no other writes.
    let written = tokio::sync::Mutex::new(Vec::new());
    let writes = async {
        for cents in 2_000..3_000 {
            let update = "update products set price_cents = $1 where id = 42";
            client.execute(update, &[&cents]).await.expect("updated");
            let end = client.query_one("select pg_current_wal_insert_lsn()::text", &[]).await;
            let end: String = end.expect("a position").get(0);
            written.lock().await.push((end.parse::<Lsn>().expect("a position"), cents));
            match cents {
                2_300 => standby.pause_replay().expect("paused"),
                2_600 => standby.resume_replay().expect("goes on"),
                _ => {}
            }
        }
    };
    let reads = async {
        let mut shown = Vec::new();
        loop {
            let loaded = load(origin, &prices, "42").await.expect("a row");
            let replayed = loaded.replayed.expect("how far");
            let body: serde_json::Value = serde_json::from_str(&body(loaded)).expect("JSON");
            let cents =
                i32::try_from(body["price_cents"].as_i64().expect("a price")).expect("small");
            shown.push((replayed.upto, cents));
            if cents == 2_999 {
                return shown;
            }
        }
    };
    let both = tokio::time::timeout(EVENTUALLY, async { tokio::join!(writes, reads) });
    let ((), shown) = both.await.expect("the standby gets there");
    let written = written.into_inner();
    for (upto, cents) in &shown {
        let owed = written.iter().filter(|(end, _)| end <= upto).map(|(_, cents)| *cents).max();
        assert!(owed <= Some(*cents), "{cents} is shown at {upto}, which has {owed:?}");
    }
    let lagged = shown.windows(2).filter(|pair| pair[0].1 == pair[1].1).count();
    println!("{} loads, {lagged} of them while the standby stood still", shown.len());
}

#[tokio::test]
async fn load_notices_lost_standby() {
    let (mut primary, standby, pool) = with_standby();
    let prices = contract(str::to_owned);
    let probed = probed_standby(&standby.url("postgres"));
    let origin = PostgresOrigin::prepare(prices.clone(), pool).await.expect("it fits");
    let origin = origin.with_standbys(std::slice::from_ref(&probed));
    let origin = &*origin.standbys()[0];
    probed.probe().await.expect("it streams");
    load(origin, &prices, "42").await.expect("a row");

    primary.stop().expect("stopped");
    // Until the standby itself notices the lost connection.
    let refused = async {
        loop {
            match load(origin, &prices, "42").await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(err) => return err,
            }
        }
    };
    let err = tokio::time::timeout(EVENTUALLY, refused).await.expect("it is noticed");
    assert_eq!(err.kind, OriginErrorKind::Refused, "{err}");
    assert!(err.message.contains("does not stream"), "{err}");
    assert_eq!(origin.replayed(), None, "not used before the next probe");

    standby.promote().expect("promoted");
    standby.psql("update products set price_cents = 1 where id = 42").expect("it takes writes");
    let err = load(origin, &prices, "42").await.expect_err("a primary of its own");
    assert!(err.message.contains("promoted"), "{err}");
    let key = prices.key("42").expect("a key");
    let asks = [LoadItem { origin, key: &key, id: "42" }; 2];
    let loaded = origin.load_many(&asks).await.expect("it answers");
    for item in loaded.items {
        let err = item.expect_err("a primary of its own");
        assert!(err.message.contains("promoted"), "{err}");
    }
    let err = probed.probe().await.expect_err("a primary of its own");
    assert!(err.message.contains("promoted"), "{err}");
}

#[tokio::test]
async fn hidden_timeline_names_the_grant() {
    let (primary, standby, _) = with_standby();
    primary.psql("create role shop login").expect("a role");
    standby.catch_up(&primary).expect("it follows");
    let probed = probed_standby(&standby.url_as("shop", "postgres"));
    let err = probed.probe().await.expect_err("it may not see");
    assert_eq!(err.kind, OriginErrorKind::Broken, "{err}");
    assert!(err.message.contains("grant pg_read_all_stats"), "{err}");
    primary.psql("grant pg_read_all_stats to shop").expect("granted");
    standby.catch_up(&primary).expect("it follows");
    probed.probe().await.expect("it may now");
}
