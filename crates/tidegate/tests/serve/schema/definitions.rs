//! Definitions that only a value reads.

use super::{Watched, contract, get, node_with};
use crate::stack::{DEADLINE, Stack, bound_ms, now, tier};

#[test]
fn altered_definition_reaches_nodes() {
    let stack = Stack::start();
    stack.sql("create type mood as enum ('calm', 'busy')");
    stack.sql("create table d(id int primary key, v int, m mood)");
    stack.sql("insert into d values (1, 10, 'calm')");
    stack.sql("create function f(n int) returns int language sql as 'select n + 1'");
    stack.sql("create view w as select id, f(v) as v, m from d");
    stack
        .sql("create table guarded(id int primary key, v int); insert into guarded values (1, 50)");
    stack.sql("alter table guarded enable row level security, force row level security");
    stack.sql("create policy shown on guarded using (v > 7)");
    let contracts = [
        contract("d", "d", "select v, m from w where id = $id"),
        contract("guarded", "guarded", "select v from guarded where id = $id"),
    ];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "d", id: "1" };
    watched.altered("alter type mood rename value 'calm' to 'quiet'", "quiet");
    watched.altered(
        "create or replace function f(n int) returns int language sql as 'select n + 20'",
        ":30",
    );
    watched.altered("create or replace view w as select id, f(v) * 2 as v, m from d", ":60");
    // As migrations of enums do that can't add a label.
    watched.altered_at_once(
        "alter type mood rename to mood_old; create type mood as enum ('silent', 'busy'); \
         drop view w; \
         alter table d alter column m type mood using 'silent'; \
         create view w as select id, f(v) as v, m from d",
        "silent",
    );
    watched.altered("alter table d rename column v to amount", "\"v\":30");
    let guarded = Watched { contract: "guarded", ..watched };
    guarded.altered("alter policy shown on guarded using (v > 70)", "Row not found");
    guarded.altered("alter table guarded no force row level security", ":50");
}

#[test]
fn unfollowed_reads_are_warned_of() {
    let stack = Stack::start();
    stack.sql("create table d(id int primary key, v int); create table rate(id int, factor int)");
    stack.sql("create function g() returns int language plpgsql as 'begin return 1; end'");
    stack.sql("create view w as select d.id, v * factor as v from d, rate");
    let contracts = [contract("d", "d", "select v, g() as g from w where id = $id")];
    let node = node_with(&stack, &contracts);
    let log = node.process.lines();
    let warning = |text: &str| {
        let found = log.iter().find(|line| line.contains("WARN") && line.contains(text));
        found.unwrap_or_else(|| panic!("no warning of {text}: {log:#?}"))
    };
    let table = warning("public.rate");
    assert!(table.contains("changes do not invalidate it") && table.contains("contract=\"d\""));
    assert!(warning("g()").contains("tables that it reads are not known"));
    assert!(!log.iter().any(|line| line.contains("WARN") && line.contains("public.d\"")));
    stack.sql("create table fee(id int)");
    stack.sql("create or replace view w as select d.id, v * factor + (select count(*) from fee)::int as v from d, rate");
    node.wait("another warning", |node| {
        node.process.lines().iter().any(|line| line.contains("WARN") && line.contains("public.fee"))
    });
}

#[test]
fn search_path_decides_followed_table() {
    let stack = Stack::start();
    stack.sql("create schema app");
    for schema in ["public", "app"] {
        stack.sql(&format!("create table {schema}.p(id int primary key, v int)"));
    }
    stack.sql("insert into public.p values (1, 10); insert into app.p values (1, 20)");
    stack.sql("alter role shop set search_path = app, public");
    let contracts = [contract("p", "p", "select v from p where id = $id")];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "p", id: "1" };
    watched.wait_cached();
    assert!(watched.get(nodes[0]).contains("20"));
    watched.altered("update app.p set v = 21", "21");
    // New sessions would read another table than the followed one.
    stack.sql("alter role shop set search_path = public");
    let altered = now();
    for node in nodes {
        node.wait("a reason", |node| {
            let ready = harness::http::get(node.admin, "/readyz", DEADLINE).expect("an answer");
            ready.text().contains("no longer leads from `p` to that table")
        });
        let asked = altered.elapsed().as_secs_f64() * 1e3;
        let answer = get(node, "p", "1");
        let is_loaded = tier(&answer) == Some("origin");
        assert!(
            is_loaded || bound_ms(&answer).is_none_or(|bound| asked <= bound + 1.0),
            "{answer:?}"
        );
    }
    stack.sql("alter role shop set search_path = app, public");
    watched.expect("the path of before", "21");
}
