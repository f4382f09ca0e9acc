//! Reloads that change nothing, and reloads while something is away.

use super::load::Load;
use super::{command, signal, text, unchanged, with_names};
use crate::stack::{Node, Stack};

/// Edits a configuration.
type Edit = fn(String) -> String;

/// The configuration of before serves, and the failure is shown everywhere.
fn assert_not_reloaded(node: &Node, part: &str) {
    assert_eq!(node.value("product_name", 42).0.status, 404, "the new contract is not served");
    assert_eq!(node.get(42).status, 200);
    let error = node.configuration()["reload_error"].clone();
    assert!(error.as_str().is_some_and(|error| error.contains(part)), "{error}");
    assert_eq!(node.metric("tidegate_configuration_last_reload_ok"), 0.0);
    let readiness = node.components();
    assert_eq!(readiness["ready"], true, "{readiness}");
    assert_eq!(readiness["components"]["reload"]["ok"], false, "{readiness}");
    // An error may have several lines.
    let log = node.process.lines().join("\n");
    let logged = log.rsplit("not reloaded").next().expect("a part");
    assert!(logged.contains(part), "{part}: {log}");
}

fn assert_reloads(stack: &Stack, node: &Node) {
    stack.reload(node, with_names);
    assert_eq!(node.value("product_name", 42).0.status, 200);
    assert_eq!(node.metric("tidegate_configuration_last_reload_ok"), 1.0);
    assert_eq!(node.components()["components"]["reload"]["ok"], true);
    assert!(node.configuration()["reload_error"].is_null());
}

#[test]
fn broken_file_changes_nothing() {
    let stack = Stack::start();
    let node = stack.node();
    let load = Load::on(&node);
    let broken: [(Edit, &str); 5] = [
        (|config| with_names(config) + "[oops", "line"),
        (
            |config| with_names(config).replace("staleness = \"1s\"", "stalenes = \"1s\""),
            "stalenes",
        ),
        // The linter's: it has no approval.
        (
            |config| {
                with_names(config)
                    .replace("approved  = { by = [\"product\"], on = 2026-11-02 }\n", "")
            },
            "approved",
        ),
        (|config| with_names(config) + "\n[edge]\nmax_tags = \"many\"\n", "max_tags"),
        (|config| format!("contracts = \"more/*.toml\"\n{}", with_names(config)), "more"),
    ];
    for (edit, part) in broken {
        stack.write(&node, edit);
        let answer = node.reload();
        assert_eq!(answer.status, 422, "{part}: {}", answer.text());
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
        assert_not_reloaded(&node, part);
    }
    // After any number of failures a valid file is taken.
    assert_reloads(&stack, &node);
    load.goes_on(&node);
    load.end();
}

#[test]
fn unreadable_file_changes_nothing() {
    let stack = Stack::start();
    let node = stack.node();
    let load = Load::on(&node);
    let path = stack.write(&node, with_names);
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(node.reload().status, 422);
    assert_not_reloaded(&node, "there is no such file");
    // A folder in its place, as a mount that went wrong.
    std::fs::create_dir(&path).expect("a folder");
    assert_eq!(node.reload().status, 422);
    assert_not_reloaded(&node, "directory");
    std::fs::remove_dir(&path).expect("removed");
    assert_reloads(&stack, &node);
    load.end();
}

/// A statement that the database refuses is found before anything is switched.
#[test]
fn statement_refused_by_database_changes_nothing() {
    let stack = Stack::start();
    let node = stack.node();
    let load = Load::on(&node);
    let published = "select count(*) from pg_publication_tables where pubname = 'tidegate'";
    let before = stack.sql(published);
    stack.sql("create table reviews(id int primary key, stars int)");
    // The second contract is right: nothing of it is applied either.
    stack.write(&node, |config| {
        let reviews = super::NAMES
            .replace("product_name", "review")
            .replace("catalog:name", "catalog:review");
        let reviews = reviews.replace("select name from products", "select stars from reviews");
        let reviews = reviews.replace("table = \"products\"", "table = \"reviews\"");
        let reviews = reviews.replace("columns = [\"name\"]", "columns = [\"stars\"]");
        with_names(config).replace("select name from", "select nosuch(name) as name from")
            + &reviews
    });
    let answer = node.reload();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("nosuch"), "{}", answer.text());
    assert_not_reloaded(&node, "nosuch");
    assert_eq!(stack.sql(published), before, "the publication is as it was");
    assert_reloads(&stack, &node);
    load.end();
}

#[test]
fn keys_of_the_start_named_and_refused() {
    let stack = Stack::start();
    let node = stack.node();
    stack.write(&node, |config| {
        let config = with_names(config).replace("[shared]\n", "[shared]\nprefix = \"other\"\n");
        config.replace("[source.shop]\n", "[source.shop]\nslot = \"other\"\n")
            + "\n[local]\nmemory = \"64MiB\"\n"
    });
    let answer = node.reload();
    assert_eq!(answer.status, 409, "{}", answer.text());
    for key in ["shared.prefix", "source.shop.slot", "local.memory", "needs a restart"] {
        assert!(answer.text().contains(key), "{key}: {}", answer.text());
    }
    assert_not_reloaded(&node, "shared.prefix");
    assert_reloads(&stack, &node);
}

#[test]
fn command_reports_result() {
    let stack = Stack::start();
    let node = stack.node();
    stack.write(&node, with_names);
    let done = command(&node, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done));
    assert!(text(&done).contains("data.product_name"), "{}", text(&done));
    stack.write(&node, |config| config + "[oops");
    let refused = command(&node, &[]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(text(&refused).contains("the configuration of before serves"), "{}", text(&refused));
    stack.write(&node, |config| config + "\n[local]\nmemory = \"64MiB\"\n");
    assert_eq!(command(&node, &[]).status.code(), Some(1));
    drop(node.process);
    let admin = node.admin.to_string();
    let away = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["reload", "--admin", &admin])
        .output()
        .expect("the binary runs");
    assert_eq!(away.status.code(), Some(3), "{}", text(&away));
}

#[test]
fn database_away_changes_nothing() {
    let mut stack = Stack::start();
    let node = stack.node();
    node.wait("a cached answer", |node| node.cents(42) == Some(1042));
    stack.write(&node, with_names);
    stack.postgres.stop().expect("stopped");
    let answer = node.reload();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(node.configuration()["number"], 1);
    assert_eq!(node.value("product_name", 42).0.status, 404);
    stack.postgres.start_again().expect("started");
    node.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
    assert_reloads(&stack, &node);
    stack.price(42, 7);
    node.wait("the new price", |node| node.cents(42) == Some(7));
}

/// The new configuration can't be proven by the tier: as a node that starts without Redis, it answers from the database.
#[test]
fn reloads_while_redis_is_away() {
    let mut stack = Stack::start();
    let node = stack.node();
    let load = Load::on(&node);
    stack.redis.stop().expect("stopped");
    stack.reload(&node, with_names);
    stack.sql("update products set name = 'new' where id = 42");
    assert_eq!(node.value("product_name", 42).1["name"], "new");
    node.wait("unknown nodes", |node| node.configuration()["differing_nodes"].is_null());
    assert_eq!(node.metric("tidegate_configuration_nodes_unknown"), 1.0);
    stack.redis.start_again().expect("started");
    node.wait("a proven bound", |node| node.status()["bound_ms"].as_f64().is_some());
    node.wait("the nodes", |node| node.configuration()["differing_nodes"].is_array());
    load.end();
}

/// The log stands still: both configurations have to ask the database.
#[test]
fn no_stale_answer_while_the_feed_lags() {
    let stack = Stack::start();
    let node = stack.node();
    node.wait("a cached answer", |node| node.cents(42) == Some(1042));
    let sender = "select pid from pg_stat_replication";
    let sender: u32 = stack.postgres.psql(sender).expect("a list").trim().parse().expect("one");
    signal(sender, "STOP");
    stack.price(42, 5);
    stack.sql("update products set name = 'new' where id = 42");
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    stack.write(&node, with_names);
    let answer = node.reload();
    assert_eq!(node.cents(42), Some(5), "older than its contract allows");
    if answer.status == 200 {
        assert_eq!(node.value("product_name", 42).1["name"], "new");
    } else {
        assert!(answer.text().contains("no proven bound"), "{}", answer.text());
    }
    signal(sender, "CONT");
    stack.write(&node, with_names);
    node.wait("the reload", |node| node.reload().status == 200);
    stack.price(42, 6);
    node.wait("the new price", |node| node.cents(42) == Some(6));
    stack.write(&node, unchanged);
    node.reloaded();
}
