//! Keys and tags: the columns that make them, and the names in statements.

use super::*;

/// Settings that change the text of values, as a role or a database may have them.
const HOSTILE: &str = "alter role shop set datestyle = 'SQL, DMY'; \
    alter role shop set timezone = 'America/St_Johns'; alter role shop set intervalstyle = 'iso_8601'; \
    alter role shop set bytea_output = 'escape'; alter role shop set extra_float_digits = -15; \
    alter role shop set standard_conforming_strings = off";

fn contract_of(table: &str, value: &str, tags: &str) -> Contract {
    let text = format!(
        "key = \"v1:catalog:t:{{id}}\"\nid = \"text\"\nvalue = '''{value}'''\n\
         from = {{ source = \"shop\", table = '{table}', key = \"id\" }}\n\
         tags = [{tags}]\nstaleness = \"30s\""
    );
    Contract::from_toml("t", &text.parse().expect("TOML")).expect("a contract")
}

/// Starts a server whose role `shop` has hostile settings, and runs `sql`.
fn hostile(sql: &str) -> (Postgres, PostgresPool) {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    postgres.psql("create role shop login; grant all on schema public to shop").expect("a role");
    postgres.psql(HOSTILE).expect("settings");
    postgres.psql(sql).expect(sql);
    postgres.psql("grant select on all tables in schema public to shop").expect("rights");
    let url = postgres.url_as("shop", "postgres").parse().expect("a url");
    (postgres, PostgresPool::new(&url, 2, TIMEOUT))
}

#[tokio::test]
async fn tag_has_the_text_of_the_log() {
    let cases = [
        ("boolean", "true", "t"),
        ("char(5)", "'ab'", "ab"),
        ("varchar(5)", "'ab '", "ab%20"),
        ("numeric", "1.50", "1.5"),
        ("numeric(9,3)", "2", "2"),
        ("float8", "0.1::float8 + 0.2", "0.30000000000000004"),
        ("float8", "-0.0::float8", "0"),
        ("float4", "'1e20'", "1e+20"),
        ("date", "'0044-03-15 BC'", "0044-03-15%20BC"),
        ("date", "'2026-11-30'", "2026-11-30"),
        ("timestamp", "'2026-11-30 10:00:00.50'", "2026-11-30%2010:00:00.5"),
        ("timestamptz", "'2026-11-30 10:00:00.50+05'", "2026-11-30%2005:00:00.5+00"),
        ("timestamptz", "'0044-03-15 10:00:00+00 BC'", "0044-03-15%2010:00:00+00%20BC"),
        ("timestamptz", "'-infinity'", "-infinity"),
        ("time", "'10:00:00.50'", "10:00:00.5"),
        ("timetz", "'10:00:00+05:30'", "10:00:00+05:30"),
        ("bytea", r"'\x00ff'", r"\x00ff"),
        ("inet", "'10.0.0.1/32'", "10.0.0.1"),
        ("cidr", "'10.0.0.0/8'", "10.0.0.0/8"),
        ("macaddr", "'08-00-2B-01-02-03'", "08:00:2b:01:02:03"),
        ("bit(3)", "b'101'", "101"),
        ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("int[]", "'{1,2,null}'", "{1,2,NULL}"),
        ("boolean[]", "'{t,f}'", "{t,f}"),
        ("text[]", "array['a b']", "{\"a%20b\"}"),
        ("int4range", "'[1,5]'", "[1,6)"),
        ("daterange", "'[2026-01-01,2026-01-02]'", "[2026-01-01,2026-01-03)"),
        ("mood", "'ok'", "ok"),
        ("pair", "row(null, true)", "(,t)"),
        ("pair", "row(null, null)", "(,)"),
        ("price", "3", "3.00"),
        ("label", "'x'", "x"),
        ("xml", "'<a/>'", "<a/>"),
    ];
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(at, (kind, ..))| format!("c{at} {kind}")).collect();
    let values: Vec<&str> = cases.iter().map(|(_, value, _)| *value).collect();
    let (_postgres, pool) = hostile(&format!(
        "create type mood as enum ('ok'); create type pair as (a int, b boolean); \
         create domain price as numeric(9,2); create domain label as text; \
         create table t(id int primary key, {}); insert into t values (1, {})",
        columns.join(", "),
        values.join(", ")
    ));
    let templates: Vec<String> = (0..cases.len()).map(|at| format!("\"{at}-{{c{at}}}\"")).collect();
    let contract = contract_of("t", "select id from t where id = $id", &templates.join(", "));
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let loaded = load(&origin, &contract, "1").await.expect("a row");
    for (at, (kind, value, text)) in cases.into_iter().enumerate() {
        let expected = Tag::parse(&format!("{at}-{text}")).expect("a tag");
        assert!(loaded.tags.contains(&expected), "{kind} {value}: {expected} in {:?}", loaded.tags);
    }
}

#[tokio::test]
async fn column_without_one_text_refused() {
    let (postgres, pool) = hostile(
        "create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         create extension citext; create domain amount as numeric; create type mixed as (a int, b money); \
         create type span as range (subtype = text, collation = loose); \
         create type named as (a int, b text collate loose); create domain names as named[]",
    );
    for (kind, says) in [
        ("money", "lc_monetary"),
        ("mixed", "lc_monetary"),
        ("regclass", "catalogue"),
        ("timestamptz[]", "time zone"),
        ("tstzrange", "time zone"),
        ("numeric[]", "several texts"),
        ("numrange", "several texts"),
        ("amount", "several texts"),
        ("interval", "several texts"),
        ("jsonb", "several texts"),
        ("point", "several texts"),
        ("citext", "several texts"),
        ("citext[]", "several texts"),
        ("text collate loose", "collation"),
        ("text[] collate loose", "collation"),
        ("span", "collation"),
        ("named", "collation"),
        ("names", "collation"),
    ] {
        postgres
            .psql(&format!("drop table if exists t; create table t(id int primary key, c {kind}); grant select on t to shop"))
            .expect(kind);
        let contract = contract_of("t", "select id from t where id = $id", "\"c-{c}\"");
        let err = PostgresOrigin::prepare(contract, pool.clone()).await.err().expect(kind);
        assert!(err.message.contains(says) && err.message.contains("t.c"), "{kind}: {err}");
        // A column of the value may be of any type.
        let contract = contract_of("t", "select id, c from t where id = $id", "\"t-{id}\"");
        PostgresOrigin::prepare(contract, pool.clone()).await.expect(kind);
    }
}

#[tokio::test]
async fn key_of_any_canonical_type() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("mood", "ok", &["OK", "other", ""]),
        ("number", "42", &["042", "+42", "abc"]),
        ("label", "a b", &[]),
        ("nested", "x", &[]),
        ("char(5)", "ab", &["ab ", "ab   "]),
        ("numeric(9,2)", "1.5", &["1.50", "01.5", "abc", "1,5"]),
        ("numeric(20,0)", "42", &["42.0", "042"]),
        ("date", "2026-11-30", &["30.11.2026", "2026-11-30 ", "today", "2026-11-31"]),
        ("timestamp", "2026-11-30 10:00:00", &["2026-11-30T10:00:00", "2026-11-30"]),
        (
            "timestamptz",
            "2026-11-30 10:00:00+00",
            &["2026-11-30 10:00:00", "2026-11-30 11:00:00+01"],
        ),
        ("boolean", "t", &["true", "1", "T"]),
        ("bytea", r"\x00ff", &[r"\x00FF", r"\000\377"]),
        ("inet", "10.0.0.1", &["10.0.0.1/32", "10.0.0.256"]),
        ("macaddr", "08:00:2b:01:02:03", &["08-00-2B-01-02-03"]),
    ];
    let (postgres, pool) = hostile(
        "create type mood as enum ('ok'); create domain number as int check (value > 0); \
         create domain label as text; create domain nested as label",
    );
    for (kind, id, wrong) in cases {
        let sql = format!(
            "drop table if exists t; create table t(id {kind} primary key, n int); \
             insert into t values ('{id}', 1); grant select on t to shop"
        );
        // The values of the test are not in the style of the role.
        postgres.psql(&format!("set datestyle = 'ISO'; set timezone = 'UTC'; {sql}")).expect(kind);
        let contract = contract_of("t", "select n from t where id = $id", "\"t-{id}\"");
        let origin = PostgresOrigin::prepare(contract.clone(), pool.clone()).await.expect(kind);
        let key = contract.key("1").expect("a key");
        let found = origin.load(&key, id).await.unwrap_or_else(|err| panic!("{kind}: {err}"));
        assert_eq!(body(found), r#"{"n":1}"#, "{kind}");
        for wrong in *wrong {
            let refused = origin.load(&key, wrong).await;
            let err = refused.err().unwrap_or_else(|| panic!("{kind} {wrong:?} is an id"));
            assert_eq!(err.kind, OriginErrorKind::BadRequest, "{kind} {wrong:?}: {err}");
        }
        assert_eq!(scan_all(&origin, 1).await, [*id], "{kind}");
        postgres.psql("delete from t").expect("deleted");
        let absent = origin.load(&key, id).await.unwrap_or_else(|err| panic!("{kind}: {err}"));
        assert_eq!(absent.content, Content::Absent, "{kind}");
    }
}

#[tokio::test]
async fn any_column_and_table_name() {
    let (_postgres, pool) = hostile(
        r#"create table "daily.Prices"(id int primary key, x int, y int, k int, v int, "categoryId" int,
           "columns" int, "value" int);
           insert into "daily.Prices" values (1, 2, 3, 4, 5, 6, 7, 8);
           create schema "my.shop"; create table "my.shop".p(id int primary key, x int);
           insert into "my.shop".p values (1, 9); grant usage on schema "my.shop" to shop;
           grant select on "my.shop".p to shop"#,
    );
    let value = r#"select x, y, k, v, "columns", "value", id from "daily.Prices" where id = $id"#;
    let templates = r#""p-{id}", "c-{categoryId}", "x-{x}", "y-{y}", "columns-{columns}""#;
    let contract = contract_of(r#""daily.Prices""#, value, templates);
    assert!(
        contract.projection(contract::SqlDialect::Postgres).is_ok(),
        "{:?}",
        contract.projection(contract::SqlDialect::Postgres)
    );
    let origin = PostgresOrigin::prepare(contract.clone(), pool.clone()).await.expect("it fits");
    let found = load(&origin, &contract, "1").await.expect("a row");
    assert_eq!(found.tags, tags(&["p-1", "c-6", "x-2", "y-3", "columns-7"]));
    assert_eq!(body(found), r#"{"x":2,"y":3,"k":4,"v":5,"columns":7,"value":8,"id":1}"#);
    let contract =
        contract_of(r#""my.shop".p"#, r#"select x from "my.shop".p where id = $id"#, "\"x-{x}\"");
    assert!(
        contract.projection(contract::SqlDialect::Postgres).is_ok(),
        "{:?}",
        contract.projection(contract::SqlDialect::Postgres)
    );
    let origin = PostgresOrigin::prepare(contract.clone(), pool).await.expect("it fits");
    let found = load(&origin, &contract, "1").await.expect("a row");
    assert_eq!((found.tags.clone(), body(found)), (tags(&["x-9"]), r#"{"x":9}"#.to_owned()));
}
