//! Invalidations of a tag with more entries than a commit removes before it counts as applied.

use harness::http;
use serde_json::Value;

use crate::stack::{DEADLINE, Node, Stack, tier};

/// The rows of one category.
const ROWS: std::ops::Range<u32> = 1_001..3_001;

/// The entries outside of it.
const OTHERS: [u32; 3] = [1, 2, 3];

const LOCAL_ENTRIES: &str = "tidegate_local_entries";
const ENTRIES_IN_MEMORY: &str = "tidegate_pool_entries";

fn stack() -> Stack {
    let stack = Stack::start();
    stack.sql("alter table products replica identity full");
    stack.sql(&format!(
        "insert into products select n, 'thing ' || n, 77, n, 'GBP' from generate_series({}, {}) n",
        ROWS.start,
        ROWS.end - 1
    ));
    stack
}

/// Starts a node whose prices carry the tag of their category, with a TTL beyond the test and a long timeout
/// for Redis.
fn node(stack: &Stack, shared: Option<&str>) -> Node {
    stack.node_with(|config| {
        let config = config
            .replace("[\"product-{id}\"]", "[\"product-{id}\", \"category-{category_id}\"]")
            .replace("staleness = \"1s\"", "staleness = \"10m\"");
        match shared {
            Some(shared) => config
                .replace(&format!("\"redis://{}\"", stack.redis.addr()), &format!("\"{shared}\"")),
            None => config.replace("[upstream]", "timeout = \"10s\"\n\n[upstream]"),
        }
    })
}

impl Node {
    /// Reads prices in batches. Returns the tier of each answer, or `soft`.
    fn tiers(&self, ids: impl IntoIterator<Item = u32>) -> Vec<String> {
        let ids: Vec<u32> = ids.into_iter().collect();
        let mut tiers = Vec::new();
        for part in ids.chunks(50) {
            let query: Vec<String> =
                part.iter().map(|id| format!("get=product_price/{id}")).collect();
            let path = format!("/data/batch?{}", query.join("&"));
            let answer = http::get(self.data, &path, DEADLINE).expect("an answer");
            let reply: Value = serde_json::from_slice(&answer.body).expect("JSON");
            let items = reply["items"].as_array().unwrap_or_else(|| panic!("{reply}")).clone();
            tiers.extend(items.iter().map(|item| match &item["freshness"] {
                soft if soft["soft"] == true => "soft".to_owned(),
                freshness => freshness["tier"].as_str().unwrap_or_else(|| panic!("{item}")).into(),
            }));
        }
        tiers
    }

    fn fill_all(&self) {
        self.wait("all in the process", |node| {
            node.tiers(ROWS.chain(OTHERS)).iter().all(|tier| tier == "local")
        });
        assert_eq!(self.metric(LOCAL_ENTRIES) as u32, ROWS.end - ROWS.start + 3);
    }

    /// Waits until the price comes from the process, which has then applied its commit.
    fn wait_for_price(&self, id: u32, cents: u32) {
        self.wait("the new price", |node| {
            node.cents(id) == Some(cents) && tier(&node.get(id)) == Some("local")
        });
    }

    fn purge_tag(&self, tag: &str) {
        let body = format!("{{\"tags\":[\"{tag}\"]}}");
        let (path, json) = ("/api/v1/purge", [("content-type", "application/json")]);
        let answer = http::request(self.admin, "POST", path, &json, body.as_bytes(), DEADLINE);
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn commit_makes_all_old(shared: Option<&str>) {
    let stack = stack();
    let node = node(&stack, shared);
    node.fill_all();
    stack.price(ROWS.start, 5);
    node.wait_for_price(ROWS.start, 5);
    let tiers = node.tiers(ROWS.skip(1));
    let local = tiers.iter().filter(|tier| *tier == "local").count();
    assert_eq!(local, 0, "an entry that the commit has made old was served");
    assert!(OTHERS.iter().all(|id| tier(&node.get(*id)) == Some("local")), "other categories stay");
}

#[test]
fn commit_makes_entries_of_its_tag_old_at_once() {
    commit_makes_all_old(None);
}

#[test]
fn commit_makes_entries_old_in_the_memory_tier() {
    commit_makes_all_old(Some("memory:"));
}

#[test]
fn purge_of_large_tag_in_force_before_removal() {
    let stack = stack();
    let node = node(&stack, None);
    node.fill_all();
    node.purge_tag("category-77");
    assert_eq!(node.metric(LOCAL_ENTRIES) as usize, OTHERS.len(), "old entries are not counted");
    node.wait("their memory", |node| node.metric(ENTRIES_IN_MEMORY) as usize == OTHERS.len());
    let tiers = node.tiers(ROWS);
    assert!(tiers.iter().all(|tier| tier == "origin"), "{tiers:?}");
}

/// Commits one after the other while the entries of the first are still being removed: none is served by
/// another one's version.
#[test]
fn commits_during_the_removal_lose_nothing() {
    let stack = stack();
    let node = node(&stack, None);
    node.fill_all();
    for round in 0..20_u32 {
        let id = ROWS.start + round * 97 % 2_000;
        stack.price(id, 7 + round);
        node.wait_for_price(id, 7 + round);
        let read = ROWS.start + round * 31 % 2_000;
        let expected = stack.sql(&format!("select price_cents from products where id = {read}"));
        assert_eq!(
            node.cents(read).map(|cents| cents.to_string()).as_deref(),
            Some(expected.trim())
        );
    }
    node.wait("the end of the removal", |node| {
        node.metric(LOCAL_ENTRIES) == node.metric(ENTRIES_IN_MEMORY)
    });
}
