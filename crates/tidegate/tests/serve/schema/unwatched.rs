//! Columns, tables and clocks that a value reads, and that no change of a row in the log stands for.

use super::{contract, node_with};
use crate::stack::{DEADLINE, Stack};

fn narrow(contract: &str, columns: &str) -> String {
    contract.replace("key = \"id\" }", &format!("key = \"id\", columns = [{columns}] }}"))
}

#[test]
fn column_read_outside_the_list_is_refused() {
    let stack = Stack::start();
    stack.sql("create table p(id int primary key, v int, w int, hidden bool)");
    for (value, missed) in [
        ("select v from p where id = $id and not hidden", "`hidden`"),
        ("select v * w as v from p where id = $id", "`w`"),
        ("select to_jsonb(x) as x from p x where id = $id", "`hidden`"),
        ("select v from p where id = $id and exists (select from p o where o.w > p.v)", "`w`"),
    ] {
        let contract = narrow(&contract("p", "p", value), "\"v\"");
        let mut node = stack.launch(|config| config + &contract);
        let status = node.process.wait(DEADLINE).expect("it ends");
        let log = node.process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{value}: {log}");
        assert!(
            log.contains(missed) && log.contains("`from.columns` leaves out"),
            "{value}: {log}"
        );
        assert!(log.contains("add it to `columns`"), "{log}");
    }
    // The columns of keys and tags count by themselves.
    let fine = narrow(
        &contract("p", "p", "select v, id + 1 as next from p where id = $id and not hidden"),
        "\"v\", \"hidden\"",
    );
    node_with(&stack, &[fine]);
}

#[test]
fn reads_behind_views_are_warned_of() {
    let stack = Stack::start();
    stack.sql("create table p(id int primary key, v int, w int, until timestamptz)");
    stack.sql(
        "create table rate(id int primary key, f int); create table fee(id int primary key, f int)",
    );
    stack.sql("create view wide as select p.id, p.v, p.w, rate.f, fee.f as g from p, rate, fee");
    stack.sql(
        "create view current as select id, v from p where until > now() or until > current_date",
    );
    let tagged = |contract: String, tag: &str| {
        contract.replace("staleness", &format!("tags = [\"{tag}\"]\nstaleness"))
    };
    let contracts = [
        narrow(&contract("p", "p", "select v from wide where id = $id"), "\"v\""),
        contract("q", "p", "select v from current where id = $id"),
        contract("rate", "rate", "select f from rate where id = $id"),
        contract("fee", "fee", "select f from fee where id = $id"),
    ];
    let mut contracts = contracts.to_vec();
    contracts[0] = tagged(contracts[0].clone(), "fees-{id}");
    contracts[3] = tagged(contracts[3].clone(), "fees-{id}");
    let node = node_with(&stack, &contracts);
    let log = node.process.lines();
    let warned = |texts: &[&str]| {
        log.iter().any(|line| line.contains("WARN") && texts.iter().all(|text| line.contains(text)))
    };
    assert!(warned(&["outside `from.columns`", "contract=\"p\"", "column=\"w\""]), "{log:#?}");
    // A contract follows each of the two, but only one raises a tag of these entries.
    assert!(warned(&["changes do not invalidate it", "contract=\"p\"", "public.rate"]), "{log:#?}");
    assert!(!warned(&["changes do not invalidate it", "public.fee"]), "{log:#?}");
    for function in ["now()", "current_timestamp"] {
        assert!(warned(&["without a commit", "contract=\"q\"", function]), "{log:#?}");
    }
    assert!(!warned(&["without a commit", "contract=\"p\""]), "{log:#?}");
}
