//! Pages that show rows of two databases.

use harness::http::{self, Response};

use super::stand::{BUDGET_MS, ROUTE, Stand, is_logged, patient};
use crate::stack::{DEADLINE, Node, bound_ms, tier};

#[test]
fn commit_in_either_database_reaches_the_page() {
    let stand = Stand::start();
    let node = stand.node();
    // One tag that both logs raise, and one of each.
    for tags in ["row-42", "row-42 stock-7"] {
        stand.page(tags, "first");
        stand.shop.price(42, 1);
        node.wait("the first page", |node| node.page().text() == "first");
        node.wait_page_cached();
        stand.page(tags, "second");
        stand.level(42, 8);
        node.wait("the page with the new level", |node| node.page().text() == "second");
        node.wait_page_cached();
        stand.page(tags, "third");
        stand.shop.price(42, 2);
        node.wait("the page with the new price", |node| node.page().text() == "third");
        node.wait_page_cached();
    }
    stand.page("row-42 stock-7", "fourth");
    stand.level(7, 3);
    node.wait("the page with the other level", |node| node.page().text() == "fourth");
    node.wait_page_cached();
    let requests = stand.shop.upstream.requests();
    stand.level(99, 1);
    stand.shop.price(99, 1);
    node.wait("both commits", |node| node.stock_level(99) == Some(1) && node.cents(99) == Some(1));
    assert_eq!(node.page().text(), "fourth");
    assert_eq!(stand.shop.upstream.requests(), requests, "no other row concerns the page");
}

#[test]
fn page_shows_the_worse_bound() {
    let mut stand = Stand::start();
    // Served although it is not proven within the budget.
    let node = stand.shop.node_with(|config| {
        stand.config(&config).replace(ROUTE, &format!("{ROUTE}unproven = \"serve-stale\"\n"))
    });
    stand.page("row-42", "both");
    node.wait_page_cached();
    stand.stop_stock();
    node.wait("a bound past the budget", |node| {
        let page = node.page();
        let shown = bound_ms(&page);
        page.header("tidegate-freshness").is_some_and(|text| text.contains("stale=unproven"))
            && shown.is_some_and(|shown| shown > BUDGET_MS)
    });
    let main = node.source_bound_ms("shop").expect("proven");
    assert!(main < BUDGET_MS, "{main}");
}

#[test]
fn lost_database_degrades_its_pages_only() {
    let mut stand = Stand::start();
    let node = stand.shop.node_with(|config| {
        let tags = "page_tags = [\"row-{id}\", \"price-{id}\"]";
        stand.config(&config).replace("page_tags = [\"row-{id}\"]", tags)
    });
    stand.page("price-42", "the shop's");
    node.wait_page_cached();
    let requests = stand.shop.upstream.requests();
    stand.stop_stock();
    node.wait("a bound past the budget", |node| node.source_bound_ms("stock") > Some(BUDGET_MS));
    node.wait_page_cached();
    assert_eq!(stand.shop.upstream.requests(), requests, "it needs the shop's log alone");
    stand.page("row-42 price-42", "both");
    stand.shop.price(42, 1);
    node.wait("the page of both", |node| node.page().text() == "both");
    // Its load alone proves it now, so it is loaded again within each budget.
    let requests = stand.shop.upstream.requests();
    node.wait("another load", |node| {
        let page = node.page();
        assert!(bound_ms(&page) <= Some(BUDGET_MS), "{page:?}");
        stand.shop.upstream.requests() > requests
    });
    stand.start_stock();
    node.wait("a proven stock", |node| node.source_bound_ms("stock") < Some(BUDGET_MS));
    node.wait_page_cached();
}

/// The stock's pages need no other log, although the shop's tiers store them.
#[test]
fn page_of_one_database_needs_its_log_alone() {
    let mut stand = Stand::start();
    let node = stand.node();
    stand.page("stock-42", "first");
    node.wait_page_cached();
    stand.shop.postgres.stop().expect("stopped");
    node.wait("an unproven shop", |node| node.source_bound_ms("shop") > Some(BUDGET_MS));
    for _ in 0..3 {
        let page = node.page();
        assert!(is_logged(&page) && bound_ms(&page) < Some(BUDGET_MS), "{page:?}");
    }
    stand.page("stock-42", "second");
    stand.level(42, 1);
    node.wait("the new page", |node| node.page().text() == "second");
    stand.shop.postgres.start_again().expect("started");
    node.wait_page_cached();
    stand.stop_stock();
    node.wait("an unproven page", |node| !is_logged(&node.page()));
}

/// Another node's page is proven here by its witness, which the other source's tier has.
#[test]
fn page_of_another_node_is_proven() {
    let stand = Stand::start();
    let first = stand.node();
    stand.page("row-42", "first");
    first.wait("a cached page", |node| is_logged(&same_page(node)));
    let second = stand.node();
    let requests = stand.shop.upstream.requests();
    let page = same_page(&second);
    assert_eq!(tier(&page), Some("shared"), "{page:?}");
    assert!(bound_ms(&page).is_some_and(|bound| bound <= BUDGET_MS), "{page:?}");
    second.wait("a cached page", |node| is_logged(&same_page(node)));
    assert_eq!(stand.shop.upstream.requests(), requests);
    stand.page("row-42", "second");
    stand.level(42, 8);
    for node in [&first, &second] {
        node.wait("the new page", |node| same_page(node).text() == "second");
        node.wait("a cached page", |node| is_logged(&same_page(node)));
    }
}

/// Returns the page under one name of the host, which is a part of its key.
fn same_page(node: &Node) -> Response {
    let host = [("host", "shop.example")];
    http::request(node.gateway, "GET", "/p/42", &host, b"", DEADLINE).expect("an answer")
}

/// A node that lacks the second source, beside one that has it, in either order of a rolling deploy.
#[test]
fn node_without_the_second_source_mixes_nothing() {
    let stand = Stand::start();
    let old = |config: String| patient(&config) + ROUTE;
    for old_first in [true, false] {
        let start = |is_old| match is_old {
            true => stand.shop.node_with(old),
            false => stand.node(),
        };
        let (first, second) = (start(old_first), start(!old_first));
        let (old_node, new) = if old_first { (&first, &second) } else { (&second, &first) };
        stand.page("row-42", "first");
        stand.shop.price(42, 1);
        for node in [new, old_node] {
            node.wait("the first page", |node| same_page(node).text() == "first");
        }
        stand.page("row-42", "second");
        stand.level(42, if old_first { 5 } else { 6 });
        // A stored page of the old node is proven here by its age, which ends with the budget.
        new.wait("the new page", |node| same_page(node).text() == "second");
        for _ in 0..20 {
            same_page(old_node);
            let page = same_page(new);
            let freshness = page.header("tidegate-freshness").unwrap_or_default();
            assert!(page.text() == "second" || freshness.contains("proof=age"), "{page:?}");
        }
        stand.page("row-42", "third");
        stand.shop.price(42, 2);
        for node in [new, old_node] {
            node.wait("the third page", |node| same_page(node).text() == "third");
        }
    }
}
