//! Columns that the database computes.

use super::{Watched, contract, get, node_with};
use crate::stack::Stack;

fn version(stack: &Stack) -> u32 {
    stack.sql("show server_version_num").parse().expect("a number")
}

#[test]
fn computed_column_in_value_is_followed() {
    let stack = Stack::start();
    let on_read = if version(&stack) >= 180_000 { "virtual" } else { "stored" };
    stack.sql(&format!(
        "create table c(id int primary key, v int, g int generated always as (v * 100) stored, \
         w int generated always as (v * 1000) {on_read}); insert into c values (1, 1), (2, 1)"
    ));
    // The whole identity has columns that the log may lack.
    stack.sql(
        "create table whole(id int primary key, v int, \
         g int generated always as (v * 100) stored); \
         alter table whole replica identity full; insert into whole values (1, 1)",
    );
    let narrow = |text: String| text.replace("key = \"id\" }", "key = \"id\", columns = [\"g\"] }");
    let contracts = [
        contract("all", "c", "select * from c where id = $id"),
        narrow(contract("one", "c", "select g from c where id = $id")),
        narrow(contract("whole", "whole", "select g from whole where id = $id")),
        contract("read", "c", "select w from c where id = $id"),
    ];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let of = |contract| Watched { stack: &stack, nodes: &nodes, contract, id: "1" };
    of("all").altered("update c set v = 2", "\"w\":2000");
    of("one").altered("update c set v = 3", ":300");
    of("read").altered("update c set v = 4", ":4000");
    of("whole").altered("update whole set v = 5", ":500");
    of("one").altered("update c set v = 6", ":600");
}

/// From version 18 on the log may contain stored columns; before, a tag of one is refused at the start.
#[test]
fn computed_column_in_tag_reaches_siblings() {
    let stack = Stack::start();
    stack.sql(
        "create table c(id int primary key, v int, g int generated always as (v / 10) stored); \
         alter table c replica identity full; insert into c values (1, 11), (2, 12)",
    );
    let tagged = contract(
        "group",
        "c",
        "select sum(v) as s from c where g = (select g from c where id = $id)",
    )
    .replace("staleness", "tags = [\"c-{g}\"]\nstaleness");
    if version(&stack) < 180_000 {
        let mut node = stack.launch(|config| config + &tagged);
        let status = node.process.wait(crate::stack::DEADLINE).expect("it ends");
        assert_eq!(status.code(), Some(3));
        let log = node.process.lines().concat();
        assert!(log.contains("`public.c.g`, which the database computes"), "{log}");
        return;
    }
    let node = node_with(&stack, &[tagged]);
    let nodes = [&node];
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "group", id: "1" };
    watched.altered("update c set v = 13 where id = 2", ":24");
    assert!(get(&node, "group", "2").text().contains(":24"));
    watched.altered("update c set v = 23 where id = 2", ":11");
    watched.altered("update c set v = 15 where id = 2", ":26");
}
