//! Many dry runs at the same time: one pass over Redis after the other, and others are served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use harness::http;

use crate::stack::{DEADLINE, Stack, tier};

/// The entries in Redis: a pass takes many pages.
const ENTRIES: u32 = 30_000;

#[test]
fn sixty_dry_runs_delay_no_reader() {
    let stack = Stack::start();
    let node = stack.node_with(|config| {
        // A busy machine delays replies.
        config
            .replace("staleness = \"1s\"", "staleness = \"10m\"")
            .replace("[upstream]", "timeout = \"2s\"\n\n[upstream]")
    });
    node.wait("a cached price", |node| tier(&node.get(42)) == Some("local"));
    let copies = format!(
        "local v = redis.call('GET', KEYS[1]) for n = 1, {ENTRIES} do \
         redis.call('SET', '{{tg:0}}:k:v1:catalog:price:' .. (1000 + n), v, 'PX', 600000) end"
    );
    stack.redis.cli(&["eval", &copies, "1", "{tg:0}:k:v1:catalog:price:42"]).expect("filled");
    let body = br#"{"tag_patterns":["product-*"],"dry_run":true}"#;
    let headers = [("content-type", "application/json")];
    let dry_run = || {
        http::request(node.admin, "POST", "/api/v1/purge", &headers, body, DEADLINE * 6)
            .expect("an answer")
    };
    let is_done = AtomicBool::new(false);
    let (answers, reads) = thread::scope(|scope| {
        let runs: Vec<_> = (0..60).map(|_| scope.spawn(dry_run)).collect();
        // Another reader, whose keys have to be asked from Redis.
        let reader = scope.spawn(|| {
            let mut reads = 0;
            for id in (1_001..1_000 + ENTRIES).cycle() {
                if is_done.load(Ordering::Relaxed) {
                    return reads;
                }
                assert_eq!(tier(&node.get(id)), Some("shared"), "read {reads}");
                reads += 1;
            }
            reads
        });
        let answers: Vec<_> = runs.into_iter().map(|run| run.join().expect("ran")).collect();
        is_done.store(true, Ordering::Relaxed);
        (answers, reader.join().expect("read"))
    });
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(of(200) + of(429), 60, "{answers:?}");
    assert!(of(429) >= 20, "{} of 60 were refused", of(429));
    assert!(of(200) >= 1 && reads > 100, "{} counted, {reads} reads", of(200));
    let refused = answers.iter().find(|answer| answer.status == 429).expect("one");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(refused.text().contains("dry runs are waiting"), "{}", refused.text());
    assert_eq!(node.metric_with("tidegate_shared_errors_total", "breaker"), 0.0);
    assert_eq!(dry_run().status, 200, "the line is empty again");
}
