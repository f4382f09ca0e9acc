//! `tidegate sale`, and the start of nodes.

use super::stand::{Stand, body};
use crate::stack::DEADLINE;

#[test]
fn node_without_schema_names_the_cure() {
    let stand = Stand::without_ledger();
    let refuses = |expected: &str| {
        let mut node = stand.launch("");
        let status = node.process.wait(DEADLINE).expect("exited");
        let output = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains(expected), "{output}");
    };
    refuses("`tidegate sale migrate`");
    let (status, shown) = stand.command(&["migrate", "--dry-run"], "");
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("create table tidegate.stock"), "{shown}");
    refuses("`tidegate sale migrate`");
    let (status, output) = stand.command(&["migrate"], "");
    assert_eq!(status, Some(0), "{output}");
    assert!(output.starts_with("applied 0001 inventory\napplied 0002 inline lines"), "{output}");
    // While a node serves.
    let node = stand.node();
    let (status, output) = stand.command(&["migrate"], "");
    assert_eq!((status, output.ends_with(" is up to date")), (Some(0), true), "{output}");
    stand.client(&node).put_units("A", 1);
    stand.stack.sql("insert into tidegate.migration(version, name) values (999, 'of the future')");
    refuses("the schema of the sale has version 999, and this program knows");
    assert_eq!(stand.client(&node).stock("A"), [1, 0, 0, 1]);
}

#[test]
fn audit_and_status_without_a_node() {
    let stand = Stand::start();
    let node = stand.node();
    let client = stand.client(&node);
    client.put_units("A", 5);
    client.hold("1", "c", &[("A", 2)]);
    drop(node);
    let (status, output) = stand.command(&["status", "--json"], "");
    let counts: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((status, &counts["held"], &counts["active_holds"]), (Some(0), &2.into(), &1.into()));
    stand.audit();
    let told = stand.file("invented.txt", "0123456789abcdef0123456789abcdef\n");
    let told = told.display().to_string();
    let (status, output) = stand.command(&["audit", "--acknowledged", &told], "");
    assert_eq!(status, Some(1), "{output}");
    assert!(output.contains("acknowledged-holds-exist"), "{output}");
    stand.stack.sql("update tidegate.stock set held = 1");
    let (status, output) = stand.command(&["audit", "--json"], "");
    assert_eq!(status, Some(1), "{output}");
    assert!(output.contains("counters-are-the-ledger"), "{output}");
}

#[test]
fn sqlite_ledger_serves() {
    let stand = Stand::without_ledger();
    let ledger = format!("sqlite:{}", stand.folder().join("sale.db").display());
    let (status, output) = stand.command(&["migrate"], &ledger);
    assert_eq!((status, output.lines().next()), (Some(0), Some("applied 0001 inventory")));
    let mut node = stand.launch(&ledger);
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    let client = stand.client(&node);
    client.put_units("A", 1);
    let held = client.hold("1", "c", &[("A", 1)]);
    assert_eq!(held.status, 201, "{held:?}");
    assert_eq!(client.hold("2", "d", &[("A", 1)]).status, 409);
    node.process.kill9().expect("killed");
    let mut again = stand.launch(&ledger);
    again.process.wait_for_http(again.admin, "/readyz", DEADLINE).expect("ready");
    let client = stand.client(&again);
    assert_eq!(client.hold("1", "c", &[("A", 1)]).body, held.body);
    let hold = super::stand::text(&body(&held), "hold");
    assert_eq!(client.confirm(&hold, "3").status, 200);
    assert_eq!(client.stock("A"), [1, 0, 1, 0]);
    stand.audit_at(&ledger);
}

#[test]
fn unusable_section_named() {
    let stand = Stand::without_ledger();
    let (status, output) = stand.command(&["migrate"], "mysql://u:secret@127.0.0.1/shop");
    assert_eq!(status, Some(3), "{output}");
    assert!(output.contains("sale.url") && output.contains("MariaDB"), "{output}");
    assert!(!output.contains("secret"), "{output}");
}
