//! Two databases on one shared tier where the log is MariaDB's or SQLite's.

use std::path::Path;

use harness::{MariaDb, Port, Redis};

use crate::stack::{DEADLINE, Node, start, tier};

/// Starts a node with the contract of a price on this source.
fn launch(folder: &Path, source: &str, redis: &Redis) -> Node {
    let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
    let [data, admin] = ports.each_ref().map(Port::addr);
    let config = format!(
        r#"
        [listen]
        data = "{data}"
        admin = "{admin}"
        [source.shop]
        url = "{source}"
        [shared]
        url = "{}"
        [data.product_price]
        key = "v1:catalog:price:{{id}}"
        value = "select price_cents from products where id = $id"
        from = {{ source = "shop", table = "products", key = "id", columns = ["price_cents"] }}
        staleness = "1s"
        unproven = "read-origin"
        owner = "pricing"
        approved = {{ by = ["product"], on = 2026-11-02 }}
        "#,
        redis.url(),
    );
    let path = folder.join(format!("tidegate-{}.toml", admin.port()));
    std::fs::write(&path, config).expect("written");
    Node { process: start(&path, &[]), gateway: data, data, admin, _ports: ports.into() }
}

fn assert_refused(mut node: Node) {
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("the shared tier follows another database"), "{output}");
}

fn wait_cached(node: &Node, cents: u32) {
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    assert_eq!(node.cents(42), Some(cents));
}

#[test]
fn other_mariadb_database_refused() {
    let mariadb = MariaDb::start().expect("MariaDB starts");
    mariadb
        .sql("create user shop identified by 'secret'; grant binlog monitor, replication slave on *.* to shop")
        .expect("a user");
    for (database, cents) in [("shop", 1), ("staging", 2)] {
        let sql = format!(
            "create database {database}; use {database}; \
             create table products(id int primary key, price_cents int); \
             insert into products values (42, {cents}); \
             create table tidegate_orders(id bigint unsigned auto_increment primary key, \
               message mediumtext character set utf8mb4 not null) engine=InnoDB; \
             grant select on {database}.* to shop; \
             grant insert, delete on {database}.tidegate_orders to shop"
        );
        mariadb.sql(&sql).expect("a database");
    }
    let redis = Redis::start().expect("Redis starts");
    let folder = tempfile::tempdir().expect("a folder");
    let url = |database: &str| mariadb.url_as("shop:secret", database);
    let node = launch(folder.path(), &url("shop"), &redis).ready();
    wait_cached(&node, 1);
    // The binary log, its positions and the server are the same; the lock is another.
    assert_refused(launch(folder.path(), &url("staging"), &redis));
    assert_eq!(node.cents(42), Some(1));
}

#[test]
fn copied_sqlite_file_refused() {
    let redis = Redis::start().expect("Redis starts");
    let folder = tempfile::tempdir().expect("a folder");
    let (original, copy) = (folder.path().join("shop.db"), folder.path().join("copy.db"));
    let run = |file: &Path, sql: &str| {
        let ran = rusqlite::Connection::open(file).and_then(|file| file.execute_batch(sql));
        ran.expect("the statements run");
    };
    run(
        &original,
        "create table products(id int primary key, price_cents int); \
                    insert into products values (42, 1)",
    );
    let url = |file: &Path| format!("sqlite:{}", file.display());
    let node = launch(folder.path(), &url(&original), &redis).ready();
    wait_cached(&node, 1);
    // With the change log in it, and so with its identity.
    run(&original, &format!("vacuum into '{}'", copy.display()));
    run(&copy, "update products set price_cents = 2");
    assert_refused(launch(folder.path(), &url(&copy), &redis));
    assert_eq!(node.cents(42), Some(1));
}
