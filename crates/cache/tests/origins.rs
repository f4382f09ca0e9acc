//! Loading values with one statement, on SQLite and on a real PostgreSQL.

use std::time::Duration;

use cache::origin::postgres::{PostgresOrigin, PostgresPool};
use cache::origin::sqlite::{SqliteOrigin, SqlitePool};
use cache::{Content, Loaded, Origin, OriginError, OriginErrorKind};
use contract::{Contract, Tag};
use harness::Postgres;

const PATIENCE: Duration = Duration::from_secs(5);

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

async fn answers_as_promised(origin: &dyn Origin, contract: &Contract, vip: &str) {
    let found = load(origin, contract, "42").await.expect("a row");
    assert_eq!(found.tags, tags(&["product-42", "category-7"]));
    assert_eq!(body(found), format!(r#"{{"price_cents":1299,"currency":"GBP","vip":{vip}}}"#));

    let absent = load(origin, contract, "43").await.expect("no row is an answer");
    assert_eq!(absent.content, Content::Absent);
    assert_eq!(absent.tags, tags(&["product-43"]), "the INSERT's tags reach what is known");

    for wrong in ["042", "+42", "42 ", "abc", "99999999999999999999"] {
        let err = load(origin, contract, wrong).await.expect_err(wrong);
        assert_eq!(err.kind, OriginErrorKind::BadRequest, "{wrong}: {err}");
    }
}

fn postgres() -> (Postgres, PostgresPool) {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    postgres
        .psql(
            "create table products(id int primary key, category_id int, price_cents int, \
             currency text, vip boolean); \
             insert into products values (42, 7, 1299, 'GBP', true)",
        )
        .expect("a table");
    let pool = PostgresPool::new(&postgres.url("postgres"), 4, PATIENCE).expect("a pool");
    (postgres, pool)
}

#[tokio::test]
async fn an_id_that_is_written_otherwise_is_refused() {
    let (_postgres, pool) = postgres();
    let contract = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    assert_eq!(origin.name(), "shop");
    answers_as_promised(&origin, &contract, "true").await;
}

#[tokio::test]
async fn sqlite_answers_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let connection = rusqlite::Connection::open(&path).expect("a file");
    connection
        .execute_batch(
            "create table products(id integer primary key, category_id int, price_cents int, \
             currency text, vip int); insert into products values (42, 7, 1299, 'GBP', 1)",
        )
        .expect("a table");
    let contract = contract(str::to_owned);
    let pool = SqlitePool::new(&path, PATIENCE);
    let origin = SqliteOrigin::prepare(contract.clone(), pool).expect("it fits");
    answers_as_promised(&origin, &contract, "1").await;
}

#[tokio::test]
async fn what_does_not_fit_the_database_is_said_at_once() {
    let (postgres, pool) = postgres();
    postgres
        .psql("create table padded(id char(8) primary key); create table amounts(id numeric primary key)")
        .expect("tables");
    for (from, to, says) in [
        ("price_cents, currency", "price_pennies", "price_pennies"),
        ("table = \"products\"", "table = \"prodcts\"", "prodcts"),
        ("key = \"id\"", "key = \"sku\"", "sku"),
        ("where id = $id", "where id = 1", "$id"),
        ("table = \"products\"", "table = \"padded\"", "character"),
        ("table = \"products\"", "table = \"amounts\"", "numeric"),
    ] {
        let contract = contract(|text| text.replace(from, to));
        let refused = PostgresOrigin::prepare(contract, pool.clone()).await;
        let err = refused.err().unwrap_or_else(|| panic!("{to} fits"));
        assert!(err.message.contains(says), "{to}: {err}");
    }
}

#[tokio::test]
async fn two_rows_for_one_id_are_a_mistake_of_the_contract() {
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
async fn a_database_that_goes_away_is_unavailable_and_comes_back() {
    let (mut postgres, pool) = postgres();
    let contract = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    load(&origin, &contract, "42").await.expect("a row");
    postgres.stop().expect("stopped");
    let err = load(&origin, &contract, "42").await.expect_err("nobody there");
    assert_eq!(err.kind, OriginErrorKind::Unavailable, "{err}");
    postgres.start_again().expect("started");
    // A connection of before may have to be found dead first.
    let _ = load(&origin, &contract, "42").await;
    load(&origin, &contract, "42").await.expect("a row again");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let (postgres, _) = postgres();
    let pool = PostgresPool::new(&postgres.url("postgres"), 1, Duration::from_millis(300))
        .expect("a pool");
    let contract =
        contract(|text| text.replace("select price_cents", "select pg_sleep(30), price_cents"));
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let err = load(&origin, &contract, "42").await.expect_err("too slow");
    assert_eq!(err.kind, OriginErrorKind::Timeout, "{err}");
}
