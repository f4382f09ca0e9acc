//! Types that statements were prepared with.

use harness::Cluster;

use super::{Watched, contract, get, node_with};
use crate::stack::Stack;

#[test]
fn altered_key_type_is_prepared_again() {
    let stack = Stack::start();
    stack.sql("create table k(id int primary key, v varchar(3)); insert into k values (1, '10')");
    let contracts = [contract("k", "k", "select v from k where id = $id")];
    let node = node_with(&stack, &contracts);
    let nodes = [&node];
    let first = Watched { stack: &stack, nodes: &nodes, contract: "k", id: "1" };
    first.wait_cached();
    assert_eq!(get(&node, "k", "3000000000").status, 400);
    stack.sql("alter table k alter column id type bigint; insert into k values (3000000000, '30')");
    node.wait("a larger id", |node| get(node, "k", "3000000000").text().contains("\"30\""));
    Watched { id: "3000000000", ..first }.altered("update k set v = '31' where id > 1", "31");
    // Statements that were prepared before keep the types of their parameters and results.
    first.altered(
        "alter table k alter column v type varchar(9); update k set v = '10.000'",
        "10.000",
    );
    // Equal numbers have several texts, so one row would have several entries.
    stack.sql("alter table k alter column id type double precision");
    node.wait("a refusal", |node| {
        let answer = get(node, "k", "1");
        answer.status >= 500
            && node.process.lines().iter().any(|line| line.contains("of type double precision"))
    });
    node.wait("a proven price", |node| node.cents(42) == Some(1_042));
    stack.sql("alter table k alter column id type int using least(id, 7)::int");
    first.expect("the type of before", "10.000");
}

#[test]
fn schema_is_applied_on_cluster() {
    let cluster = Cluster::start().expect("a cluster");
    let stack = Stack::start().with_shared_at(cluster.url());
    stack.sql("create table swap(id int primary key, v int)");
    stack.sql("insert into swap select n, n from generate_series(1, 20) n");
    let contracts = [contract("swap", "swap", "select v from swap where id = $id")];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    // The keys lie in several buckets.
    let ids: Vec<String> = (1..=20).map(|id: u32| id.to_string()).collect();
    let of = |id| Watched { stack: &stack, nodes: &nodes, contract: "swap", id };
    ids.iter().for_each(|id| of(id).wait_cached());
    stack.sql("create table swap_new(like swap including all)");
    stack.sql("insert into swap_new select n, 1000 + n from generate_series(1, 20) n");
    let swap = "alter table swap rename to swap_old; alter table swap_new rename to swap";
    of("1").altered_at_once(swap, "1001");
    ids.iter().for_each(|id| {
        of(id).expect(swap, &format!(":{}", 1000 + id.parse::<u32>().expect("a number")))
    });
}
