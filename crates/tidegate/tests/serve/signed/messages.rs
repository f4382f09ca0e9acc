//! Messages in the log that any role of the database may write.

use super::{NEW, OLD};
use crate::stack::{DEADLINE, Node, Stack, tier};

const REFUSED: &str = "tidegate_feed_messages_refused_total";

/// The statements that the manual shows.
const MANUAL: &str = include_str!("../../../../../docs/purges.md");

fn with_keys(config: &str, keys: &[&str]) -> String {
    let edited = config.replace("[shared]", &format!("message_keys = {keys:?}\n\n[shared]"));
    assert_ne!(edited, config);
    edited
}

fn purge(node: &Node) -> u16 {
    let headers = [("content-type", "application/json")];
    let body = br#"{"tags":["product-42"]}"#;
    let purged =
        harness::http::request(node.admin, "POST", "/api/v1/purge", &headers, body, DEADLINE);
    purged.expect("an answer").status
}

/// Waits until the journal has as many purges of product 42 as this.
fn wait_for_purges(node: &Node, count: usize) {
    node.wait("the purge", |node| {
        let path = "/api/v1/invalidations?limit=100";
        let journal = harness::http::get(node.admin, path, DEADLINE).expect("an answer");
        journal.text().matches("t:product-42\"").count() >= count
    });
}

fn stored(node: &Node) {
    node.wait("a stored price", |node| tier(&node.get(42)) == Some("local"));
}

#[test]
fn unsigned_message_refused_and_signed_one_applied() {
    let stack = Stack::start();
    let node = stack.node_with(|config| with_keys(&config, &[OLD]));
    stored(&node);
    let message = r#"{"cause":"purge","subjects":["t:product-42"]}"#;
    let emit = format!("select pg_logical_emit_message(true, 'tidegate', '{message}')");
    stack.sql(&emit);
    node.wait("the refusal", |node| node.metric(REFUSED) == 1.0);
    let (refused, last) = node.refused("refused_messages");
    assert!(refused == 1 && last.contains("no signature"), "{refused} {last}");
    node.wait("the component", |node| node.readiness_of("log-signatures")["ok"] == false);
    let journal = harness::http::get(node.admin, "/api/v1/invalidations", DEADLINE);
    assert!(!journal.expect("an answer").text().contains("t:product-42\""), "nothing was purged");
    // The node signs its own.
    assert_eq!(purge(&node), 200);
    wait_for_purges(&node, 1);
    assert_eq!(node.metric(REFUSED), 1.0);
}

#[test]
fn manual_signs_in_sql() {
    let stack = Stack::start();
    let node = stack.node_with(|config| with_keys(&config, &[NEW, OLD]));
    stored(&node);
    let block =
        MANUAL.split("```sql\n").skip(1).find(|block| block.contains("pgcrypto")).expect("a block");
    let (statements, _) = block.split_once("```").expect("its end");
    let statements = statements.replace("KEY", OLD);
    stack.postgres.psql_in("shop", &statements).expect("the statements run");
    stack.postgres.psql("create role stranger login").expect("a role");
    let call = "select tidegate_purge(array['t:product-42'])";
    assert!(stack.postgres.psql_as("stranger", "shop", call).is_err(), "no right to sign");
    let read = "select key from tidegate_message_key";
    assert!(stack.postgres.psql_as("shop", "shop", read).is_err(), "no right to see the key");
    stack.sql(call);
    wait_for_purges(&node, 1);
    assert_eq!(node.metric(REFUSED), 0.0);

    // The same message an hour and a minute later, as a reader of the log could write it again.
    let recorded = "select encode(public.hmac(m, key, 'sha256'), 'hex') || ' ' || m from \
         tidegate_message_key, (select json_build_object('cause', 'application', 'subjects', \
         array['t:product-42'], 'signed_at', extract(epoch from clock_timestamp())::bigint - 3660)::text m) t";
    let recorded = stack.postgres.psql_in("shop", recorded).expect("a message");
    let emit = format!("select pg_logical_emit_message(true, 'tidegate', '{}')", recorded.trim());
    stack.sql(&emit);
    node.wait("the refusal", |node| node.metric(REFUSED) == 1.0);
    assert!(node.refused("refused_messages").1.contains("an hour"));
}

/// Applications may sign before the nodes have keys, and a node without keys beside others reads their messages.
#[test]
fn node_without_keys_reads_signed_messages() {
    let stack = Stack::start();
    let leader = stack.node();
    let other = stack.node_with(|config| with_keys(&config, &[OLD]));
    stored(&leader);
    assert_eq!(purge(&other), 200);
    wait_for_purges(&leader, 1);
    assert_eq!(leader.metric("tidegate_feed_malformed_total"), 0.0);
}
