//! A misspelt name is answered with the nearest one, at its place in the file, once.

use harness::Port;

use super::{Desk, sqlite};
use crate::mariadb;
use crate::stack::Stack;

/// Returns the line of a text in a file, from 1.
fn line(text: &str, part: &str) -> usize {
    1 + text.lines().position(|line| line.contains(part)).expect(part)
}

/// `serve` and `check --connect` end with the same message.
fn both(desk: &Desk, name: &str) -> String {
    let outputs = [&["serve", name][..], &["check", "--connect", name]].map(|args| {
        let ended = desk.run(args);
        assert_eq!(ended.code, Some(3), "{args:?}: {ended:?}");
        ended.text()
    });
    outputs.join("\n--\n")
}

fn assert_in_both(output: &str, part: &str) {
    assert_eq!(output.matches(part).count(), 2, "{part}: once in each of\n{output}");
}

#[test]
fn misspelt_names_of_postgres_suggested_with_place() {
    let stack = Stack::start();
    stack.sql("create schema archive; create table archive.deals(id int primary key)");
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let config = stack.config(ports.each_ref());
    let desk = Desk::new();
    for (from, to, suggestion, place) in [
        ("table = \"products\"", "table = \"prodcts\"", "`products`", "from.table"),
        ("table = \"products\"", "table = \"Products\"", "`products`", "from.table"),
        ("table = \"products\"", "table = \"deals\"", "`archive.deals`", "from.table"),
        ("key = \"id\"", "key = \"idd\"", "`id`", "from.key"),
        ("\"currency\"] }", "\"curency\", \"currency\"] }", "`currency`", "from.columns[1]"),
        (
            "tags      = [\"product-{id}\"]",
            "tags      = [\"c-{categry_id}\"]",
            "`category_id`",
            "tags[0]",
        ),
    ] {
        let wrong = config.replace(from, to);
        assert_ne!(wrong, config, "{from}");
        desk.write("tidegate.toml", &wrong);
        let output = both(&desk, "tidegate.toml");
        assert_in_both(&output, &format!("did you mean {suggestion}?"));
        let line = line(&wrong, to);
        let place = format!("-- at tidegate.toml: line {line}: data.product_price.{place}");
        assert_in_both(&output, &place);
        for misleading in ["create table", "add column"] {
            assert!(!output.contains(misleading), "{output}");
        }
    }
    desk.write(
        "tidegate.toml",
        &config.replace("select price_cents,", "select price_cent + 0 as price_cents,"),
    );
    let output = both(&desk, "tidegate.toml");
    assert!(output.contains("Perhaps you meant") && output.contains("product_price"), "{output}");
}

#[test]
fn misspelt_names_of_mariadb_suggested() {
    let stack = mariadb::Stack::start();
    let desk = Desk::new();
    for (from, to, suggestion) in [
        ("table = \"products\"", "table = \"prodcts\"", "`products`"),
        (
            "\"price_cents\", \"currency\"]",
            "\"price_cents\", \"currency\", \"curency\"]",
            "`currency`",
        ),
    ] {
        let mut wrong = String::new();
        let config = stack.config([(); 2].map(|()| "127.0.0.1:0".parse().expect("an address")));
        wrong.push_str(&config.replace(from, to));
        desk.write("tidegate.toml", &wrong);
        let output = both(&desk, "tidegate.toml");
        assert_in_both(&output, &format!("did you mean {suggestion}?"));
        assert!(!output.contains("create table") && !output.contains("add column"), "{output}");
    }
}

#[test]
fn misspelt_names_of_sqlite_suggested() {
    let desk = Desk::new();
    sqlite(&desk.path("shop.db"), "create table products(id integer primary key, price_cents int)");
    let config = "[source.shop]\nurl = \"sqlite:shop.db\"\n[data.price]\nkey = \"v1:catalog:price:{id}\"\n\
                  value = \"select price_cents from products where id = $id\"\n\
                  from = { source = \"shop\", table = \"products\", key = \"id\", columns = [\"price_cents\"] }\n\
                  staleness = \"30s\"\nowner = \"pricing\"\napproved = { by = [\"product\"], on = 2026-11-02 }\n";
    for (from, to, suggestion) in [
        ("table = \"products\"", "table = \"product\"", "`products`"),
        ("key = \"id\"", "key = \"di\"", "`id`"),
        ("[\"price_cents\"]", "[\"price_cents\", \"price_cent\"]", "`price_cents`"),
    ] {
        desk.write("tidegate.toml", &config.replace(from, to));
        let output = both(&desk, "tidegate.toml");
        assert_in_both(&output, &format!("did you mean {suggestion}?"));
    }
}

/// The line is that of the contract's own file.
#[test]
fn misspelt_name_in_contract_file_has_its_line() {
    let desk = Desk::new();
    sqlite(&desk.path("shop.db"), "create table products(id integer primary key, name text)");
    let contract = |name: &str, table: &str| {
        format!(
            "[data.{name}]\nkey = \"v1:shop:{name}:{{id}}\"\nvalue = \"select name from products where id = $id\"\n\
             staleness = \"30s\"\nfrom = {{ source = \"shop\", table = \"{table}\" }}\nowner = \"shop\"\n\
             approved = {{ by = [\"shop\"], on = 2026-11-02 }}\n"
        )
    };
    let main = "contracts = \"more.toml\"\n[source.shop]\nurl = \"sqlite:shop.db\"\n";
    desk.write("tidegate.toml", &format!("{main}{}", contract("good", "products")));
    desk.write("more.toml", &contract("bad", "productz"));
    let output = both(&desk, "tidegate.toml");
    assert_in_both(&output, "-- at more.toml: line 5: data.bad.from.table");
}

/// Names that only the file knows: `check` finds all of them at once, and `serve` says the same.
#[test]
fn misspelt_names_of_file_suggested_at_once() {
    let desk = Desk::new();
    let config = "[listn]\ngateway = \"127.0.0.1:0\"\n\
                  [source.shop]\nurl = \"sqlite:shop.db\"\nslto = \"x\"\n\
                  [data.price]\nkey = \"v1:catalog:price:{id}\"\ntags = [\"p-{id}\"]\n\
                  from = { source = \"shpo\", table = \"products\" }\n\
                  staleness = \"30s\"\nowner = \"pricing\"\napproved = { by = [\"product\"], on = 2026-11-02 }\n\
                  [[edge.route]]\npath = \"/a/\"\n[[edge.route]]\npath = \"/p/\"\nshows = [\"prize\"]\nunproven = \"serve-stle\"\n";
    desk.write("tidegate.toml", config);
    let outputs = [desk.run(&["check"]), desk.run(&["serve"])].map(|ended| {
        assert_eq!(ended.code, Some(3), "{ended:?}");
        ended.text()
    });
    assert_eq!(outputs[0], outputs[1]);
    for (at, problem) in [
        ("[listn]", "listn: is not a known key; did you mean `listen`?"),
        ("slto", "source.shop.slto: is not a known key; did you mean `slot`?"),
        ("from =", "data.price.from.source: there is no `[source.shpo]`; did you mean \"shop\"?"),
        ("shows", "edge.route[1].shows[0]: there is no `[data.prize]`; did you mean \"price\"?"),
        ("unproven", "edge.route[1].unproven: `serve-stle` is not a known value; did you mean"),
    ] {
        let expected = format!("tidegate.toml: line {}: {problem}", line(config, at));
        assert_eq!(outputs[0].matches(&expected).count(), 1, "{expected}\n{}", outputs[0]);
    }
    assert_eq!(outputs[0].trim().lines().count(), 5, "{}", outputs[0]);
}
