//! Nodes on a MariaDB whose tables are altered, swapped and written to in unusual ways.

use harness::http;

use crate::mariadb::{Stack, wait_cached};
use crate::stack::{DEADLINE, Node};

/// Waits until the price is this one, and stays it from the tier.
fn wait_price(node: &Node, cents: u32) {
    node.wait("the new price", |node| node.cents(42) == Some(cents));
    wait_cached(node);
    assert_eq!(node.cents(42), Some(cents), "the new price stays");
}

/// Makes the budget longer than every test, so that no old value ends by itself.
fn long_budget(config: &str) -> String {
    config.replace(r#"staleness = "1s""#, r#"staleness = "5min""#)
}

fn node(stack: &Stack) -> Node {
    stack.launch_with(|config| long_budget(&config)).ready()
}

fn get(node: &Node, id: &str) -> http::Response {
    http::get(node.data, &format!("/data/product_price/{id}"), DEADLINE).expect("an answer")
}

#[test]
fn altered_key_type_takes_new_ids() {
    let stack = Stack::start();
    let node = node(&stack);
    wait_cached(&node);
    assert_eq!(get(&node, "3000000000").status, 400);
    stack.sql(
        "alter table products modify id bigint; \
         insert into products values (3000000000, 'big', 1, 7, 'GBP')",
    );
    node.wait("an id of the new type", |node| get(node, "3000000000").status == 200);
    stack.sql(
        "alter table products modify id varchar(20) character set utf8mb4 collate utf8mb4_bin; \
         insert into products values ('sku', 'text', 1, 8, 'GBP')",
    );
    node.wait("an id of the text type", |node| get(node, "sku").status == 200);
    stack.sql("update products set price_cents = 3 where id = '42'");
    wait_price(&node, 3);
}

#[test]
fn swapped_table_is_read_anew() {
    let stack = Stack::start();
    let node = node(&stack);
    wait_cached(&node);
    let swaps = [
        // gh-ost
        "create table _products_gho like products; insert into _products_gho select * from products; \
         update _products_gho set price_cents = 1 where id = 42; \
         rename /* gh-ost */ table `shop`.`products` to `shop`.`_products_del`, \
           `shop`.`_products_gho` to `shop`.`products`",
        // Without a log of the copy's rows, as some tools do it.
        "set sql_log_bin = 0; create table other like products; insert into other select * from products; \
         update other set price_cents = 2 where id = 42; set sql_log_bin = 1; \
         rename table products to gone, other to products",
        "create or replace table products like gone; \
         insert into products select * from gone; update products set price_cents = 3 where id = 42",
        "create table parted like products; \
         alter table parted partition by range (id) (partition p0 values less than maxvalue); \
         insert into parted select * from products; update products set price_cents = 4 where id = 42; \
         alter table parted exchange partition p0 with table products",
        "drop table products; rename table parted to products; \
         update products set price_cents = 5 where id = 42",
    ];
    for (swap, cents) in swaps.into_iter().zip([1, 2, 3, 3, 5]) {
        stack.sql(swap);
        wait_price(&node, cents);
    }
    stack.sql("alter table products truncate partition p0");
    node.wait("absence", |node| node.get(42).status == 404);
    stack.sql("insert into products values (42, 'back', 1, 6, 'GBP')");
    wait_price(&node, 6);
    stack.sql("alter table products remove partitioning");
    stack.sql(
        "set binlog_alter_two_phase = ON; alter table products drop column price_cents, \
         add column price_cents int default 9, algorithm = copy",
    );
    wait_price(&node, 9);
    stack.sql("create database old");
    stack.sql("rename table products to old.products; create table products like old.products");
    node.wait("absence", |node| node.get(42).status == 404);
}

#[test]
fn row_without_full_image_leaves_no_old_value() {
    let stack = Stack::start();
    let node = node(&stack);
    wait_cached(&node);
    for (at, setting) in [
        "binlog_row_image = MINIMAL",
        "binlog_row_image = NOBLOB",
        "binlog_format = MIXED",
        "binlog_format = STATEMENT",
    ]
    .into_iter()
    .enumerate()
    {
        let cents = u32::try_from(at).expect("few") + 1;
        let sql = format!(
            "set session {setting}; update products set price_cents = {cents} where id = 42"
        );
        stack.sql(&sql);
        wait_price(&node, cents);
        stack.sql(&format!("set session {setting}; update products set id = 142 where id = 42"));
        node.wait("absence under the old key", |node| node.get(42).status == 404);
        node.wait("the row under its new key", |node| node.get(142).status == 200);
        stack.sql(&format!("set session {setting}; update products set id = 42 where id = 142"));
        wait_price(&node, cents);
    }
    // Events that the server compresses, and events without the names of columns.
    for (cents, setting) in [
        (21, "log_bin_compress_min_len = 10; set global log_bin_compress = ON"),
        (22, "log_bin_compress = OFF; set global binlog_row_metadata = MINIMAL"),
    ] {
        stack.mariadb.sql(&format!("set global {setting}")).expect("set");
        stack.price(cents);
        wait_price(&node, cents);
    }
}

#[test]
fn sibling_raises_tag_of_any_type() {
    let stack = Stack::start();
    let types = [
        ("tinyint(1)", "true"),
        ("bigint unsigned", "18446744073709551615"),
        ("decimal(10,2)", "7"),
        ("char(8)", "'ab'"),
        ("varchar(20) character set ascii", "'a  '"),
        ("enum('a','b''c','é')", "'é'"),
        ("set('x','y z','z')", "'x,z'"),
        ("date", "'2026-11-30'"),
        ("year", "2026"),
        ("json", "'{\"a\": 1}'"),
    ];
    let columns: Vec<String> =
        types.iter().enumerate().map(|(at, (kind, _))| format!("g{at} {kind}")).collect();
    stack.sql(&format!("create table items(id int primary key, n int, {})", columns.join(", ")));
    // The text of a char depends on the session's mode, unless it is pinned.
    stack.mariadb.sql("set global sql_mode = 'PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES'").expect("set");
    let values: Vec<&str> = types.iter().map(|(_, value)| *value).collect();
    for id in [1, 2] {
        stack.sql(&format!(
            "set sql_mode = ''; insert into items values ({id}, 0, {})",
            values.join(", ")
        ));
    }
    let node = stack.launch_with(|config| {
        let head = config.split("[data.product_price]").next().expect("a head");
        let contract = |at: usize| format!(
            r#"
            [data.t{at}]
            key = "v1:catalog:t{at}:{{id}}"
            value = "select sum(n) as n from items where g{at} = (select g{at} from items where id = $id)"
            from = {{ source = "shop", table = "items", key = "id" }}
            tags = ["t{at}-{{g{at}}}"]
            staleness = "5min"
            unproven = "read-origin"
            owner = "pricing"
            approved = {{ by = ["product"], on = 2026-11-02 }}
            "#
        );
        head.to_owned() + &(0..types.len()).map(contract).collect::<String>()
    }).ready();
    let get =
        |at: usize| http::get(node.data, &format!("/data/t{at}/1"), DEADLINE).expect("an answer");
    for (at, (kind, _)) in types.iter().enumerate() {
        node.wait("a cached answer", |_| crate::stack::tier(&get(at)) == Some("local"));
        let before = get(at).text();
        stack.sql("update items set n = n + 1 where id = 2");
        node.wait(&format!("the sum after a change of the sibling by {kind}"), |_| {
            get(at).text() != before
        });
    }
}

#[test]
fn redefined_view_or_function_is_read_anew() {
    let stack = Stack::start();
    stack.sql("create view priced as select id, price_cents, currency from products");
    stack.sql(
        "create function fee() returns int deterministic return 0; \
               grant execute on function fee to shop",
    );
    let node = stack
        .launch_with(|config| {
            long_budget(&config)
                .replace(
                    "select price_cents, currency from products",
                    "select price_cents + fee() as price_cents, currency from priced",
                )
                .replace(r#", columns = ["price_cents", "currency"]"#, "")
        })
        .ready();
    wait_price(&node, 1042);
    stack.sql(
        "create or replace view priced as select id, 7 as price_cents, currency from products",
    );
    wait_price(&node, 7);
    stack.sql(
        "create or replace function fee() returns int deterministic return 5; \
               grant execute on function fee to shop",
    );
    wait_price(&node, 12);
}

#[test]
fn statement_in_the_servers_own_dialect_loads() {
    let stack = Stack::start();
    for (number, (value, answer)) in [
        (r"select price_cents, 'it\\'s $id' as name from products where id = $id", "it's $id"),
        (r"select price_cents, 'x' as name # it's $id\n from products where id = $id", "x"),
        ("select price_cents, 5--1 as name from products where id = $id", "6"),
        ("select price_cents, `name` as `it's $x` from products where id = $id", "it's $x"),
        (
            "select /*! straight_join */ price_cents, 'y' as x, 1 as y from products where id = $id",
            "\"y\":1",
        ),
        (r#"select price_cents, \"it's\" as name from products where id = $id"#, "it's"),
    ]
    .into_iter()
    .enumerate()
    {
        let node = stack
            .launch_with(|config| {
                let old = "select price_cents, currency from products where id = $id";
                config
                    .replace("v1:catalog:price", &format!("v1:catalog:price{number}"))
                    .replace(old, value)
                    .replace(r#", columns = ["price_cents", "currency"]"#, "")
            })
            .ready();
        let text = node.get(42).text();
        assert!(text.contains(answer) && text.contains("1042"), "{value}: {text}");
    }
}

#[test]
fn unusual_names_follow_like_others() {
    let stack = Stack::start();
    stack.sql(
        "create table `my-shop``s`(`Id` int primary key, `Price Cents` int, `Group` varchar(9)); \
         insert into `my-shop``s` values (42, 1042, 'A'), (43, 1, 'A')",
    );
    let node = stack
        .launch_with(|config| {
            let value = "select `Price Cents` as price_cents from `my-shop``s` where Id = $id";
            let from = r#"table = "my-shop`s", key = "id""#;
            long_budget(&config)
                .replace("select price_cents, currency from products where id = $id", value)
                .replace(
                    r#"table = "products", key = "id", columns = ["price_cents", "currency"]"#,
                    from,
                )
                .replace("category-{category_id}", "category-{group}")
        })
        .ready();
    wait_price(&node, 1042);
    stack.sql("update `my-shop``s` set `Price Cents` = 5 where Id = 42");
    wait_price(&node, 5);
    stack.sql("alter table `my-shop``s` add column x int; truncate `my-shop``s`");
    node.wait("absence", |node| node.get(42).status == 404);
}

#[test]
fn column_that_the_log_compresses_refused_as_tag() {
    let stack = Stack::start();
    stack.sql("alter table products modify name varchar(100) compressed");
    let mut node =
        stack.launch_with(|config| config.replace("category-{category_id}", "name-{name}"));
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("modify `name` varchar(100) …;"), "{output}");
}

#[test]
fn system_versioned_table_refused_with_cure() {
    let stack = Stack::start();
    stack.sql("alter table products add system versioning");
    let mut node = stack.launch();
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("alter table `shop`.`products` drop system versioning;"), "{output}");
}
