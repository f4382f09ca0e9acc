//! Rows that change behind a table's name without a row event.

use super::{Watched, contract, get, node_with};
use crate::signed::{OLD, signing};
use crate::stack::{DEADLINE, Stack, tier};

const PARTITIONED: &str = "create table part(id int primary key, v int) partition by range (id)";

const ABSENT: &str = "Row not found";

#[test]
fn altered_partition_reaches_nodes() {
    let stack = Stack::start();
    stack.sql(PARTITIONED);
    stack.sql("create table part_low partition of part for values from (0) to (100)");
    stack.sql("create table part_high partition of part for values from (100) to (200)");
    stack.sql("insert into part values (1, 10), (101, 20)");
    let contracts = [contract("part", "part", "select v from part where id = $id")];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "part", id: "1" };
    watched.altered("truncate part_low", ABSENT);
    watched.altered("insert into part values (1, 11)", "11");
    watched.altered("alter table part detach partition part_low", ABSENT);
    let attach = "alter table part attach partition part_low for values from (0) to (100)";
    watched.altered(&format!("update part_low set v = 12; {attach}"), "12");
    watched.altered("alter table part detach partition part_low concurrently", ABSENT);
    // At the second level, and back within one transaction.
    watched.altered(
        "create table part_mid(id int primary key, v int) partition by range (id); \
         alter table part_mid attach partition part_low for values from (0) to (50); \
         alter table part attach partition part_mid for values from (0) to (100)",
        "12",
    );
    watched.altered("truncate part_low", ABSENT);
    watched.altered("insert into part values (1, 13)", "13");
    watched.altered("drop table part_mid", ABSENT);
    let other = Watched { id: "101", ..watched };
    other.wait_cached();
    assert!(other.get(nodes[0]).contains("20"));
}

#[test]
fn swapped_table_reaches_nodes() {
    let stack = Stack::start();
    stack.sql("create table swap(id int primary key, v int); create table still(id int primary key, v int)");
    stack.sql("insert into swap values (1, 10); insert into still values (1, 70)");
    stack.sql("create schema other");
    let contracts = ["swap", "still"]
        .map(|name| contract(name, name, &format!("select v from {name} where id = $id")));
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "swap", id: "1" };
    let still = Watched { contract: "still", ..watched };
    still.wait_cached();
    // As tools for online migrations do.
    stack
        .sql("create table swap_new(like swap including all); insert into swap_new values (1, 11)");
    let swap = "alter table swap rename to swap_old; alter table swap_new rename to swap";
    watched.altered_at_once(swap, "11");
    watched.altered("insert into swap values (2, 1); update swap set v = 12 where id = 1", "12");
    // The changes in between are logged under another name.
    watched.altered(
        "alter table swap rename to away; update away set v = 13; alter table away rename to swap",
        "13",
    );
    watched.altered(
        "alter table swap set schema other; update other.swap set v = 14; \
         alter table other.swap set schema public",
        "14",
    );
    watched.altered("alter table swap alter column v type int using v + 1", "15");
    watched.altered(
        "drop table swap; create table swap(id int primary key, v int); \
         insert into swap values (1, 16)",
        "16",
    );
    watched.altered(
        "alter table swap drop column v; alter table swap add column v int default 17",
        "17",
    );
    watched.altered("truncate swap", "Row not found");
    // The other table's entries were left alone.
    let answer = get(nodes[1], "still", "1");
    let log = || nodes.iter().map(|node| node.process.lines().join("\n")).collect::<String>();
    assert_eq!(tier(&answer), Some("local"), "{answer:?}\n{}", log());
    let loads = nodes.iter().map(|node| node.metric_with("tidegate_loads_total", "still"));
    assert_eq!(loads.sum::<f64>(), 1.0);
}

#[test]
fn alteration_without_nodes_reaches_entries() {
    let stack = Stack::start();
    stack.sql("create table swap(id int primary key, v int); insert into swap values (1, 10)");
    let contracts = [contract("swap", "swap", "select v from swap where id = $id")];
    let mut node = node_with(&stack, &contracts);
    Watched { stack: &stack, nodes: &[&node], contract: "swap", id: "1" }.wait_cached();
    node.process.terminate(DEADLINE).expect("stopped");
    stack
        .sql("create table swap_new(like swap including all); insert into swap_new values (1, 11)");
    stack.sql(
        "begin; alter table swap rename to swap_old; alter table swap_new rename to swap; commit",
    );
    let node = node_with(&stack, &contracts);
    assert!(get(&node, "swap", "1").text().contains("11"), "the shared tier has the old entry");
}

/// A node of another version has led before, and its record of the definitions can't be read.
#[test]
fn alteration_under_unreadable_record_reaches_entries() {
    alteration_reaches_entries(|config| config);
}

/// Unlike the entries, the record has no signature.
#[test]
fn alteration_under_refused_record_reaches_entries() {
    alteration_reaches_entries(|config| signing(&config, &[OLD]));
}

/// Alters a table while no node runs and the record of the schema can't be used.
fn alteration_reaches_entries(edit: fn(String) -> String) {
    let stack = Stack::start();
    stack.sql("create table swap(id int primary key, v int); insert into swap values (1, 10)");
    let contracts = [contract("swap", "swap", "select v from swap where id = $id")];
    let start = || stack.node_with(|config| edit(config + &contracts.concat()));
    let mut node = start();
    Watched { stack: &stack, nodes: &[&node], contract: "swap", id: "1" }.wait_cached();
    node.process.terminate(DEADLINE).expect("stopped");
    let state = "{tg:0}:state";
    let epoch = stack.redis.cli(&["hget", state, "epoch"]).expect("an epoch");
    let record = format!("{} {{\"version\":2}}", epoch.trim());
    stack.redis.cli(&["hset", state, "schema", &record]).expect("stored");
    stack
        .sql("create table swap_new(like swap including all); insert into swap_new values (1, 11)");
    stack.sql(
        "begin; alter table swap rename to swap_old; alter table swap_new rename to swap; commit",
    );
    let node = start();
    assert!(get(&node, "swap", "1").text().contains("11"), "the shared tier has the old entry");
}
