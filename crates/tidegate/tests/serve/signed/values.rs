//! Entries and messages of the node stream in Redis.

use contract::SigningKeys;

use super::{NEW, OLD, signing};
use crate::stack::{DEADLINE, Node, Stack, tier};

const REFUSED: &str = "tidegate_shared_values_refused_total";

/// Makes an entry of the entry of product 1 under the name of another product. `v` is the stored value.
fn plant(stack: &Stack, id: u32, script: &str) {
    let script = format!(
        "local v = redis.call('GET', KEYS[1]) local life = redis.call('PTTL', KEYS[1]) {script} \
         redis.call('SET', KEYS[2], v, 'PX', life) return #v"
    );
    let name = |id: u32| format!("{{tg:0}}:k:v1:catalog:price:{id}");
    let planted = stack.redis.cli(&["eval", &script, "2", &name(1), &name(id)]);
    let length: u64 = planted.expect("planted").trim().parse().expect("a length");
    assert!(length > 50);
}

fn keep(config: String) -> String {
    // A TTL beyond the test.
    config.replace("staleness = \"1s\"", "staleness = \"10m\"")
}

fn node(stack: &Stack, keys: &[&str]) -> Node {
    stack.node_with(|config| signing(&keep(config), keys))
}

/// Reads a product until the node's own tier has it, so that Redis has it too.
fn store(node: &Node, id: u32) {
    node.wait("a stored price", |node| tier(&node.get(id)) == Some("local"));
}

#[test]
fn planted_values_are_misses_and_findings() {
    let stack = Stack::start();
    let node = node(&stack, &[OLD]);
    store(&node, 1);
    let planted = [
        (41, "v = string.gsub(v, '1001', '1009')", "mismatch"),
        (42, "", "mismatch"),
        (43, "v = string.sub(v, 1, -2)", ""),
        (44, "v = 'tg3' .. string.sub(v, 4, -37)", "unsigned"),
        (45, "v = 'tg3' .. string.sub(v, 4, -37) v = string.gsub(v, '1001', '1009')", "unsigned"),
        (46, "v = string.gsub(v, '^tg4 (%S+) %d+ ', 'tg4 %1 1 ')", ""),
        (47, "v = string.sub(v, 1, -21) .. 'abcd' .. string.sub(v, -16)", "unknown-key"),
    ];
    for (id, script, reason) in planted {
        plant(&stack, id, script);
        let before = node.metric_with(REFUSED, reason);
        assert_eq!(node.cents(id), Some(1_000 + id), "{script}");
        if !reason.is_empty() {
            assert_eq!(node.metric_with(REFUSED, reason), before + 1.0, "{reason}: {script}");
        }
    }
    let (refused, last) = node.refused("refused_values");
    assert!(refused >= 5 && last.contains("v1:catalog:price:4"), "{refused} {last}");
    node.wait("the component", |node| {
        let component = node.readiness_of("shared-signatures");
        component["ok"] == false && component["detail"].to_string().contains("refused")
    });
    assert!(node.process.lines().iter().any(|line| line.contains("a value in Redis is not used")));
}

/// Without keys Redis is trusted, as it was: the case that the keys are for.
#[test]
fn planted_value_answered_without_keys() {
    let stack = Stack::start();
    let node = stack.node_with(keep);
    store(&node, 1);
    plant(&stack, 42, "");
    assert_eq!(node.cents(42), Some(1_001), "the price of product 1");
}

#[test]
fn planted_message_refused() {
    let stack = Stack::start();
    let node = node(&stack, &[OLD]);
    store(&node, 1);
    let forge = "local n = redis.call('HINCRBY', KEYS[1], 'sent', 1) \
                 redis.call('XADD', KEYS[2], '*', 'n', n, 'evict', '[\"k:v1:catalog:price:1\"]')";
    let names = ["{tg:0}:state", "{tg:0}:stream"];
    stack.redis.cli(&["eval", forge, "2", names[0], names[1]]).expect("planted");
    node.wait("the refusal", |node| node.metric_with(REFUSED, "unsigned") >= 1.0);
    let (_, last) = node.refused("refused_values");
    assert!(last.contains("the node stream"), "{last}");
    // The node goes on from the end of the stream.
    stack.price(1, 7);
    node.wait("the new price", |node| node.cents(1) == Some(7));
    store(&node, 1);
}

#[test]
fn keys_rotate_node_by_node() {
    let stack = Stack::start();
    let one = node(&stack, &[OLD, NEW]);
    let two = node(&stack, &[NEW, OLD]);
    for (writer, reader, id) in [(&one, &two, 11), (&two, &one, 12)] {
        store(writer, id);
        assert_eq!(tier(&reader.get(id)), Some("shared"), "signed by the other node");
    }
    for node in [&one, &two] {
        assert_eq!(node.refused("refused_values").0, 0);
    }
    // Left out of the rotation: it can't verify the leader's messages, so it proves nothing and stores nothing.
    let mut three = stack.launch(|config| signing(&keep(config), &[NEW]));
    three.process.wait_for_http(three.admin, "/readyz", DEADLINE).expect("ready");
    three.wait("the refusal", |node| node.metric_with(REFUSED, "unknown-key") >= 1.0);
    assert_eq!(three.cents(11), Some(1_011));
    assert!(three.refused("refused_values").1.contains("not among the keys of this node"));
}

#[test]
fn node_without_keys_named_and_right() {
    let stack = Stack::start();
    let with = node(&stack, &[OLD]);
    let without = stack.node_with(keep);
    store(&with, 11);
    assert_eq!(without.cents(11), Some(1_011));
    let (refused, last) = without.refused("refused_values");
    assert!(refused > 0 && last.contains("no shared.signing_keys"), "{refused} {last}");
    store(&without, 12);
    assert_eq!(with.cents(12), Some(1_012));
    assert!(with.refused("refused_values").1.contains("without shared.signing_keys"));
    for node in [&with, &without] {
        node.wait("the component", |node| node.readiness_of("shared-signatures")["ok"] == false);
    }
}

#[test]
fn keys_introduced_while_unsigned_values_are_accepted() {
    let stack = Stack::start();
    let without = stack.node_with(keep);
    store(&without, 11);
    let introduced = |config: String| {
        let config = signing(&keep(config), &[OLD]);
        config.replace("signing_keys", "unsigned = \"accept\"\nsigning_keys")
    };
    let with = stack.node_with(introduced);
    assert_eq!(tier(&with.get(11)), Some("shared"));
    stack.price(11, 7);
    with.wait("the new price", |node| node.cents(11) == Some(7));
    assert_eq!(with.refused("refused_values").0, 0);
}

#[test]
fn entry_kept_past_its_life_is_not_answered() {
    let stack = Stack::start();
    let one = node(&stack, &[OLD]);
    store(&one, 1);
    let (name, to_hex) = (
        "{tg:0}:k:v1:catalog:price:1",
        "return (string.gsub(redis.call('GET', KEYS[1]), '.', \
         function(c) return string.format('%02x', string.byte(c)) end))",
    );
    let hex = stack.redis.cli(&["eval", to_hex, "1", name]).expect("the entry");
    let digits = hex.trim().as_bytes().chunks(2);
    let raw: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("digits"), 16).expect("a byte"))
        .collect();
    // As a node has written it whose entry ended long ago. The trailer: τ, end of life, key, code.
    let (signed, trailer) = raw.split_at(raw.len() - 36);
    let words: Vec<&[u8]> = signed.splitn(5, |byte| *byte == b' ').collect();
    let (epoch, content) = (words[1], &signed[signed.len() - words[4].len() - 1..]);
    let (tau, ended) = (&trailer[..8], 1_000_000_u64.to_be_bytes());
    let parts: [&[u8]; 8] =
        [b"tidegate entry\n", name.as_bytes(), b"\n", epoch, b"\n", tau, &ended, content];
    let mac = SigningKeys::new(&[OLD.to_owned()]).expect("a key").sign(&parts);
    let kept = [signed, tau, &ended, &mac.key.0, &mac.code[..16]].concat();
    let hex: String = kept.iter().map(|byte| format!("{byte:02x}")).collect();
    let from_hex = "local v = string.gsub(ARGV[1], '..', \
                    function(d) return string.char(tonumber(d, 16)) end) \
                    redis.call('SET', KEYS[1], v, 'PX', 600000) return #v";
    let put_back = stack.redis.cli(&["eval", from_hex, "1", name, &hex]).expect("put back");
    assert_eq!(put_back.trim(), kept.len().to_string());
    let two = node(&stack, &[OLD]);
    assert_eq!(tier(&two.get(1)), Some("origin"));
    assert_eq!(two.metric_with(REFUSED, "expired"), 1.0);
    assert_eq!(two.refused("refused_values").0, 0, "clocks may differ");
}
