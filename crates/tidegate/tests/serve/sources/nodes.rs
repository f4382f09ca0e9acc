//! Several nodes, and failovers of one of the databases.

use super::stand::{Stand, StockDatabase, patient};
use crate::stack::DEADLINE;

/// Each source has a leader of its own.
#[test]
fn each_source_has_its_leader() {
    let stand = Stand::start();
    let mut first = stand.node();
    let second = stand.node();
    for source in ["shop", "stock"] {
        let label = format!("source=\"{source}\"");
        let leads = |node: &crate::stack::Node| node.metric_with("tidegate_feed_leader", &label);
        assert_eq!(leads(&first) + leads(&second), 1.0, "{source}");
    }
    for node in [&first, &second] {
        node.wait_price_cached(42);
        node.wait_stock_cached(42);
    }
    first.process.kill9().expect("killed");
    stand.level(42, 3);
    stand.shop.price(42, 4);
    second.wait("both", |node| node.stock_level(42) == Some(3) && node.cents(42) == Some(4));
    second.wait_stock_cached(42);
    second.wait_price_cached(42);
}

/// The nodes of two configurations that name the sources in different order, and call the same source the main one.
#[test]
fn order_of_sources_makes_no_difference() {
    let stand = Stand::start();
    let first = stand.node();
    let second = stand.shop.node_with(|config| {
        let config = stand.config(&config);
        let (rest, source) = config.split_once("[source.stock]").expect("the source");
        format!("[source.stock]{source}\n{rest}")
    });
    for node in [&first, &second] {
        node.wait_price_cached(42);
        node.wait_stock_cached(42);
    }
    stand.level(42, 3);
    stand.shop.price(42, 4);
    for node in [&first, &second] {
        node.wait("both", |node| node.stock_level(42) == Some(3) && node.cents(42) == Some(4));
    }
}

/// A node that calls another source the main one would put the stock's rows where the shop's are.
#[test]
fn other_main_source_refused_at_start() {
    let stand = Stand::start();
    let node = stand.node();
    node.wait_price_cached(42);
    let mut other = stand.shop.launch(|config| {
        let config = stand.config(&config).replace("main = true\n", "");
        config.replace("[source.stock]\n", "[source.stock]\nmain = true\n")
    });
    let status = other.process.wait(DEADLINE).expect("exited");
    let output = other.process.lines().join("\n");
    assert_eq!(status.code(), Some(3), "{output}");
    assert!(output.contains("[source.shop]"), "it names the log that the tier follows: {output}");
}

#[test]
fn crash_of_one_database_resets_its_epoch_alone() {
    let mut stand = Stand::start();
    let node = stand.node();
    node.wait_price_cached(42);
    node.wait_stock_cached(42);
    stand.page("row-42", "first");
    node.wait_page_cached();
    let epoch =
        |node: &crate::stack::Node, source: &str| node.status()["sources"][source]["epoch"].clone();
    let (shop, stock) = (epoch(&node, "shop"), epoch(&node, "stock"));
    let StockDatabase::Postgres(server) = &mut stand.stock else {
        unreachable!("it is PostgreSQL")
    };
    server.crash().expect("crashed");
    server.start_again().expect("started");
    node.wait("a new epoch", |node| {
        epoch(node, "stock") != stock && epoch(node, "stock").is_string()
    });
    assert_eq!(epoch(&node, "shop"), shop);
    stand.page("row-42", "second");
    node.wait("the page of the new epoch", |node| node.page().text() == "second");
    stand.level(42, 5);
    node.wait("the new level", |node| node.stock_level(42) == Some(5));
    node.wait_page_cached();
}

/// The configuration grows by a source: the entries of the first one stay.
#[test]
fn entries_survive_the_second_source() {
    let stand = Stand::start();
    let before = stand.shop.node_with(|config| patient(&config));
    before.wait_price_cached(42);
    let loads = before.metric_with("tidegate_loads_total", "product_price");
    assert!(loads >= 1.0);
    drop(before);
    let after = stand.node();
    after.wait_price_cached(42);
    assert_eq!(after.metric_with("tidegate_loads_total", "product_price"), 0.0, "no load");
    assert_eq!(after.metric_with("tidegate_incarnations_total", "shop"), 0.0, "no epoch reset");
}
