//! The memory of the process: shown, and given back after a purge.

use harness::http;

use crate::stack::{DEADLINE, Node, Stack};

/// The rows of large values.
const ROWS: std::ops::Range<u32> = 10_001..22_001;

/// The bytes of a value. Small enough for the allocator's own blocks: larger ones are mapped one by one, and any
/// allocator gives those back.
const VALUE: u32 = 6_000;

const RESIDENT: &str = "tidegate_process_resident_bytes";
const IN_MEMORY: &str = "tidegate_local_bytes";

impl Node {
    fn read_all(&self) {
        let ids: Vec<u32> = ROWS.collect();
        for part in ids.chunks(100) {
            let query: Vec<String> =
                part.iter().map(|id| format!("get=product_price/{id}")).collect();
            let path = format!("/data/batch?{}", query.join("&"));
            let answer = http::get(self.data, &path, DEADLINE).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
}

/// Every tenth entry stays, so that no part of the heap is empty by chance.
#[test]
fn memory_is_given_back_after_a_purge() {
    let stack = Stack::start();
    stack.sql("alter table products replica identity full");
    stack.sql(&format!(
        "insert into products select n, 'thing ' || n, n % 10, n, repeat('x', {VALUE}) \
         from generate_series({}, {}) n",
        ROWS.start,
        ROWS.end - 1
    ));
    let node = stack.node_with(|config| {
        config
            .replace("[\"product-{id}\"]", "[\"product-{id}\", \"category-{category_id}\"]")
            .replace("staleness = \"1s\"", "staleness = \"10m\"")
    });
    let before = node.metric(RESIDENT);
    assert!(before > 1e6, "{before}");
    node.read_all();
    let values = f64::from(ROWS.end - ROWS.start) * f64::from(VALUE);
    node.wait("all in the process", |node| node.metric(IN_MEMORY) > values);
    let full = node.metric(RESIDENT);
    assert!(full - before > values, "{before} {full}");
    let shown = node.status()["resident_bytes"].as_f64().expect("it is known");
    assert!((shown - full).abs() < 0.3 * values, "{shown} {full}");

    let tags: Vec<String> = (0..9).map(|n| format!("\"category-{n}\"")).collect();
    let body = format!("{{\"tags\":[{}]}}", tags.join(","));
    let (path, json) = ("/api/v1/purge", [("content-type", "application/json")]);
    let answer = http::request(node.admin, "POST", path, &json, body.as_bytes(), DEADLINE);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    node.wait("a tenth of the entries", |node| node.metric(IN_MEMORY) < 0.2 * values);
    // The allocator takes ten seconds.
    node.wait("the memory", |node| node.metric(RESIDENT) < full - 0.6 * values);
    assert!(node.metric(IN_MEMORY) > 0.05 * values, "the others stay");
}
