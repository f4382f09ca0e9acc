//! Errors at the start, with the statements that an administrator has to run.

use std::time::Duration;

use harness::{Port, Postgres, Process};

use crate::stack::{DEADLINE, Stack};

#[test]
fn missing_settings_listed_and_exit_3() {
    let postgres = Postgres::builder().setting("wal_level", "replica").start().expect("it starts");
    postgres.psql("create role shop login").expect("a role");
    postgres.psql("create database shop").expect("a database");
    postgres.psql_in("shop", "create table products(id int primary key, name text, category_id int, price_cents int, currency text)").expect("a table");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.toml");
    let text = include_str!("../../../../examples/tidegate.toml")
        .replace("127.0.0.1:5432", &postgres.addr().to_string());
    std::fs::write(&config, text).expect("written");
    let mut process = serve(&config);
    let status = process.wait(DEADLINE).expect("exited");
    let output = process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    for part in [
        "wal_level",
        "alter system set wal_level = 'logical'",
        "replication",
        "grant select",
        "create publication",
    ] {
        assert!(output.to_lowercase().contains(part), "{part} is not in:\n{output}");
    }
}

/// The statements of the page leave nothing of Tidegate in the database.
#[test]
fn removal_leaves_nothing() {
    let page = include_str!("../../../../docs/sources.md");
    let section = page.split("## Removal").nth(1).expect("the section");
    let statements = section.split("```sql").nth(1).and_then(|rest| rest.split("```").next());
    let stack = Stack::start();
    let made = || {
        let sql = "select slot_name from pg_replication_slots union all \
                   select pubname from pg_publication union all \
                   select nspname from pg_namespace where nspname like 'tidegate%'";
        stack.postgres.psql_in("shop", sql).expect("a list").trim().to_owned()
    };
    let node = stack.node();
    node.wait("a proven bound", |node| node.get(42).status == 200);
    assert_eq!(made(), "tidegate\ntidegate");
    drop(node);
    let statements = statements.expect("the statements");
    // The server ends the killed node's session first.
    harness::until("the removal", DEADLINE, || Ok(stack.postgres.psql_in("shop", statements).ok()))
        .expect("removed");
    assert_eq!(made(), "");
}

#[test]
fn contract_database_mismatch_exits_3() {
    let stack = Stack::start();
    for (from, to, expected) in [
        (
            "columns = [\"price_cents\", \"currency\"]",
            "columns = [\"price_cents\", \"currency\", \"price_pennies\"]",
            "price_pennies",
        ),
        ("table = \"products\"", "table = \"prodcts\"", "prodcts"),
        ("select price_cents, currency from", "select price_cent + 0, currency from", "price_cent"),
    ] {
        let mut node = stack.launch(|config| config.replace(from, to));
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains(expected), "{output}");
    }
}

#[test]
fn contract_error_refuses_start() {
    let stack = Stack::start();
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let config = stack.config(ports.each_ref());
    let wrong = config.replace("[\"price_cents\", \"currency\"]", "[\"currency\"]");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    std::fs::write(&path, wrong).expect("written");
    let outputs = [&["serve", "--config"][..], &["check"]].map(|command| {
        let process = Process::builder(env!("CARGO_BIN_EXE_tidegate")).args(command).arg(&path);
        let mut process = process.start().expect("the binary starts");
        let status = process.wait(DEADLINE).expect("exited");
        let output = process.lines().join("\n");
        assert_eq!(status.code(), Some(1), "{output}");
        output
    });
    for part in [
        "error[value-column-not-watched] data.product_price.from.columns: the value selects \
         `price_cents`",
        "tidegate.toml: line ",
        "fix  add it to `columns`",
        "1 errors, 0 warnings",
    ] {
        assert!(outputs.iter().all(|output| output.contains(part)), "{part}: {outputs:#?}");
    }
}

#[test]
fn contract_warning_logged_with_place() {
    let stack = Stack::start();
    let node = stack.node_with(|config| {
        config.replace("select price_cents,", "select price_cents, now() as at,")
    });
    let log = node.process.lines().join("\n");
    let warning = log.lines().find(|line| line.contains("value-by-the-clock")).expect("a warning");
    for part in ["WARN", "data.product_price.value", ".toml", "line=", "fix="] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
}

#[test]
fn unreachable_server_error_hides_password() {
    let stack = Stack::start();
    let mut node = stack.launch(|config| {
        let at = format!("shop@{}", stack.postgres.addr());
        config.replace(&at, "shop:secret@127.0.0.1:1")
    });
    let status = node.process.wait(DEADLINE + Duration::from_secs(10)).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("127.0.0.1:1") && !output.contains("secret"), "{output}");
}

fn serve(config: &std::path::Path) -> Process {
    Process::builder(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--config"])
        .arg(config)
        .start()
        .expect("the binary starts")
}
