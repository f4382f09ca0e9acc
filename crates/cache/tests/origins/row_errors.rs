//! Errors of a row's value, which say nothing about the id.

use super::*;

#[tokio::test]
async fn error_of_a_value_is_no_bad_id() {
    let (postgres, pool) = postgres();
    postgres.psql("insert into products values (1, 0, 0, 'x', true, 0)").expect("a row");
    for value in [
        "1 / price_cents",
        "currency::int",
        "(9223372036854775807 + 1 + price_cents)",
        "regexp_replace('a', '(', currency)",
        "('{' || currency)::json ->> 'a'",
        "(select stock from products p where p.id > 0)",
        "('[' || currency || ',]')::jsonb",
        "substring('a' from 1 for price_cents - 1)",
        "sqrt(price_cents - 1)",
        "('2026-13-' || '01')::date + price_cents",
    ] {
        let contract =
            contract(|text| text.replace("price_cents, currency, vip", &format!("{value} as v")));
        let origin = PostgresOrigin::prepare(contract.clone(), pool.clone()).await.expect(value);
        let err = load(&origin, &contract, "1").await.expect_err(value);
        assert_eq!(err.kind, OriginErrorKind::Broken, "{value}: {err}");
        let asks: [(&dyn Origin, &Contract, &str); 2] =
            [(&origin, &contract, "1"), (&origin, &contract, "1")];
        for item in load_many(&asks).await.0 {
            let err = item.expect_err(value);
            assert_eq!(err.kind, OriginErrorKind::Broken, "{value}: {err}");
        }
        for wrong in ["abc", "99999999999999999999", "1\0"] {
            let err = load(&origin, &contract, wrong).await.expect_err(wrong);
            assert_eq!(err.kind, OriginErrorKind::BadRequest, "{value} for {wrong:?}: {err}");
        }
    }
}

#[tokio::test]
async fn refused_right_is_no_absence() {
    let (postgres, _) = postgres();
    postgres.psql("create role shop login; grant select on products to shop").expect("a role");
    let url = postgres.url_as("shop", "postgres").parse().expect("a url");
    let pool = PostgresPool::new(&url, 2, TIMEOUT);
    let contract = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    load(&origin, &contract, "42").await.expect("a row");
    let asks: [(&dyn Origin, &Contract, &str); 2] =
        [(&origin, &contract, "42"), (&origin, &contract, "43")];
    for (sql, kind) in [
        ("revoke select on products from shop", OriginErrorKind::Broken),
        ("alter table products rename to products_old", OriginErrorKind::Broken),
        (
            "alter table products_old rename to products; grant select on products to shop; \
             alter table products rename column stock to stocks; \
             alter table products alter column price_cents type bigint",
            OriginErrorKind::Broken,
        ),
    ] {
        postgres.psql(sql).expect(sql);
        let single = load(&origin, &contract, "42").await;
        // After a change of a type the statement may be prepared again; it never says that there is no row.
        match single {
            Err(err) => assert_eq!(err.kind, kind, "{sql}: {err}"),
            Ok(loaded) => assert!(body(loaded).contains("1299"), "{sql}"),
        }
        for item in load_many(&asks[..1]).await.0 {
            match item {
                Err(err) => assert_eq!(err.kind, kind, "{sql}: {err}"),
                Ok(loaded) => assert!(body(loaded).contains("1299"), "{sql}"),
            }
        }
    }
}

#[tokio::test]
async fn bytes_outside_utf8_are_an_error() {
    let (postgres, _) = postgres();
    postgres
        .psql("create database old template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
        .expect("a database");
    postgres
        .psql_in(
            "old",
            "create table products(id text primary key, category_id int, price_cents int, currency text, \
             vip boolean); \
             insert into products values ('1', 1, 1, E'\\351', true), (E'\\351', 1, 1, 'x', true)",
        )
        .expect("a table");
    let pool = PostgresPool::new(&postgres.url("old").parse().expect("a url"), 2, TIMEOUT);
    let contract = contract(str::to_owned);
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let err = load(&origin, &contract, "1").await.expect_err("no text");
    assert_ne!(err.kind, OriginErrorKind::BadRequest, "{err}");
    let page = origin.key_scan().expect("a scan").page(None, 10).await;
    let err = page.expect_err("no text");
    assert_ne!(err.kind, OriginErrorKind::BadRequest, "{err}");
}
