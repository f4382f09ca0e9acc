//! `tidegate init`: from a database to a served row, on each database.

use harness::{MariaDb, Postgres};

use super::{Desk, answer, sqlite};
use crate::stack::Node;

/// A change of the database is in the answers.
fn assert_update_served(node: &Node, update: impl FnOnce()) {
    let price = |node: &Node| answer(node, "/data/products/42").contains("\"price_cents\":1042");
    assert!(price(node), "{}", answer(node, "/data/products/42"));
    update();
    node.wait("the new price", |node| {
        answer(node, "/data/products/42").contains("\"price_cents\":2000")
    });
}

const PRODUCTS: &str = "create table products(id int primary key, name text, price_cents int); \
     insert into products values (42, 'thing', 1042);";

#[test]
fn postgres_first_configuration_serves() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    for sql in
        ["create role shop login replication password 'hunter2'", "create database shop owner shop"]
    {
        postgres.psql(sql).expect("a role and a database");
    }
    let sql = |sql: &str| postgres.psql_as("shop", "shop", sql).expect("it runs");
    sql(PRODUCTS);
    sql("create table \"Order Items\"(order_id int, item int, primary key(order_id, item))");
    sql("create table notes(text text); create view cheap as select * from products");
    sql("create table customers(id uuid primary key, email text, name text)");
    sql("create table schema_migrations(version text primary key)");
    let url = postgres.url_as("shop:hunter2", "shop");
    let desk = Desk::new().env("DATABASE_URL", &url);
    let ended = desk.run(&["init"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "wrote tidegate.toml: 1 contract\n",
        "products: a row of products by id",
        "Order Items: its primary key has several columns (order_id, item)",
        "notes: it has no primary key",
        "cheap: it is a view",
        "customers: it looks personal or secret (email): --table customers",
        "schema_migrations: it belongs to a migration tool",
        "ok      [source.shop]",
        "accepted by ada",
        "export DATABASE_URL=",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let file = desk.read("tidegate.toml");
    assert!(file.contains("url = \"$DATABASE_URL\""), "{file}");
    assert!(!(file + &ended.text()).contains("hunter2"), "{ended:?}");
    let ended = desk.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("0 errors, 0 warnings"), "{ended:?}");
    let node = desk.serve("tidegate.toml");
    assert_update_served(&node, || {
        sql("update products set price_cents = 2000");
    });
}

#[test]
fn mariadb_first_configuration_serves() {
    let mariadb = MariaDb::start().expect("MariaDB starts");
    mariadb.sql("create database shop; create user shop identified by 'hunter2'").expect("a user");
    mariadb.sql("grant select on shop.* to shop").expect("granted");
    mariadb.sql_in("shop", PRODUCTS).expect("a table");
    mariadb
        .sql_in("shop", "create table pictures(id int primary key, data blob) engine=Aria; create table texts(id varchar(9) primary key); \
                   create table codes(id varchar(9) collate utf8mb4_bin primary key, n int)")
        .expect("tables");
    let url = mariadb.url_as("shop:hunter2", "shop");
    let desk = Desk::new();
    let ended = desk.run(&["init", "--database", &url]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for part in [
        "wrote tidegate.toml: 2 contracts\n",
        "pictures: its engine is Aria, not InnoDB",
        "texts: its key `id` is of type varchar collate utf8mb4_",
        "grant binlog monitor, replication slave on *.* to 'shop'@'%';",
        "create table if not exists `shop`.tidegate_orders(",
        "tidegate check --connect tidegate.toml   # once the failures above are repaired",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(!(desk.read("tidegate.toml") + &ended.text()).contains("hunter2"), "{ended:?}");
    // The printed statements, as an administrator runs them.
    let statements: Vec<&str> = ended
        .stdout
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("grant ") || line.starts_with("create table"))
        .collect();
    mariadb.sql(&statements.join("\n")).expect("they run");
    let desk = desk.env("DATABASE_URL", &url);
    let ended = desk.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let node = desk.serve("tidegate.toml");
    assert_update_served(&node, || {
        mariadb.sql_in("shop", "update products set price_cents = 2000").expect("updated");
    });
}

#[test]
fn sqlite_first_configuration_serves() {
    let desk = Desk::new();
    let path = desk.path("my shop.db");
    sqlite(&path, PRODUCTS);
    sqlite(&path, "create table users(id integer primary key, name text, password_hash text)");
    let url = format!("sqlite:{}", path.display());
    let ended = desk.run(&["init", "shop.toml", "--database", &url]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stdout.contains("users: it looks personal or secret (password_hash)"),
        "{ended:?}"
    );
    assert_eq!(desk.run(&["check", "--connect", "shop.toml"]).code, Some(0));
    let node = desk.serve("shop.toml");
    assert_update_served(&node, || sqlite(&path, "update products set price_cents = 2000"));
}

#[test]
fn named_table_without_sensitive_columns() {
    let desk = Desk::new();
    sqlite(
        &desk.path("shop.db"),
        "create table users(id integer primary key, name text, email text); \
         create table other(id integer primary key); insert into users values (1, 'Ada', 'ada@x')",
    );
    let init = ["init", "--database", "sqlite:shop.db", "--print", "--owner", "accounts"];
    let ended = desk.run(&[&init[..], &["--table", "users"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "# Not in the value: email.",
        "\"select id, name from users where id = $id\"",
        "owner     = \"accounts\"",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("[data.other]") && !desk.path("tidegate.toml").exists());
    let ended = desk.run(&[&init[..], &["--table", "user"]].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("did you mean `users`?"), "{ended:?}");
}

#[test]
fn existing_file_left_as_it_is() {
    let desk = Desk::new();
    sqlite(&desk.path("shop.db"), PRODUCTS);
    desk.write("tidegate.toml", "# mine\n");
    let ended = desk.run(&["init", "--database", "sqlite:shop.db"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("tidegate.toml exists and is left as it is"), "{ended:?}");
    assert_eq!(desk.read("tidegate.toml"), "# mine\n");
}

#[test]
fn unusable_database_writes_nothing() {
    let desk = Desk::new();
    sqlite(&desk.path("empty.db"), "create view v as select 1");
    for (args, code, part) in [
        (&["init"][..], 2, "give --database URL, or set DATABASE_URL"),
        (&["init", "--database", "shop.db"], 2, "write postgres://"),
        (&["init", "--database", "sqlite:missing.db"], 3, "missing.db"),
        (&["init", "--database", "sqlite:empty.db"], 3, "v: it is a view"),
        (&["init", "--database", "postgres://u:hunter2@127.0.0.1:1/d"], 3, "127.0.0.1:1"),
        (&["init", "--database", "sqlite:empty.db", "--upstream", "x"], 3, ""),
    ] {
        let ended = desk.run(args);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(part), "{args:?}: {ended:?}");
        assert!(!ended.text().contains("hunter2"), "{ended:?}");
        assert!(!desk.path("tidegate.toml").exists(), "{args:?}");
    }
}
