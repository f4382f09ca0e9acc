//! Purges by wildcard and by contract: counted first, then carried out, on every node and in Redis.

use std::process::{Command, Output};

use serde_json::Value;
use tokio_postgres::NoTls;

use crate::stack::{Node, Stack, tier};
use crate::upstream::Says;

/// A node whose entries outlive any test, and which gives Redis the time it needs on a loaded machine:
/// what was not stored could not be counted.
fn node(stack: &Stack) -> Node {
    stack.node_with(|config| {
        config
            .replace("staleness = \"1s\"", "staleness = \"10m\"")
            .replace("[upstream]", "timeout = \"10s\"\n\n[upstream]")
    })
}

impl Node {
    fn purge(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("purge")
            .args(args)
            .args(["--admin", &self.admin.to_string()])
            .output()
            .expect("it runs")
    }

    /// What a dry run says.
    fn would(&self, args: &[&str]) -> Value {
        let output = self.purge(&[args, &["--dry-run", "--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// How many entries a purge would remove from the shared tier, and from this node's own.
    fn counts(&self, args: &[&str]) -> (u64, u64) {
        let would = self.would(args);
        let of = |tier: &str| would[tier]["entries"].as_u64().expect("a number");
        (of("shared"), of("local"))
    }

    /// Has products 1 to 5 and 42 and the page of product 42 in its own tier, and in the shared one,
    /// where each gateway's address has a page of its own: then there are `shared` entries.
    fn seven(&self, shared: u64) {
        for id in [1, 2, 3, 4, 5, 42] {
            self.wait("a cached answer", |node| tier(&node.get(id)) == Some("local"));
        }
        self.wait("a cached page", |node| tier(&node.page()) == Some("edge"));
        assert_eq!(self.counts(&["--all"]), (shared, 7));
    }
}

const PRICES: [&str; 2] = ["--key", "v1:catalog:price:*"];

#[test]
fn a_dry_run_counts_and_removes_nothing() {
    let stack = Stack::start();
    let (one, two) = (node(&stack), node(&stack));
    one.seven(7);
    let would = one.would(&PRICES);
    assert_eq!(would["subjects"], serde_json::json!(["k*:v1:catalog:price:*"]));
    assert_eq!(would["shared"]["contracts"], serde_json::json!({ "product_price": 6 }));
    assert_eq!(would["shared"]["complete"], true);
    assert_eq!(would["shared"]["examples"][0], "v1:catalog:price:1");
    assert_eq!(would["local"]["entries"], 6);
    assert_eq!(two.counts(&PRICES), (6, 0), "another node's own tier is another one");
    assert_eq!(one.counts(&["--contract", "product_price"]), (6, 6));
    assert_eq!(one.counts(&["--tag", "product-4*"]), (3, 3), "product 4, product 42 and its page");
    assert_eq!(one.counts(&["--tag", "category-2", "--key", "*price:1"]), (3, 3));
    assert_eq!(one.counts(&["--tag", "product-9*"]), (0, 0));

    let told = one.purge(&[&PRICES[..], &["--tag", "product-*", "--dry-run"]].concat());
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.starts_with("nothing was removed"), "{told}");
    assert!(told.contains("7 entries: pages 1, product_price 6"), "{told}");
    assert_eq!(one.counts(&["--all"]), (7, 7), "all of it is still there");
    assert_eq!(tier(&one.get(42)), Some("local"));

    for (args, says) in [
        (&["--key", "*"], "`all`"),
        (&["--tag", "*"], "`all`"),
        (&["--key", "product-*"], "v1:catalog:price:42"),
        (&["--contract", "product_prize"], "product_price"),
    ] {
        let refused = one.purge(args);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_wildcard_reaches_every_tier_of_every_node_and_nothing_else() {
    let stack = Stack::start();
    let (one, two) = (&node(&stack), &node(&stack));
    one.seven(7);
    two.seven(8);
    stack.upstream.says(Says::Page("second".into()));

    let purged = two.purge(&["--tag", "product-4*"]);
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(two.counts(&["--tag", "product-4*"]), (0, 0), "it was applied before the receipt");
    one.wait("the other node", |node| node.counts(&["--tag", "product-4*"]) == (0, 0));
    for node in [one, two] {
        assert_eq!(node.counts(&["--all"]), (4, 4), "products 1, 2, 3 and 5 are no product-4…");
        assert_eq!(tier(&node.get(1)), Some("local"));
    }
    assert_eq!(tier(&two.get(4)), Some("origin"));
    assert_eq!(two.page().text(), "second");
    assert_eq!(one.page().text(), "second");

    let purged = one.purge(&["--contract", "product_price"]);
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(one.counts(&PRICES), (0, 0));
    two.wait("the other node", |node| node.counts(&PRICES) == (0, 0));
    assert_eq!(tier(&one.get(1)), Some("origin"));
    one.wait("what is loaded now is kept", |node| tier(&node.get(1)) == Some("local"));
}

#[test]
fn what_is_being_loaded_during_a_wildcard_is_not_stored() {
    let stack = Stack::start();
    let node = node(&stack);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Nobody can read the table while the shop is at it.
    let shop = runtime.block_on(async {
        let url = format!("postgres://shop@{}/shop", stack.postgres.addr());
        let (shop, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connects");
        tokio::spawn(connection);
        shop.batch_execute("begin; lock table products").await.expect("locked");
        shop
    });
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| node.get(7));
        node.wait("a load that waits for the table", |_| {
            let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
                         and query like '%price_cents%' and pid <> pg_backend_pid()";
            stack.postgres.psql_in("shop", waits).expect("asked").trim() != "0"
        });
        let purged = node.purge(&PRICES);
        assert!(purged.status.success(), "{purged:?}");
        runtime.block_on(shop.batch_execute("commit")).expect("let go");
        reader.join().expect("it has its answer");
    });
    assert_eq!(tier(&node.get(7)), Some("origin"), "it was read before the purge");
    node.wait("what is loaded now is kept", |node| tier(&node.get(7)) == Some("local"));
}
