//! Write-through on MariaDB: a commit renews the entries of its rows, without a load.

use harness::http;

use crate::mariadb::{Stack, wait_cached};
use crate::stack::{DEADLINE, Node, tier};

const LOADS: &str = "tidegate_load_seconds_count";

/// Starts a node with a budget and a timeout for Redis that a busy machine keeps.
fn node(stack: &Stack) -> Node {
    let edit = |config: String| {
        let config = config.replace("[shared]", "[shared]\ntimeout = \"5s\"");
        config.replace("staleness = \"1s\"", "staleness = \"60s\"")
    };
    stack.launch_with(edit).ready()
}

fn get(node: &Node, contract: &str) -> http::Response {
    http::get(node.data, &format!("/data/{contract}/1"), DEADLINE).expect("an answer")
}

#[test]
fn mariadb_commit_renews_tiers_without_load() {
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
    for cents in 1..=3 {
        let updates = (1..=20).map(|id| {
            format!("update products set price_cents = {} where id = {id}", cents * 1_000 + id)
        });
        stack.sql(&updates.collect::<Vec<_>>().join("; "));
    }
    for node in &nodes {
        for id in 1..=20 {
            node.wait("the last price", |node| node.cents(id) == Some(3_000 + id));
            assert_eq!(tier(&node.get(id)), Some("local"));
        }
    }
    stack.sql("delete from products where id = 5");
    nodes[1].wait("absence", |node| node.get(5).status == 404);
    stack.sql("insert into products values (5, 'again', 5, 55, 'EUR')");
    nodes[1].wait("the row again", |node| node.cents(5) == Some(55));
    // A node with an empty in-process tier finds the entries in the shared tier.
    let third = node(&stack);
    let answers: Vec<_> = (1..=20).map(|id| third.get(id)).collect();
    // A fill that reaches Redis only after the first commit is refused, and a renewal creates no entry.
    let shared = answers.iter().filter(|answer| tier(answer) == Some("shared")).count();
    assert!(shared >= 15, "{answers:?}");
    assert_eq!(third.metric(LOADS), (20 - shared) as f64);
    assert_eq!(loads(&nodes), before, "origin reads for 62 changes that were cached");
}

/// A table with each type whose text the log contains, and two contracts of it: one that commits renew, and one that
/// is loaded.
const ODD: &str = "create table odd(id int primary key, a tinyint, b bigint unsigned, c decimal(12,3), d boolean, \
    e mediumtext, f varchar(20), g char(5), h enum('small', 'it''s \"big\"', ''), i set('x', 'y', 'z'), j json, k date, \
    l year, m mediumint, n varchar(20) character set ascii, o bigint, p decimal(65,30)) \
    character set utf8mb4; insert into odd(id) values (1)";

#[test]
fn mariadb_renewed_value_equals_loaded_value() {
    let stack = Stack::start();
    stack.sql(ODD);
    let contracts = ["write_through = true", "write_through = false"].map(|option| {
        let name = if option.ends_with("true") { "odd" } else { "loaded" };
        format!(
            r#"
[data.{name}]
key       = "v1:catalog:{name}:{{id}}"
value     = "SELECT a, B, c, d, e, f, g AS Gee, h, i, j, k, l, m, n, o, p, ID FROM odd WHERE Id = $id"
from      = {{ source = "shop", table = "odd", key = "id" }}
staleness = "60s"
{option}
owner     = "pricing"
approved  = {{ by = ["product"], on = 2026-11-02 }}
"#
        )
    });
    let contracts = contracts.concat();
    let node = stack.launch_with(|config| config + &contracts).ready();
    node.wait("a cached answer", |node| tier(&get(node, "odd")) == Some("local"));
    let loads = || node.metric_with(LOADS, "contract=\"odd\"");
    let before = loads();
    for change in [
        "a = -128, b = 18446744073709551615, c = 12.340, d = true, e = 'plain', o = -9223372036854775808",
        "e = concat('q\"uote \\\\ back\\tslash\\n\\r', char(8), char(12), char(1), char(127), ' / ü 🛒 <&>'), f = ''",
        "c = -0.001, g = 'ab ', h = 'it''s \"big\"', i = 'z,x', j = '{\"b\": [1, 2.50]}', k = '2026-02-03'",
        "c = 0, f = 'trailing  ', h = '', i = '', j = '\"x\"', k = '0000-00-00', l = 0, m = 8388607",
        "c = 999999999.999, d = false, l = 2026, n = 'ascii', p = -0.000000000000000000000000000001",
        "a = null, e = null, h = null, j = 'null', k = null, l = null, p = 0",
    ] {
        stack.sql(&format!("set session sql_mode = ''; update odd set {change} where id = 1"));
        let renewed = |node: &Node| {
            let (one, other) = (get(node, "odd"), get(node, "loaded"));
            one.status == 200 && one.text() == other.text() && tier(&other) == Some("local")
        };
        // The marker shows that both answers are of this change.
        let marker = stack.sql(
            "update odd set m = coalesce(m, 0) % 1000000 + 1 where id = 1; select m from odd where id = 1",
        );
        let marker = format!("\"m\":{marker},");
        node.wait("the renewed value", |node| get(node, "odd").text().contains(&marker));
        node.wait("the loaded value", |node| get(node, "loaded").text().contains(&marker));
        node.wait(change, renewed);
        assert_eq!(tier(&get(&node, "odd")), Some("local"), "{change}");
    }
    assert_eq!(loads(), before, "not loaded");
    // The value is larger than a renewal may be.
    stack.sql("update odd set e = repeat('long ', 20000) where id = 1");
    node.wait("the long text", |node| get(node, "odd").text().contains("long long"));
    assert!(loads() > before, "a renewal contained it");
}

#[test]
fn mariadb_column_without_logged_text_loaded() {
    for (name, sql, column) in [
        ("zerofill", "modify price_cents int(7) zerofill", "price_cents"),
        ("latin1", "modify name varchar(20) character set latin1", "name"),
        ("a virtual column", "add double_price int as (price_cents * 2) virtual", "double_price"),
        ("a time", "add at datetime(3) default '2026-01-02 03:04:05.678'", "at"),
        ("a compressed text", "add long_text text compressed default 'abc'", "long_text"),
        ("no unique key", "drop primary key, add n int auto_increment primary key", "price_cents"),
    ] {
        let stack = Stack::start();
        stack.sql(&format!("alter table products {sql}"));
        let edit = |config: String| {
            let config = config.replace("select price_cents,", &format!("select {column},"));
            config.replace(r#", columns = ["price_cents", "currency"]"#, "")
        };
        let node = stack.launch_with(edit).ready();
        wait_cached(&node);
        let (loads, old) = (node.metric(LOADS), node.get(42).text());
        stack.sql("update products set price_cents = 7, name = 'Müsli' where id = 42");
        let expected = stack.sql(&format!("select {column} from products where id = 42"));
        node.wait(name, |node| {
            let answer = node.get(42);
            let text = answer.text();
            assert!(text == old || text.contains(&expected), "{name}: {text}");
            let is_new = text.contains(&expected) && tier(&answer) == Some("local");
            is_new && node.metric(LOADS) > loads
        });
    }
}

#[test]
fn mariadb_altered_column_ends_renewals() {
    let stack = Stack::start();
    let node = node(&stack);
    wait_cached(&node);
    let cents = |node: &Node| node.get(42).text();
    let renewed = |column: &str, expected: &str| {
        let alter = format!("set sql_mode = ''; alter table products modify price_cents {column}");
        stack.sql(&alter);
        stack.price(7);
        node.wait(column, |node| cents(node).contains(expected));
        wait_cached(&node);
        stack.price(8);
        let expected = expected.replace('7', "8");
        node.wait("the next price", |node| cents(node).contains(&expected));
        wait_cached(&node);
    };
    renewed("int(7) zerofill", r#""price_cents":"0000007""#);
    renewed("decimal(10,2)", r#""price_cents":7.00,"#);
    renewed("varchar(10)", r#""price_cents":"7""#);
    stack.sql("set sql_mode = ''; alter table products modify price_cents int");
    stack.price(9);
    node.wait("an integer again", |node| node.cents(42) == Some(9));
    wait_cached(&node);
    node.wait("renewals again", |node| {
        let loads = node.metric(LOADS);
        let cents = node.cents(42).expect("a price") % 1_000 + 1;
        stack.price(cents);
        node.wait("the price", |node| node.cents(42) == Some(cents));
        node.metric(LOADS) == loads && tier(&node.get(42)) == Some("local")
    });
}

/// Two contracts write the name of one column in two ways.
#[test]
fn mariadb_column_in_two_spellings_found_in_log() {
    let stack = Stack::start();
    let other = r#"
[data.upper]
key       = "v1:catalog:upper:{id}"
value     = "select Price_Cents, Category_ID from products where Id = $id"
from      = { source = "shop", table = "products", key = "ID" }
tags      = ["upper-{Category_Id}"]
staleness = "60s"
owner     = "pricing"
approved  = { by = ["product"], on = 2026-11-02 }
"#;
    let node = stack.launch_with(|config| config + other).ready();
    let upper = |node: &Node| get(node, "upper").text();
    wait_cached(&node);
    node.wait("a cached answer", |node| tier(&get(node, "upper")) == Some("local"));
    assert_eq!(upper(&node), r#"{"Price_Cents":1001,"Category_ID":1}"#);
    let loads = node.metric(LOADS);
    stack.sql("update products set price_cents = 5 where id = 1");
    node.wait("the renewed value", |node| upper(node).contains("\"Price_Cents\":5,"));
    assert_eq!(node.metric(LOADS), loads, "renewed, and the other row's entry was not invalidated");
    assert_eq!(tier(&node.get(42)), Some("local"));
}
