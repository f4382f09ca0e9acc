//! Purges by wildcard and by contract: dry runs, and their effect on every node and in Redis.

use std::process::{Command, Output};

use serde_json::Value;
use tokio_postgres::NoTls;

use crate::stack::{Node, Stack, tier};
use crate::upstream::Reply;

/// Starts a node with a TTL beyond the test and a long timeout for Redis: an entry that is not stored on a
/// busy machine can't be counted.
fn node(stack: &Stack) -> Node {
    stack.node_with(|config| {
        config
            .replace("[\"product-{id}\"]", "[\"product-{id}\", \"category-{category_id}\"]")
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

    /// Returns the JSON of a dry run.
    fn dry_run(&self, args: &[&str]) -> Value {
        let output = self.purge(&[args, &["--dry-run", "--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Returns the number of entries that a purge would remove from the shared tier and from this node's own.
    fn matches(&self, args: &[&str]) -> (u64, u64) {
        let dry_run = self.dry_run(args);
        let of = |tier: &str| dry_run[tier]["entries"].as_u64().expect("a number");
        (of("shared"), of("local"))
    }

    /// Fills the node's own tier and the shared tier with products 1 to 5 and 42 and the page of product 42.
    /// Each gateway address has its own page in the shared tier, which then has `shared` entries.
    fn fill(&self, shared: u64) {
        for id in [1, 2, 3, 4, 5, 42] {
            self.wait("a cached answer", |node| tier(&node.get(id)) == Some("local"));
        }
        self.wait("a cached page", |node| tier(&node.page()) == Some("edge"));
        assert_eq!(self.matches(&["--all"]), (shared, 7));
    }
}

const PRICES: [&str; 2] = ["--key", "v1:catalog:price:*"];

#[test]
fn dry_run_removes_nothing() {
    let stack = Stack::start();
    let (one, two) = (node(&stack), node(&stack));
    one.fill(7);
    let dry_run = one.dry_run(&PRICES);
    assert_eq!(dry_run["subjects"], serde_json::json!(["k*:v1:catalog:price:*"]));
    assert_eq!(dry_run["shared"]["contracts"], serde_json::json!({ "product_price": 6 }));
    assert_eq!(dry_run["shared"]["complete"], true);
    assert_eq!(dry_run["shared"]["examples"][0], "v1:catalog:price:1");
    assert_eq!(dry_run["local"]["entries"], 6);
    assert_eq!(two.matches(&PRICES), (6, 0), "the other node's own tier is empty");
    assert_eq!(one.matches(&["--contract", "product_price"]), (6, 6));
    assert_eq!(one.matches(&["--tag", "product-4*"]), (3, 3), "product 4, product 42 and its page");
    assert_eq!(one.matches(&["--tag", "category-2", "--key", "*price:1"]), (3, 3));
    assert_eq!(one.matches(&["--tag", "product-9*"]), (0, 0));

    let output = one.purge(&[&PRICES[..], &["--tag", "product-*", "--dry-run"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("nothing was removed"), "{text}");
    assert!(text.contains("7 entries: pages 1, product_price 6"), "{text}");
    assert_eq!(one.matches(&["--all"]), (7, 7), "nothing was removed");
    assert_eq!(tier(&one.get(42)), Some("local"));

    for (args, expected) in [
        (&["--key", "*"], "`all`"),
        (&["--tag", "*"], "`all`"),
        (&["--key", "product-*"], "v1:catalog:price:42"),
        (&["--contract", "product_prize"], "product_price"),
    ] {
        let refused = one.purge(args);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn wildcard_reaches_every_tier() {
    let stack = Stack::start();
    let (one, two) = (&node(&stack), &node(&stack));
    one.fill(7);
    two.fill(8);
    stack.upstream.reply_with(Reply::Page("second".into()));

    let purged = two.purge(&["--tag", "product-4*"]);
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(two.matches(&["--tag", "product-4*"]), (0, 0), "applied before the receipt");
    one.wait("the other node", |node| node.matches(&["--tag", "product-4*"]) == (0, 0));
    for node in [one, two] {
        assert_eq!(
            node.matches(&["--all"]),
            (4, 4),
            "products 1, 2, 3 and 5 do not match product-4*"
        );
        assert_eq!(tier(&node.get(1)), Some("local"));
    }
    assert_eq!(tier(&two.get(4)), Some("origin"));
    assert_eq!(two.page().text(), "second");
    assert_eq!(one.page().text(), "second");

    let purged = one.purge(&["--contract", "product_price"]);
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(one.matches(&PRICES), (0, 0));
    two.wait("the other node", |node| node.matches(&PRICES) == (0, 0));
    assert_eq!(tier(&one.get(1)), Some("origin"));
    one.wait("a stored load", |node| tier(&node.get(1)) == Some("local"));
}

#[test]
fn load_during_wildcard_not_stored() {
    let stack = Stack::start();
    let node = node(&stack);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // The shop's lock blocks every load.
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
        runtime.block_on(shop.batch_execute("commit")).expect("released");
        reader.join().expect("answered");
    });
    assert_eq!(tier(&node.get(7)), Some("origin"), "it was read before the purge");
    node.wait("a stored load", |node| tier(&node.get(7)) == Some("local"));
}
