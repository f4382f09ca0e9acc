//! Rights, settings and overloads, which decide on a value and are no part of its statement.

use super::{Watched, contract, node_with};
use crate::stack::Stack;

impl Watched<'_> {
    /// As [`altered`](Self::altered), with each statement of the superuser in a transaction of its own.
    fn altered_by_superuser(&self, statements: &[&str], new: &str) {
        self.wait_cached();
        statements.iter().for_each(|sql| superuser(self.stack, sql));
        self.expect(statements[0], new);
    }
}

fn superuser(stack: &Stack, sql: &str) {
    stack.postgres.psql_as("postgres", "shop", sql).expect("the statement runs");
}

#[test]
fn membership_and_owners_rights_reach_nodes() {
    let stack = Stack::start();
    superuser(
        &stack,
        "create role readers; create role clerk; grant create on schema public to clerk",
    );
    // Tables with row policies that do not belong to the role, and a view that reads with the rights of another owner.
    for table in ["own", "viewed"] {
        superuser(
            &stack,
            &format!(
                "create table {table}(id int primary key, v int); insert into {table} values (1, 10); \
                 alter table {table} enable row level security; \
                 create policy p on {table} to readers using (true); \
                 grant select on {table} to shop, clerk"
            ),
        );
    }
    superuser(
        &stack,
        "create view w as select id, v from viewed; alter view w owner to clerk; grant select on w to shop; \
         create publication tidegate for table own, viewed, products with (publish_via_partition_root); \
         alter publication tidegate owner to shop",
    );
    let contracts = [
        contract("own", "own", "select v from own where id = $id"),
        contract("viewed", "viewed", "select v from w where id = $id"),
    ];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let of = |contract| Watched { stack: &stack, nodes: &nodes, contract, id: "1" };
    of("own").altered_by_superuser(&["grant readers to shop"], ":10");
    of("own").altered_by_superuser(&["revoke readers from shop"], "Row not found");
    of("viewed").altered_by_superuser(&["grant readers to clerk"], ":10");
    of("viewed").altered_by_superuser(&["revoke readers from clerk"], "Row not found");
    of("viewed").altered_by_superuser(&["alter role clerk bypassrls"], ":10");
}

#[test]
fn reloaded_settings_reach_nodes() {
    let stack = Stack::start();
    stack.sql("create table t(id int primary key, at timestamptz)");
    stack.sql("insert into t values (1, '2026-11-30 20:00+00')");
    superuser(&stack, "alter system set timezone = 'UTC'");
    superuser(&stack, "select pg_reload_conf()");
    let contracts = [contract("t", "t", "select at::date::text as day from t where id = $id")];
    let node = node_with(&stack, &contracts);
    let watched = Watched { stack: &stack, nodes: &[&node], contract: "t", id: "1" };
    watched.altered_by_superuser(
        &["alter system set timezone = 'Asia/Tokyo'", "select pg_reload_conf()"],
        "2026-12-01",
    );
}

#[test]
fn new_overload_reaches_nodes() {
    let stack = Stack::start();
    stack.sql("create table t(id int primary key, v smallint); insert into t values (1, 1)");
    stack.sql("create function named(int) returns text language sql as $$ select 'int' $$");
    let contracts = [contract("t", "t", "select named(v) as n from t where id = $id")];
    let node = node_with(&stack, &contracts);
    let watched = Watched { stack: &stack, nodes: &[&node], contract: "t", id: "1" };
    watched.altered(
        "create function named(smallint) returns text language sql as $$ select 'small' $$",
        "small",
    );
}
