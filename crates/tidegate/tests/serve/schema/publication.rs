//! A publication that leaves changes out for a while.

use super::{Watched, contract, get, node_with};
use crate::stack::{DEADLINE, Stack, bound_ms, now};

#[test]
fn repaired_publication_ends_in_invalidation() {
    let stack = Stack::start();
    stack.sql("create table p(id int primary key, v int); insert into p values (1, 10)");
    let contracts = [contract("p", "p", "select v from p where id = $id")];
    let nodes = [node_with(&stack, &contracts), node_with(&stack, &contracts)];
    let nodes = nodes.each_ref();
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "p", id: "1" };
    // The leader adds the table again.
    watched.altered("alter publication tidegate drop table p; update p set v = 11", "11");
    let whole = "insert, update, delete, truncate";
    for (number, narrow, widen) in [
        (12, "drop table p".to_owned(), "set table p, products".to_owned()),
        (13, "set (publish = 'insert')".to_owned(), format!("set (publish = '{whole}')")),
        (14, "set table p where (id > 7)".to_owned(), "set table p".to_owned()),
        (15, "set table p (id)".to_owned(), "set table p".to_owned()),
    ] {
        let alter = "alter publication tidegate";
        let sql = format!("{alter} {narrow}; update p set v = {number}; {alter} {widen}");
        watched.altered(&sql, &number.to_string());
    }
    watched.altered_at_once(
        "drop publication tidegate; update p set v = 16; \
         create publication tidegate for table p, products with (publish_via_partition_root)",
        "16",
    );
    watched.altered("update p set v = 17", "17");
}

#[test]
fn narrowed_publication_proves_nothing() {
    let stack = Stack::start();
    let node = stack.node();
    let nodes = [&node];
    let watched = Watched { stack: &stack, nodes: &nodes, contract: "product_price", id: "42" };
    watched.wait_cached();
    stack.sql("alter publication tidegate set (publish = 'insert')");
    let narrowed = now();
    stack.price(42, 7);
    node.wait("a failed feed", |node| {
        let ready = harness::http::get(node.admin, "/readyz", DEADLINE).expect("an answer").text();
        ready.contains("leaves out some kinds of changes")
    });
    // Nothing repairs it, since the role's owner may have meant it.
    while narrowed.elapsed().as_secs() < 3 {
        let asked = narrowed.elapsed().as_secs_f64() * 1e3;
        let answer = get(&node, "product_price", "42");
        let admits = bound_ms(&answer).is_none_or(|bound| asked <= bound + 1.0);
        assert!(answer.text().contains(":7") || admits, "{asked}: {answer:?}");
    }
    assert_eq!(node.cents(42), Some(7), "unproven = read-origin");
    watched.altered_after_widening();
}

impl Watched<'_> {
    fn altered_after_widening(&self) {
        self.stack
            .sql("alter publication tidegate set (publish = 'insert, update, delete, truncate')");
        self.wait_cached();
        self.altered("update products set price_cents = 8 where id = 42", ":8");
    }
}
