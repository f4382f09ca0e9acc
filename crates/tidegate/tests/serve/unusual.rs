//! Databases that are unlike the example: names, types, keys, errors of rows, and poolers in between.

use harness::http::{self, Response};

use crate::stack::{DEADLINE, Node, Stack, tier};

fn contract(name: &str, value: &str, table: &str, tags: &str) -> String {
    format!(
        "\n[data.{name}]\nkey = \"v1:catalog:{name}:{{id}}\"\nid = \"text\"\nvalue = '''{value}'''\n\
         from = {{ source = \"shop\", table = '{table}', key = \"id\" }}\n\
         tags = [{tags}]\nstaleness = \"60s\"\nowner = \"t\"\n\
         approved = {{ by = [\"product\"], on = 2026-11-02 }}\n"
    )
}

fn get(node: &Node, path: &str) -> Response {
    http::get(node.data, &format!("/data/{path}"), DEADLINE).expect("an answer")
}

fn wait_cached(node: &Node, path: &str) -> String {
    node.wait("a cached answer", |node| tier(&get(node, path)) == Some("local"));
    get(node, path).text()
}

#[test]
fn sibling_with_equal_value_invalidates() {
    let stack = Stack::start();
    let kinds = [
        ("boolean", "true", "true"),
        ("char(5)", "'ab'", "'ab '"),
        ("numeric", "1.0", "1.00"),
        ("float8", "0.0", "'-0'"),
        ("timestamptz", "'2026-11-30 10:00+00'", "'2026-11-30 11:00+01'"),
        ("timestamp", "'2026-11-30 10:00'", "'2026-11-30 10:00'"),
        ("bytea", "'\\x00ff'", "'\\x00ff'"),
        ("inet", "'10.0.0.1/32'", "'10.0.0.1'"),
        ("time", "'10:00'", "'10:00:00.0'"),
    ];
    let mut contracts = String::new();
    for (at, (kind, first, second)) in kinds.into_iter().enumerate() {
        stack.sql(&format!(
            "create table t{at}(id int primary key, g {kind}, n int); \
             alter table t{at} replica identity full; \
             insert into t{at} values (1, {first}, 0), (2, {second}, 1)"
        ));
        let value = format!(
            "select (select sum(n) from t{at} o where o.g = t.g) as n from t{at} t where id = $id"
        );
        contracts += &contract(&format!("t{at}"), &value, &format!("t{at}"), "\"g-{g}\"");
    }
    stack
        .postgres
        .psql(
            "alter role shop set timezone = 'America/St_Johns'; \
             alter role shop set datestyle = 'German'; \
             alter role shop set bytea_output = 'escape'; alter role shop set extra_float_digits = -5",
        )
        .expect("settings");
    let node = stack.node_with(|config| config + &contracts);
    for (at, kind) in kinds.iter().enumerate() {
        assert_eq!(wait_cached(&node, &format!("t{at}/1")), r#"{"n":1}"#, "{kind:?}");
    }
    for (at, kind) in kinds.iter().enumerate() {
        stack.sql(&format!("update t{at} set n = 5 where id = 2"));
        let what = format!("the sum with the sibling, of {kind:?}");
        node.wait(&what, |node| get(node, &format!("t{at}/1")).text() == r#"{"n":5}"#);
    }
}

#[test]
fn any_names_and_key_types_served() {
    let stack = Stack::start();
    stack.sql(
        r#"create table "daily.Prices"(id int primary key, x int, y int, "categoryId" int);
           alter table "daily.Prices" replica identity full;
           insert into "daily.Prices" values (1, 2, 3, 6), (2, 0, 0, 6);
           create type mood as enum ('ok', 'bad');
           create table moods(id mood primary key, n int); insert into moods values ('ok', 1);
           create domain sku as text check (value <> ''); create domain part as sku;
           create table parts(id part primary key, n int); insert into parts values ('a-1', 1);
           create table padded(id char(5) primary key, n int); insert into padded values ('ab', 1);
           create table legacy(id numeric(20, 0) primary key, n int);
           insert into legacy values (42, 1)"#,
    );
    let mut contracts = contract(
        "daily",
        r#"select x, y, (select sum(y) from "daily.Prices") as s from "daily.Prices" where id = $id"#,
        r#""daily.Prices""#,
        r#""c-{categoryId}""#,
    );
    let tables = [
        ("moods", "ok", "bad"),
        ("parts", "a-1", "b"),
        ("padded", "ab", "cd"),
        ("legacy", "42", "7"),
    ];
    for (table, ..) in tables {
        let value = format!("select n from {table} where id = $id");
        contracts += &contract(table, &value, table, "");
    }
    let node = stack.node_with(|config| {
        let at = format!("{}/shop", stack.postgres.addr());
        (config + &contracts).replace(&at, &format!("{at}?target_session_attrs=read-write"))
    });
    assert_eq!(wait_cached(&node, "daily/1"), r#"{"x":2,"y":3,"s":3}"#);
    stack.sql(r#"update "daily.Prices" set y = 4 where id = 2"#);
    node.wait("the sibling's change", |node| get(node, "daily/1").text().contains("\"s\":7"));
    for (table, id, absent) in tables {
        let (path, missing) = (format!("{table}/{id}"), format!("{table}/{absent}"));
        assert_eq!(wait_cached(&node, &path), r#"{"n":1}"#, "{table}");
        stack.sql(&format!("update {table} set n = 2 where id = '{id}'"));
        node.wait("the new value", |node| get(node, &path).text() == r#"{"n":2}"#);
        assert_eq!(get(&node, &missing).status, 404, "{table}");
        node.wait("remembered absence", |node| tier(&get(node, &missing)) == Some("local"));
        stack.sql(&format!("insert into {table} values ('{absent}', 3)"));
        node.wait("the new row", |node| get(node, &missing).text() == r#"{"n":3}"#);
    }
    assert_eq!(get(&node, "moods/furious").status, 400, "no label of the enum");
}

#[test]
fn altered_table_with_dot_noticed() {
    let stack = Stack::start();
    stack.sql(r#"create table "a.b"(id int primary key, n int); insert into "a.b" values (1, 1)"#);
    let value = r#"select n from "a.b" where id = $id"#;
    let contracts = contract("dotted", value, r#"public."a.b""#, "");
    let node = stack.node_with(|config| config + &contracts);
    assert_eq!(wait_cached(&node, "dotted/1"), r#"{"n":1}"#);
    // The log does not show the change; the watch of the catalogue does.
    stack.sql(r#"alter table "a.b" alter column n type text using 'n' || n"#);
    node.wait("the altered value", |node| get(node, "dotted/1").text() == r#"{"n":"n1"}"#);
}

#[test]
fn error_of_a_row_is_the_origins() {
    let stack = Stack::start();
    let value = "select 100 / price_cents as r from products where id = $id";
    let contracts = contract("ratio", value, "products", "");
    stack.sql("update products set price_cents = 0 where id = 2");
    let node = stack.node_with(|config| config + &contracts);
    let failed = get(&node, "ratio/2");
    assert_eq!(failed.status, 502, "{}", failed.text());
    assert!(failed.text().contains("division by zero"), "{}", failed.text());
    assert_eq!(get(&node, "ratio/1").status, 200, "other rows are not affected");
    for wrong in ["abc", "99999999999999999999"] {
        assert_eq!(get(&node, &format!("ratio/{wrong}")).status, 400, "{wrong}");
    }
    stack.price(2, 50);
    node.wait("the value", |node| get(node, "ratio/2").text() == r#"{"r":2}"#);
}

#[test]
fn deferrable_key_named_with_its_remedy() {
    let stack = Stack::start();
    stack.sql(
        "create table later(id int primary key deferrable, n int); insert into later values (1, 1)",
    );
    let contracts = contract("later", "select n from later where id = $id", "later", "");
    let output = stack.refusal(|config| config + &contracts);
    assert!(output.contains("is deferrable") && !output.contains("no primary key"), "{output}");
    stack.sql("alter table later replica identity full");
    let node = stack.node_with(|config| config + &contracts);
    assert_eq!(wait_cached(&node, "later/1"), r#"{"n":1}"#);
    stack.sql("update later set n = 2");
    node.wait("the new value", |node| get(node, "later/1").text() == r#"{"n":2}"#);
}

#[test]
fn tag_without_one_text_refused_at_start() {
    let stack = Stack::start();
    stack.sql("create table costs(id int primary key, c money)");
    let contracts = contract("costs", "select c from costs where id = $id", "costs", "\"c-{c}\"");
    let output = stack.refusal(|config| config + &contracts);
    for part in ["costs.c", "money", "lc_monetary", "Use a tag column of another type"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}

#[test]
fn pooler_named_with_its_remedy() {
    let stack = Stack::start();
    let pooler = stack.postgres.pooler("pool_mode = session").expect("a pooler");
    let server = stack.postgres.addr().to_string();
    let output = stack.refusal(|config| config.replace(&server, &pooler.addr().to_string()));
    for part in ["connection pooler", "use the address of PostgreSQL itself"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}
