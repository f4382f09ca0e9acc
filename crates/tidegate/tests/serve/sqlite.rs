//! Nodes on an SQLite file that the application writes to with an SQLite of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Port, Redis, http};
use rusqlite::Connection;
use rusqlite::backup::Backup;

use crate::stack::{DEADLINE, Node, bound_ms, start, tier};

/// A shop's database file, and any number of configurations of a node.
pub(crate) struct Shop {
    folder: tempfile::TempDir,
    redis: Option<Redis>,
}

const PRODUCTS: &str = "pragma journal_mode = wal; \
    create table products(id integer primary key, name text, category text, price_cents int); \
    insert into products values (42, 'thing', 'c', 1042), (43, 'other', 'c', 1043)";

/// The budget is longer than every test, so that no old value ends by itself.
const CONTRACT: &str = r#"
    [data.product_price]
    key = "v1:catalog:price:{id}"
    value = "select price_cents, category from products where id = $id"
    from = { source = "shop", table = "products", key = "id" }
    tags = ["product-{id}", "category-{category}"]
    staleness = "5min"
    unproven = "read-origin"
    owner = "pricing"
    approved = { by = ["product"], on = 2026-11-02 }
"#;

impl Shop {
    pub(crate) fn create() -> Self {
        let shop = Self { folder: tempfile::tempdir().expect("a folder"), redis: None };
        shop.sql(PRODUCTS);
        shop
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    fn other(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs statements as the application does, over a new connection.
    pub(crate) fn sql(&self, sql: &str) {
        let connection = Connection::open(self.path()).expect("it opens");
        connection.busy_timeout(DEADLINE).expect("it is set");
        connection.execute_batch(sql).unwrap_or_else(|err| panic!("{sql}: {err}"));
    }

    fn price(&self, cents: u32) {
        self.sql(&format!("update products set price_cents = {cents} where id = 42"));
    }

    /// Writes a copy of the database.
    fn backup(&self, name: &str) -> PathBuf {
        let copy = self.other(name);
        self.sql(&format!("vacuum into '{}'", copy.display()));
        copy
    }

    /// Removes the write-ahead log, as an administrator does who replaces the file.
    fn remove_log(&self) {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", self.path().display()));
        }
    }

    /// Copies the pages of a backup into the live file, like `.restore` of SQLite's shell.
    fn restore(&self, backup: &Path) {
        let copy = Connection::open(backup).expect("it opens");
        let mut live = Connection::open(self.path()).expect("it opens");
        live.busy_timeout(DEADLINE).expect("it is set");
        let restored = Backup::new(&copy, &mut live).expect("a backup");
        restored.run_to_completion(100, Duration::ZERO, None).expect("restored");
    }

    pub(crate) fn launch(&self, contract: &str) -> Node {
        let ports = [(); 2].map(|()| Port::reserve().expect("a free port"));
        let [data, admin] = ports.each_ref().map(Port::addr);
        let shared = self.redis.as_ref().map_or("memory:".to_owned(), Redis::url);
        let config = format!(
            "[listen]\ndata = \"{data}\"\nadmin = \"{admin}\"\n\
             [source.shop]\nurl = \"sqlite:{}\"\n[shared]\nurl = \"{shared}\"\n{contract}",
            self.path().display()
        );
        let path = self.other(&format!("tidegate-{}.toml", admin.port()));
        fs::write(&path, config).expect("written");
        Node { process: start(&path, &[]), gateway: data, data, admin, _ports: ports.into() }
    }

    fn node(&self) -> Node {
        self.launch(CONTRACT).ready()
    }

    /// Starts a node whose answers need a bound below one second.
    fn node_with_short_budget(&self) -> Node {
        self.launch(&CONTRACT.replace("5min", "1s")).ready()
    }
}

fn wait_cached(node: &Node) {
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
}

/// Waits until the price is this one, and stays it from the tier.
fn wait_price(node: &Node, cents: u32) {
    node.wait("the new price", |node| node.cents(42) == Some(cents));
    wait_cached(node);
    assert_eq!(node.cents(42), Some(cents), "the new price stays");
}

#[test]
fn contract_without_columns_sees_every_update() {
    let shop = Shop::create();
    let any = CONTRACT.replace("price_cents, category", "*");
    let node = shop.launch(&any).ready();
    wait_cached(&node);
    shop.price(1);
    wait_price(&node, 1);
    // The value's new column appears with the next change of the schema.
    shop.sql("alter table products add column colour text");
    shop.sql("update products set colour = 'red' where id = 42");
    node.wait("the new column", |node| node.get(42).text().contains(r#""colour":"red""#));
    wait_cached(&node);
    shop.sql("update products set colour = 'blue' where id = 42");
    node.wait("the new colour", |node| node.get(42).text().contains(r#""colour":"blue""#));
    shop.sql("alter table products drop column name");
    node.wait("the dropped column", |node| !node.get(42).text().contains("name"));
    assert_eq!(node.cents(42), Some(1));
}

#[test]
fn sibling_raises_tag_of_any_type() {
    let shop = Shop::create();
    // Columns of a declared type still store any value.
    shop.sql(
        "create table items(id integer primary key, g, n int); create unique index one on items(n)",
    );
    let contract = CONTRACT
        .replace(
            "price_cents, category from products",
            "id, (select sum(n) from items i where i.g = items.g) as n from items",
        )
        .replace(r#"table = "products""#, r#"table = "items""#)
        .replace("category-{category}", "g-{g}");
    let groups = [
        "1",
        "1.0",
        "1e21",
        "123456789012345678.0",
        "0.1",
        "-0.0",
        "9e999",
        "'a'||char(0)||'b'",
        "x'00ff'",
        "cast(x'ff' as text)",
        "true",
        "'é, it''s'",
        "'NULL'",
        "''",
        "5e-324",
    ];
    for (at, group) in groups.iter().enumerate() {
        let (first, second) = (2 * at + 1, 2 * at + 2);
        shop.sql(&format!(
            "insert into items values ({first}, {group}, {first}000), ({second}, {group}, {second}000)"
        ));
    }
    let node = shop.launch(&contract).ready();
    let get = |id: usize| {
        let path = format!("/data/product_price/{id}");
        http::get(node.data, &path, DEADLINE).expect("an answer")
    };
    for (at, group) in groups.iter().enumerate() {
        let (first, second) = (2 * at + 1, 2 * at + 2);
        node.wait("a cached answer", |_| tier(&get(first)) == Some("local"));
        let before = get(first).text();
        shop.sql(&format!("update items set n = n + 1 where id = {second}"));
        node.wait(&format!("the sum after a change of the sibling by {group}"), |_| {
            get(first).text() != before
        });
    }
}

#[test]
fn triggers_dropped_and_restored_leave_no_old_value() {
    let shop = Shop::create();
    let node = shop.node();
    for cents in 1..6 {
        wait_cached(&node);
        let connection = Connection::open(shop.path()).expect("it opens");
        connection.busy_timeout(DEADLINE).expect("it is set");
        let triggers: Vec<(String, String)> = connection
            .prepare("select name, sql from sqlite_master where type = 'trigger'")
            .expect("a statement")
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("triggers");
        assert!(triggers.len() >= 3, "{triggers:?}");
        let drop: String =
            triggers.iter().map(|(name, _)| format!("drop trigger \"{name}\";")).collect();
        let restore: String = triggers.iter().map(|(_, sql)| format!("{sql};")).collect();
        connection
            .execute_batch(&format!(
                "begin immediate; {drop} update products set price_cents = {cents} where id = 42; \
                 {restore} commit"
            ))
            .expect("committed");
        wait_price(&node, cents);
    }
}

#[test]
fn table_swapped_by_rename_is_read_anew() {
    let shop = Shop::create();
    let node = shop.node();
    wait_cached(&node);
    // The twelve steps of SQLite's documentation for other changes of a table: the key becomes a text.
    shop.sql(
        "begin immediate; create table new_products(id text primary key, price_cents int, category text); \
         insert into new_products select id, price_cents + 1, category from products; \
         insert into new_products values ('sku', 7, 'c'); \
         drop table products; alter table new_products rename to products; commit",
    );
    wait_price(&node, 1043);
    let sku = || http::get(node.data, "/data/product_price/sku", DEADLINE).expect("an answer");
    node.wait("an id of the new type", |_| sku().status == 200);
    shop.price(5);
    wait_price(&node, 5);
}

#[test]
fn replaced_rows_of_any_unique_index_disappear() {
    let shop = Shop::create();
    shop.sql("create unique index by_name on products(lower(name))");
    let node = shop.node();
    wait_cached(&node);
    shop.sql("insert or replace into products values (44, 'THING', 'd', 1)");
    node.wait("absence", |node| node.get(42).status == 404);
    shop.sql("insert into products values (42, 'a', 'c', 2)");
    wait_price(&node, 2);
    shop.sql("update or replace products set id = 42 where id = 44");
    wait_price(&node, 1);
    shop.sql("update products set id = 45 where id = 42");
    node.wait("absence under the old key", |node| node.get(42).status == 404);
    assert_eq!(node.cents(45), Some(1));
    shop.sql("insert into products values (42, 'b', 'c', 3)");
    wait_price(&node, 3);
    shop.sql("delete from products");
    node.wait("absence", |node| node.get(42).status == 404);
}

#[test]
fn file_replaced_by_backup_is_read_at_once() {
    let shop = Shop::create();
    let node = shop.node();
    wait_cached(&node);
    let (old, newer) = (shop.backup("old.db"), shop.other("newer.db"));
    shop.price(1);
    wait_price(&node, 1);
    fs::copy(&old, &newer).expect("copied");
    let copied = Connection::open(&newer).expect("it opens");
    // This backup's log goes on beyond the one that was read.
    for cents in [90, 91, 92, 93, 94] {
        let sql = format!("update products set price_cents = {cents} where id = 42");
        copied.execute_batch(&sql).expect("written");
    }
    drop(copied);
    for (backup, cents) in [(old, 1042), (newer, 94)] {
        let epoch = node.status()["epoch"].clone();
        shop.remove_log();
        fs::rename(&backup, shop.path()).expect("replaced");
        node.wait("the new price", |node| node.cents(42) == Some(cents));
        node.wait("another epoch", |node| node.status()["epoch"] != epoch);
        wait_price(&node, cents);
        shop.price(cents + 1);
        wait_price(&node, cents + 1);
    }
}

#[test]
fn copy_restored_into_the_file_is_noticed() {
    let shop = Shop::create();
    let node = shop.node();
    wait_cached(&node);
    let backup = shop.backup("backup.db");
    shop.price(1);
    wait_price(&node, 1);
    shop.restore(&backup);
    wait_price(&node, 1042);
    for cents in 2..9 {
        shop.price(cents);
    }
    wait_price(&node, 8);
    shop.restore(&backup);
    wait_price(&node, 1042);
}

/// The file stays, and only its change log shows that its content is another one.
#[test]
fn copy_over_the_file_without_its_log_is_noticed() {
    let shop = Shop::create();
    let node = shop.node();
    wait_cached(&node);
    let backup = shop.backup("backup.db");
    shop.price(1);
    wait_price(&node, 1);
    shop.remove_log();
    fs::copy(&backup, shop.path()).expect("copied");
    wait_price(&node, 1042);
    shop.price(2);
    wait_price(&node, 2);
}

#[test]
fn deleted_file_is_an_error_not_an_old_value() {
    let shop = Shop::create();
    let node = shop.node_with_short_budget();
    wait_cached(&node);
    let backup = shop.backup("backup.db");
    shop.remove_log();
    fs::remove_file(shop.path()).expect("removed");
    node.wait("an error", |node| node.get(42).status >= 500);
    node.wait("the missing file's name in the health report", |node| {
        let health = http::get(node.admin, "/readyz", DEADLINE).expect("an answer");
        health.text().contains("shop.db")
    });
    fs::rename(&backup, shop.path()).expect("restored");
    shop.price(6);
    wait_price(&node, 6);
}

#[test]
fn older_copy_put_in_place_while_stopped_resets_epoch() {
    let mut shop = Shop::create();
    shop.redis = Some(Redis::builder().persistent().start().expect("Redis starts"));
    let mut node = shop.node();
    wait_cached(&node);
    let backup = shop.backup("backup.db");
    let restore_in_place = || shop.restore(&backup);
    let replace = || {
        let copy = shop.other("copy.db");
        fs::copy(&backup, &copy).expect("copied");
        shop.remove_log();
        fs::rename(&copy, shop.path()).expect("replaced");
    };
    for put in [&restore_in_place as &dyn Fn(), &replace] {
        for cents in 1..9 {
            shop.price(cents);
        }
        wait_price(&node, 8);
        node.process.terminate(DEADLINE).expect("it stops");
        drop(node);
        put();
        node = shop.node();
        assert_eq!(node.cents(42), Some(1042));
        wait_price(&node, 1042);
    }
}

#[test]
fn bound_waits_while_triggers_are_unchecked() {
    let shop = Shop::create();
    let node = shop.node_with_short_budget();
    wait_cached(&node);
    // A table that contracts need is missing, so the feed can't complete its triggers.
    shop.sql("alter table products rename to parked");
    shop.sql("update parked set price_cents = 1 where id = 42");
    node.wait("no small bound", |node| {
        let answer = node.get(42);
        answer.status >= 500 || bound_ms(&answer).is_none_or(|bound| bound > 1_000.0)
    });
    shop.sql("alter table parked rename to products");
    wait_price(&node, 1);
}

#[test]
fn unusual_names_follow_like_others() {
    let shop = Shop::create();
    shop.sql(
        "create table [my-shop's](Id integer primary key, [Price Cents] int, \"Group\" text); \
         insert into [my-shop's] values (42, 1042, 'A'), (43, 1, 'A')",
    );
    let value = "select [Price Cents] as price_cents, 1 as x, 5 /* /* */ as y \
                 from [my-shop's] where id = $id -- it's";
    let contract = CONTRACT
        .replace("select price_cents, category from products where id = $id", value)
        .replace(r#"table = "products""#, r#"table = "My-shop's""#)
        .replace("category-{category}", "category-{group}");
    let node = shop.launch(&contract).ready();
    wait_price(&node, 1042);
    assert!(node.get(42).text().contains(r#""x":1,"y":5"#), "{}", node.get(42).text());
    shop.sql("update [my-shop's] set [Price Cents] = 5 where id = 42");
    wait_price(&node, 5);
}

#[test]
fn key_without_type_refused_with_cure() {
    let shop = Shop::create();
    shop.sql(
        "create table loose(id primary key, price_cents int); insert into loose values (42, 1)",
    );
    let contract = CONTRACT
        .replace("price_cents, category from products", "price_cents from loose")
        .replace(r#"table = "products""#, r#"table = "loose""#)
        .replace(r#", "category-{category}""#, "");
    let mut node = shop.launch(&contract);
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("Declare the key column as INTEGER or TEXT"), "{output}");
}

#[test]
fn variants_read_on_sqlite() {
    let shop = Shop::create();
    shop.sql(
        "create table prices(product_id integer, currency text, cents int, primary key (product_id, currency)); \
         insert into prices values (42, 'GBP', 1042), (42, 'EUR', 1242)",
    );
    let contract = CONTRACT
        .replace("price:{id}", "price:{id}:{currency}")
        .replace(
            "select price_cents, category from products where id = $id",
            "select cents from prices where currency = $currency and product_id = $id",
        )
        .replace("table = \"products\", key = \"id\"", "table = \"prices\", key = \"product_id\"")
        .replace(", \"category-{category}\"", "");
    let node = shop.launch(&contract).ready();
    let cents = |currency: &str| {
        let path = format!("/data/product_price/42?currency={currency}");
        http::get(node.data, &path, DEADLINE).expect("an answer").text()
    };
    assert_eq!((&*cents("GBP"), &*cents("EUR")), ("{\"cents\":1042}", "{\"cents\":1242}"));
    shop.sql("update prices set cents = 1300 where currency = 'EUR'");
    node.wait("the new price", |_| cents("EUR") == "{\"cents\":1300}");
    assert_eq!(cents("GBP"), "{\"cents\":1042}");
}

#[test]
fn every_table_reaches_entries_on_sqlite() {
    let shop = Shop::create();
    shop.sql(&crate::joins::tables("text"));
    let node = shop.launch(crate::joins::CONTRACTS).ready();
    crate::joins::assert_joins(&node, &|sql| shop.sql(sql));
}
