//! Values of several tables, lists, and rows of one variant: a commit on any of the tables reaches its entries, and no
//! others.

use std::cell::Cell;

use harness::http::{self, Response};
use serde_json::{Value, json};

use crate::mariadb;
use crate::stack::{DEADLINE, Node, Stack, now, tier};

/// The tables; `TEXT` stands for the database's type of texts that keys are made of.
const TABLES: [&str; 12] = [
    "create table goods(id int primary key, slug TEXT, name TEXT, currency TEXT, category_id int)",
    "create table prices(id int primary key, good_id int, cents int, note TEXT)",
    "create table rates(code TEXT, factor int, primary key (code))",
    "create table settings(id int primary key, vat int)",
    "create table stock(good_id int, shop TEXT, units int, primary key (good_id, shop))",
    "insert into goods values (1, 'tea', 'tea', 'EUR', 7), (2, 'cup', 'cup', 'GBP', 7), (3, 'pot', 'pot', 'EUR', 8)",
    "insert into prices values (11, 1, 100, ''), (12, 2, 200, ''), (13, 3, 300, '')",
    "insert into rates values ('EUR', 1), ('GBP', 2)",
    "insert into settings values (1, 19)",
    "insert into stock values (1, 'north', 5), (1, 'south', 6)",
    "insert into stock values (2, 'north', 7)",
    "update settings set vat = 19",
];

/// The budget is longer than every test, so that no old value ends by itself.
pub(crate) const CONTRACTS: &str = r#"
[data.product_price]
key = "v1:catalog:offer:{id}"
value = """select g.name, p.cents * r.factor as cents, s.vat from goods g join prices p on p.good_id = g.id
  join rates r on r.code = g.currency cross join settings s where g.id = $id"""
from = [
  { source = "shop", table = "goods", columns = ["name"] },
  { table = "prices", key = "good_id", columns = ["cents"] },
  { table = "rates", tags = ["rate-{code}"] },
  { table = "settings", entries = "all" },
]
tags = ["rate-{currency}"]
staleness = "5min"
owner = "pricing"
approved = { by = ["product"], on = 2026-11-02 }

[data.category]
key = "v1:catalog:category:{id}"
value = """select count(*) as goods, max(p.cents) as top from goods g join prices p on p.good_id = g.id
  where g.category_id = $id"""
from = [
  { source = "shop", table = "goods", key = "category_id" },
  { table = "prices", tags = ["good-{good_id}"] },
]
tags = ["good-{row.id}"]
staleness = "5min"
owner = "catalogue"
approved = { by = ["product"], on = 2026-11-02 }

[data.slug]
key = "v1:catalog:slug:{id}"
value = "select name, id from goods where slug = $id"
from = { source = "shop", table = "goods", key = "slug" }
tags = ["good-{row.id}"]
staleness = "5min"
owner = "catalogue"
approved = { by = ["product"], on = 2026-11-02 }

[data.units]
key = "v1:catalog:units:{id}:{shop}"
value = "select units from stock where good_id = $id and shop = $shop"
from = { source = "shop", table = "stock", key = ["good_id", "shop"], columns = ["units"] }
staleness = "5min"
owner = "stock"
approved = { by = ["product"], on = 2026-11-02 }
"#;

pub(crate) fn tables(text: &str) -> String {
    TABLES.map(|sql| sql.replace("TEXT", text) + ";\n").concat()
}

/// Replaces the contracts of the example.
pub(crate) fn with_joins(config: &str) -> String {
    let (head, _) = config.split_once("[data.product_price]").expect("it is there");
    format!("{head}{CONTRACTS}")
}

fn get(node: &Node, path: &str) -> Response {
    http::get(node.data, &format!("/data/{path}"), DEADLINE).expect("an answer")
}

fn value(node: &Node, path: &str) -> Value {
    let answer = get(node, path);
    match answer.status {
        200 => serde_json::from_slice(&answer.body).expect("JSON"),
        status => json!(status),
    }
}

/// Waits until each of `paths` is answered from the in-process tier.
fn settle(node: &Node, paths: &[&str]) {
    for path in paths {
        node.wait(path, |node| tier(&get(node, path)) == Some("local"));
    }
}

const OFFERS: [&str; 3] = ["product_price/1", "product_price/2", "product_price/3"];
const LISTS: [&str; 2] = ["category/7", "category/8"];
const UNITS: [&str; 2] = ["units/1?shop=north", "units/1?shop=south"];

/// Changes rows of each table and expects them in the answers that depend on them; `run` runs a statement.
pub(crate) fn assert_joins(node: &Node, run: &dyn Fn(&str)) {
    let offer =
        |name: &str, cents: u32, vat: u32| json!({ "name": name, "cents": cents, "vat": vat });
    assert_eq!(
        OFFERS.map(|path| value(node, path)),
        [offer("tea", 100, 19), offer("cup", 400, 19), offer("pot", 300, 19)]
    );
    let last_commit = Cell::new(now());
    let run = |sql: &str| {
        run(sql);
        last_commit.set(now());
    };
    let expect = |sql: &str, path: &str, expected: Value, kept: &[&str]| {
        // Otherwise an earlier commit might invalidate an entry that this one has to keep.
        node.wait("the commits before", |node| {
            let since_ms = last_commit.get().elapsed().as_secs_f64() * 1_000.0;
            node.status()["bound_ms"].as_f64().is_some_and(|bound| bound < since_ms)
        });
        settle(node, kept);
        settle(node, &[path]);
        run(sql);
        node.wait(sql, |node| value(node, path) == expected);
        for path in kept {
            assert_eq!(tier(&get(node, path)), Some("local"), "{sql} invalidated {path}");
        }
    };
    expect(
        "update prices set cents = 110 where id = 11",
        OFFERS[0],
        offer("tea", 110, 19),
        &[OFFERS[1], OFFERS[2], LISTS[1]],
    );
    expect(
        "update rates set factor = 3 where code = 'EUR'",
        OFFERS[2],
        offer("pot", 900, 19),
        &[OFFERS[1], LISTS[0], LISTS[1]],
    );
    node.wait("the other offer in EUR", |node| value(node, OFFERS[0])["cents"] == 330);
    expect("update settings set vat = 20", OFFERS[1], offer("cup", 400, 20), &LISTS);
    node.wait("all offers", |node| value(node, OFFERS[0])["vat"] == 20);
    // A price that moves to another product changes both.
    run("insert into prices values (14, 4, 50, ''); ");
    run("insert into goods values (4, 'jug', 'jug', 'GBP', 8)");
    node.wait("a new offer", |node| value(node, "product_price/4") == offer("jug", 100, 20));
    settle(node, &[OFFERS[0], "product_price/4"]);
    run("delete from prices where id = 14");
    node.wait("an offer without a price", |node| value(node, "product_price/4") == json!(404));
    run("update prices set good_id = 4 where id = 11");
    node.wait("the price at its new product", |node| {
        value(node, "product_price/4")["cents"] == 220
    });
    node.wait("none at the old one", |node| value(node, OFFERS[0]) == json!(404));
    run("update prices set good_id = 1 where id = 11");
    assert_lists(node, &expect);
    assert_variants(node, &expect);
}

type Expect<'a> = dyn Fn(&str, &str, Value, &[&str]) + 'a;

/// A list changes with each of its rows, and with the rows that are joined to them.
fn assert_lists(node: &Node, expect: &Expect<'_>) {
    let list = |goods: u32, top: u32| json!({ "goods": goods, "top": top });
    node.wait("the list", |node| value(node, LISTS[0]) == list(2, 200));
    expect("update prices set cents = 210 where id = 12", LISTS[0], list(2, 210), &[LISTS[1]]);
    expect("update prices set cents = 220 where id = 11", LISTS[0], list(2, 220), &[LISTS[1]]);
    expect("update goods set category_id = 8 where id = 1", LISTS[0], list(1, 210), &[]);
    node.wait("the list that it joined", |node| value(node, LISTS[1]) == list(2, 300));
    expect("update prices set cents = 400 where id = 11", LISTS[1], list(2, 400), &[LISTS[0]]);
    // A row that only its join had left out of the list.
    expect("insert into prices values (15, 4, 70, '')", LISTS[1], list(3, 400), &[LISTS[0]]);
    expect("update prices set note = note where id = 15", LISTS[1], list(3, 400), &[LISTS[0]]);
    expect("delete from prices where id = 15", LISTS[1], list(2, 400), &[LISTS[0]]);
    let slug = |name: &str| json!({ "name": name, "id": 2 });
    expect("update goods set name = 'mug' where id = 2", "slug/cup", slug("mug"), &["slug/pot"]);
    // Its tag has the number of the row, not the slug.
    expect("update prices set cents = 230 where id = 12", LISTS[0], list(1, 230), &[]);
}

/// A row with the columns of all variants changes its own entry only.
fn assert_variants(node: &Node, expect: &Expect<'_>) {
    let units = |units: u32| json!({ "units": units });
    expect(
        "update stock set units = 4 where good_id = 1 and shop = 'north'",
        UNITS[0],
        units(4),
        &[UNITS[1], "units/2?shop=north"],
    );
    assert_eq!(value(node, "units/1?shop=west"), json!(404));
    expect("insert into stock values (1, 'west', 1)", "units/1?shop=west", units(1), &UNITS);
    expect(
        "update stock set shop = 'east' where shop = 'west'",
        "units/1?shop=east",
        units(1),
        &UNITS,
    );
    node.wait("the old variant", |node| value(node, "units/1?shop=west") == json!(404));
}

/// The old product of a moved price is in PostgreSQL's log only so.
pub(crate) const FULL: &str =
    "alter table prices replica identity full; alter table goods replica identity full;";

#[test]
fn every_table_reaches_entries_on_postgres() {
    let stack = Stack::start();
    stack.sql(&(tables("text") + FULL));
    let node = stack.node_with(|config| with_joins(&config));
    assert_joins(&node, &|sql| drop(stack.sql(sql)));
    let output = node.process.lines().join("\n");
    assert!(!output.contains("whose changes do not invalidate it"), "{output}");
}

#[test]
fn every_table_reaches_entries_on_mariadb() {
    let stack = mariadb::Stack::start();
    stack.sql(&tables("varchar(20) character set utf8mb4 collate utf8mb4_bin"));
    let node = stack.launch_with(|config| with_joins(&config)).ready();
    assert_joins(&node, &|sql| drop(stack.sql(sql)));
}

#[test]
fn joined_key_outside_the_identity_refused() {
    let stack = Stack::start();
    stack.sql(&tables("text"));
    let output = stack.refusal(|config| with_joins(&config));
    assert!(output.contains("`good_id`"), "{output}");
    assert!(output.contains("alter table \"public\".\"prices\" replica identity full"), "{output}");
}

#[test]
fn joined_column_of_other_type_refused() {
    let stack = Stack::start();
    stack.sql(&(tables("text") + FULL));
    stack.sql("alter table prices alter good_id type text");
    let output = stack.refusal(|config| {
        with_joins(&config).replace("p.good_id = g.id", "p.good_id = g.id::text")
    });
    assert!(output.contains("prices.good_id is matched with goods.id"), "{output}");
}

/// A view hides the table from the linter, but not from the catalogue.
#[test]
fn table_behind_view_named_at_start() {
    let stack = Stack::start();
    stack.sql(&(tables("text") + FULL));
    stack.sql("create view all_rates as select * from rates");
    let node = stack.node_with(|config| {
        let without =
            with_joins(&config).replace("  { table = \"rates\", tags = [\"rate-{code}\"] },\n", "");
        without.replace("join rates r", "join all_rates r")
    });
    node.wait("a warning", |node| {
        let output = node.process.lines().join("\n");
        output.contains("table=\"public.rates\"") && output.contains("list the table in `from`")
    });
}
