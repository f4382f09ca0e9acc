//! Cases that users of other readers of binary logs have reported.

use crate::mariadb::{Stack, wait_cached};
use crate::stack::{DEADLINE, Node, tier};

/// The heartbeat of a provider is logged as a statement, which others report as lost or stuck positions
/// (maxwell#523). It must not count as a change of everything, as other statements do.
#[test]
fn heartbeat_of_provider_invalidates_nothing() {
    let stack = Stack::start();
    stack.sql("create table mysql.rds_heartbeat2(id int primary key, value bigint)");
    let node = stack.launch_with(|config| config.replace("\"1s\"", "\"60s\"")).ready();
    wait_cached(&node);
    let invalidations = node.metric("tidegate_invalidations_total");
    for at in 0..3 {
        stack.sql(&format!(
            "set session binlog_format = STATEMENT; insert into mysql.rds_heartbeat2(id, value) \
             values (1,148304101500{at}) on duplicate key update value = 148304101500{at}"
        ));
    }
    // A later commit shows that the log was read beyond the heartbeats.
    stack.sql("update products set price_cents = 3 where id = 7");
    node.wait("the later commit", |node| node.cents(7) == Some(3));
    assert_eq!(tier(&node.get(42)), Some("local"));
    assert!(node.metric("tidegate_invalidations_total") <= invalidations + 2.0);
    stack.sql("set session binlog_format = STATEMENT; update products set price_cents = 4");
    node.wait("a statement still counts", |node| node.cents(42) == Some(4));
}

/// Rows that were logged before an `alter table` are read with the columns that they had
/// (python-mysql-replication#232, #600, #282; go-mysql#768 for the sign of numbers; mysql-binlog-connector-java#335 for
/// invisible columns).
#[test]
fn rows_before_alter_read_by_their_own_columns() {
    let stack = Stack::start();
    let mut node = stack.launch_with(|config| config.replace("\"1s\"", "\"60s\"")).ready();
    for id in [1, 42] {
        node.wait("a cached answer", |node| tier(&node.get(id)) == Some("local"));
    }
    node.process.terminate(DEADLINE).expect("it stops");
    drop(node);
    // Read by the later columns, the first update would be of the row 1042.
    stack.sql(
        "update products set price_cents = 9 where id = 42; \
         alter table products modify price_cents int first, add size smallint unsigned first, \
           add hidden int invisible default 5 first; \
         update products set size = 65535, price_cents = 10 where id = 1",
    );
    let node = stack.launch_with(|config| config.replace("\"1s\"", "\"60s\"")).ready();
    node.wait("the price of before", |node| node.cents(42) == Some(9));
    node.wait("the price of after", |node| node.cents(1) == Some(10));
}

/// A table is copied row by row, changes follow by triggers, and both are swapped, as pt-online-schema-change does
/// (gh-ost#442, #475: rows are missed at the cut-over).
#[test]
fn rows_written_by_triggers_into_copy_found_after_swap() {
    let stack = Stack::start();
    let node = stack.launch_with(|config| config.replace("\"1s\"", "\"60s\"")).ready();
    wait_cached(&node);
    stack.sql(
        "create table _products_new like products; \
         create trigger copy after update on products for each row \
           replace into _products_new values (new.id, new.name, new.category_id, new.price_cents + 1, new.currency); \
         insert ignore into _products_new select * from products; \
         update products set price_cents = 50 where id = 42; \
         rename table products to _products_old, _products_new to products; \
         drop trigger copy; drop table _products_old",
    );
    node.wait("the row of the copy", |node| node.cents(42) == Some(51));
    stack.price(52);
    node.wait("a change of the copy", |node| node.cents(42) == Some(52));
}

/// Values beyond the range of the signed type, or invalid ones, are read as the server shows them
/// (mysql-binlog-connector-java#104, osheroff/mysql-binlog-connector-java#168, debezium#201).
#[test]
fn unsigned_and_invalid_values_are_the_servers_own() {
    let stack = Stack::start();
    stack.sql(
        "create table stock(id bigint unsigned primary key, n smallint unsigned, state enum('in', 'out')); \
         insert into stock values (18446744073709551615, 1, 'in')",
    );
    let contract = r#"
[data.stock]
key       = "v1:shop:stock:{id}"
value     = "select n, state from stock where id = $id"
from      = { source = "shop", table = "stock" }
staleness = "60s"
owner     = "stock"
approved  = { by = ["product"], on = 2026-11-02 }
"#;
    let node = stack.launch_with(|config| config + contract).ready();
    let get = || {
        let path = "/data/stock/18446744073709551615";
        harness::http::get(node.data, path, DEADLINE).expect("an answer")
    };
    node.wait("a cached answer", |_| tier(&get()) == Some("local"));
    stack.sql("update stock set n = 65535");
    node.wait("the largest number", |_| get().text() == r#"{"n":65535,"state":"in"}"#);
    stack.sql("set session sql_mode = ''; update stock set state = 'gone'");
    node.wait("an invalid label", |_| get().text() == r#"{"n":65535,"state":""}"#);
    stack.sql("delete from stock");
    node.wait("absence", |_| get().status == 404);
}

/// The server's time zone is changed while nodes run, which no log contains. Later sessions showed a `timestamp` in
/// another way than earlier ones (flink-cdc#1954, #1671: times are shifted by the offset of the server's zone).
#[test]
fn changed_time_zone_of_server_changes_no_text() {
    let stack = Stack::start();
    stack.sql(
        "create table visits(id int primary key, seen timestamp not null); \
         set time_zone = '+00:00'; \
         insert into visits values (1, '2026-10-25 00:30:00'), (2, '2026-10-25 00:30:00')",
    );
    let contract = r#"
[data.visit]
key       = "v1:shop:visit:{id}"
value     = "select seen, date(seen) as day from visits where id = $id"
from      = { source = "shop", table = "visits" }
staleness = "60s"
owner     = "stock"
approved  = { by = ["product"], on = 2026-11-02 }
"#;
    let launch = || stack.launch_with(|config| config + contract).ready();
    let get = |node: &Node, id: u32| {
        harness::http::get(node.data, &format!("/data/visit/{id}"), DEADLINE).expect("an answer")
    };
    let first = launch();
    let expected = r#"{"seen":"2026-10-25 00:30:00","day":"2026-10-25"}"#;
    assert_eq!(get(&first, 1).text(), expected);
    stack.sql("set global time_zone = '-08:00'");
    let second = launch();
    assert_eq!(get(&second, 1).text(), expected, "the entry of the first node");
    assert_eq!(get(&second, 2).text(), expected, "a load by a session of after");
    stack.sql("set time_zone = '+00:00'; update visits set seen = '2026-10-25 00:31:00'");
    for node in [&first, &second] {
        node.wait("the new text", |node| get(node, 2).text().contains("00:31:00"));
    }
}
