//! `tidegate check --connect`: the errors of a start, and nothing altered.

use harness::{Port, Postgres};
use serde_json::Value;

use super::{Desk, sqlite};
use crate::stack::Stack;

fn connections(ended: &super::Ended) -> Vec<Value> {
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    json["connections"].as_array().expect("connections").clone()
}

fn objects(stack: &Stack) -> String {
    let sql =
        "select slot_name from pg_replication_slots union all select pubname from pg_publication";
    stack.postgres.psql_in("shop", sql).expect("a list").trim().to_owned()
}

#[test]
fn whole_stack_green_and_unaltered() {
    let stack = Stack::start();
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let desk = Desk::new();
    desk.write("tidegate.toml", &stack.config(ports.each_ref()));
    let ended = desk.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "ok      [source.shop] postgres://shop@",
        "a start runs: create publication \"tidegate\" for table \"public\".\"products\"",
        "ok      [shared] redis://",
        "ok      [upstream] http://",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {ended:?}");
    }
    assert_eq!(objects(&stack), "", "nothing was created");
    let node = stack.node();
    let beside = desk.run(&["check", "--connect", "--json"]);
    assert_eq!(beside.code, Some(0), "beside a node: {beside:?}");
    let connections = connections(&beside);
    assert!(connections.iter().all(|it| it["ok"] == true), "{connections:?}");
    assert_eq!(connections[0]["planned"], Value::Array(Vec::new()), "the node has created it");
    drop(node);
}

/// One failed part does not hide the others, and an absent Redis is no green verdict, although a node starts without it.
#[test]
fn every_failed_part_named() {
    let postgres = Postgres::builder().setting("wal_level", "replica").start().expect("it starts");
    postgres
        .psql("create role shop login; create database shop owner shop")
        .or_else(|_| {
            postgres
                .psql("create role shop login")
                .and_then(|_| postgres.psql("create database shop owner shop"))
        })
        .expect("a role and a database");
    postgres.psql_as("shop", "shop", "create table products(id int primary key, name text, category_id int, price_cents int, currency text)").expect("a table");
    let closed = [(); 2].map(|()| Port::reserve().expect("a free port"));
    let desk = Desk::new();
    let text = include_str!("../../../../../examples/tidegate.toml")
        .replace("127.0.0.1:5432", &postgres.addr().to_string())
        .replace("127.0.0.1:6379", &closed[0].addr().to_string())
        .replace("127.0.0.1:3000", &closed[1].addr().to_string());
    desk.write("tidegate.toml", &text);
    let ended = desk.run(&["check", "--connect", "--json"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let connections = connections(&ended);
    let message = |part: &str| {
        let found = connections.iter().find(|it| it["part"] == part).expect(part);
        assert_eq!(found["ok"], false, "{found}");
        found["message"].as_str().expect("a message").to_owned()
    };
    let source = message("source.shop");
    for statement in ["alter system set wal_level = 'logical'", "alter role \"shop\" replication"] {
        assert!(source.contains(statement), "{source}");
    }
    assert!(message("shared").contains(&closed[0].addr().to_string()));
    assert!(message("upstream").contains(&closed[1].addr().to_string()));
    let json: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(json["verdict"], "bad");
}

/// A port of something that is no HTTP server.
#[test]
fn upstream_without_http_named() {
    let stack = Stack::start();
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let config = stack.config(ports.each_ref());
    let upstream = format!("http://{}", stack.upstream.address);
    let redis = format!("http://{}", stack.redis.addr());
    let desk = Desk::new();
    desk.write("tidegate.toml", &config.replace(&upstream, &redis));
    let ended = desk.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stdout.contains("FAILED  [upstream]"), "{ended:?}");
    assert!(ended.stdout.contains("ok      [shared]"), "{ended:?}");
}

#[test]
fn password_never_shown() {
    let stack = Stack::start();
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let config = stack.config(ports.each_ref()).replace("://shop@", "://shop:hunter2@");
    let desk = Desk::new();
    desk.write("tidegate.toml", &config.replace("/shop\"", "/shop?sslmode=require\""));
    let ended = desk.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(!ended.text().contains("hunter2"), "{ended:?}");
}

/// A check leaves neither triggers in the file nor a record in the audit log.
#[test]
fn sqlite_and_audit_log_unaltered() {
    let desk = Desk::new();
    sqlite(&desk.path("shop.db"), "create table products(id integer primary key, name text)");
    desk.write(
        "tidegate.toml",
        "[source.shop]\nurl = \"sqlite:shop.db\"\n[access]\naudit_log = { file = \"audit.log\" }\n\
         [data.product]\nkey = \"v1:shop:product:{id}\"\nvalue = \"select name from products where id = $id\"\n\
         from = { source = \"shop\", table = \"products\" }\nstaleness = \"30s\"\nowner = \"shop\"\n\
         approved = { by = [\"shop\"], on = 2026-11-02 }\n",
    );
    let ended = desk.run(&["check", "--connect"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!desk.path("audit.log").exists());
    let shop = rusqlite::Connection::open(desk.path("shop.db")).expect("it opens");
    let count = "select count(*) from sqlite_master where name like '%tidegate%'";
    assert_eq!(shop.query_row(count, [], |row| row.get::<_, i64>(0)), Ok(0));
}
