//! Write-through: a commit renews the entries of its rows, without a load.

use crate::stack::{DEADLINE, Node, Stack, tier};

const LOADS: &str = "tidegate_load_seconds_count";

/// Starts a node with a long timeout for Redis, so that every entry is in all tiers on a busy machine, and
/// with a TTL beyond the test.
fn node(stack: &Stack) -> Node {
    stack.node_with(|config| {
        let config = config.replace("[shared]", "[shared]\ntimeout = \"5s\"");
        config.replace("staleness = \"1s\"", "staleness = \"60s\"")
    })
}

#[test]
fn commit_renews_tiers_without_load() {
    let stack = Stack::start();
    // A commit invalidates all entries with a tag of its row; with a category of its own, only its entry.
    stack.sql("update products set category_id = id");
    let nodes = [node(&stack), node(&stack)];
    for node in &nodes {
        for id in 1..=20 {
            node.wait("a cached answer", |node| tier(&node.get(id)) == Some("local"));
        }
    }
    let loads = |nodes: &[Node]| nodes.iter().map(|node| node.metric(LOADS)).sum::<f64>();
    let before = loads(&nodes);
    assert!(before >= 20.0, "{before} loads");
    for cents in 1..=5 {
        for id in 1..=20 {
            stack.price(id, cents * 1_000 + id);
        }
    }
    for node in &nodes {
        for id in 1..=20 {
            node.wait("the last price", |node| node.cents(id) == Some(5_000 + id));
            assert_eq!(tier(&node.get(id)), Some("local"));
        }
    }
    stack.sql("delete from products where id = 5");
    nodes[1].wait("absence", |node| node.get(5).status == 404);
    stack.sql("insert into products values (5, 'again', 5, 55, 'EUR')");
    nodes[1].wait("the row again", |node| node.cents(5) == Some(55));
    // A node with an empty in-process tier finds the entries in the shared tier.
    let third = node(&stack);
    for id in 1..=20 {
        let answer = third.get(id);
        assert_eq!(tier(&answer), Some("shared"), "{id}: {answer:?}");
    }
    assert_eq!(third.metric(LOADS), 0.0);
    assert_eq!(loads(&nodes), before, "origin reads for 102 changes that were cached");
}

#[test]
fn renewed_value_equals_loaded_value() {
    let stack = Stack::start();
    stack.sql(
        "create table odd(id int primary key, a smallint, b bigint, c numeric, d boolean, e text, \
         f varchar(20), g char(5), h uuid, i jsonb, j json, \"Q\"\"k\" text)",
    );
    stack.sql("insert into odd(id) values (1)");
    let mut node = stack.launch(|config| {
        let contract = r#"
[data.odd]
key       = "v1:catalog:odd:{id}"
value     = "select a, b, c, d, e, f, g as gee, h, i, j, id from odd where id = $id"
from      = { source = "shop", table = "odd", key = "id" }
staleness = "1s"
owner     = "pricing"
approved  = { by = ["product"], on = 2026-11-02 }
"#;
        config + contract
    });
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    node.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
    let get =
        |node: &Node| harness::http::get(node.data, "/data/odd/1", DEADLINE).expect("an answer");
    node.wait("a cached answer", |node| tier(&get(node)) == Some("local"));
    let loads = node.metric(LOADS);
    for change in [
        "a = -32768, b = 9223372036854775807, c = 12.340, d = true, e = 'plain'",
        r#"e = E'q"uote \\ back\tslash\n\r\b\f \u0001 \u007f / ü 🛒 '', <&>', f = '', d = false"#,
        "c = 'NaN', g = 'ab', h = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
        "c = -0.00000000000000000001, i = '{\"b\": [1, 2.50], \"a\": null}', j = ' [1 ,2]'",
        "c = 1e30, e = null, i = '\"x\"', j = 'null'",
    ] {
        stack.sql(&format!("update odd set {change} where id = 1"));
        let sql = "select row_to_json(x) from (select a, b, c, d, e, f, g as gee, h, i, j, id \
                   from odd where id = 1) x";
        let own = stack.sql(sql);
        let last = |node: &Node| get(node).text().trim() == own.trim();
        node.wait("the database's own text", last);
        assert_eq!(tier(&get(&node)), Some("local"));
    }
    assert_eq!(node.metric(LOADS), loads, "not loaded");
    // The log omits an unchanged value stored out of line: the entry is loaded, not renewed without it.
    stack.sql("alter table odd alter column e set storage external");
    stack.sql("update odd set e = repeat('long ', 2000) where id = 1");
    node.wait("the long text", |node| get(node).text().contains("long long"));
    stack.sql("update odd set a = 7 where id = 1");
    node.wait("the whole row", |node| {
        let text = get(node).text();
        text.contains("\"a\":7") && text.contains("long long")
    });
    assert!(node.metric(LOADS) > loads, "the log did not carry it");
}

#[test]
fn incomplete_row_loaded_not_renewed() {
    for (name, sql, edit) in [
        ("row security", "alter table products enable row level security", None),
        (
            "a key that is not unique",
            "alter table products drop constraint products_pkey, add column n serial primary key, \
             replica identity full",
            None,
        ),
        ("write_through = false", "select 1", Some("staleness = \"1s\"")),
    ] {
        let stack = Stack::start();
        stack.sql(sql);
        let mut node = stack.launch(|config| match edit {
            Some(line) => config.replace(line, &format!("{line}\nwrite_through = false")),
            None => config,
        });
        node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
        node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
        let loads = node.metric(LOADS);
        stack.price(42, 7);
        node.wait("the new price", |node| node.cents(42) == Some(7));
        assert!(node.metric(LOADS) > loads, "{name}");
    }
}
