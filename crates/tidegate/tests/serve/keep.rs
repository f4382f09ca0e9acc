//! The contract keys `sliding`, `pool` and `residency`.

use std::time::Duration;

use harness::http::{self, Response};
use harness::{Port, Process};

use crate::stack::{DEADLINE, Node, Stack, now, tier};

const LOADS: &str = "tidegate_load_seconds_count";

/// Starts a node with more contracts and a long timeout for Redis, for busy machines.
fn node(stack: &Stack, head: &str, contracts: &str) -> Node {
    stack.node_with(|config| {
        let config = config.replace("[shared]", "[shared]\ntimeout = \"5s\"");
        format!("{head}\n{config}\n{contracts}")
    })
}

fn get(node: &Node, path: &str) -> Response {
    http::get(node.data, path, DEADLINE).expect("an answer")
}

const TTL: Duration = Duration::from_secs(4);

const SESSION: &str = r#"
[data.session]
key           = "v1:shop:session:{id}"
value         = "select name from products where id = $id"
from          = { source = "shop", table = "products", key = "id", columns = ["name"] }
staleness     = "5s"
ttl           = "4s"
jitter        = 0
sliding       = true
write_through = false
owner         = "accounts"
approved      = { by = ["product"], on = 2026-11-02 }
"#;

#[test]
fn used_entries_outlive_sliding_ttl() {
    let stack = Stack::start();
    let nodes = [node(&stack, "", SESSION), node(&stack, "", SESSION)];
    let [used, other] = &nodes;
    let session = |node: &Node| get(node, "/data/session/42");
    let begun = now();
    // Where the machine stalled for a quarter of the TTL the entry may have expired; repeat then.
    loop {
        assert!(begun.elapsed() < 10 * DEADLINE, "the machine is too slow");
        used.wait("a cached answer", |node| tier(&session(node)) == Some("local"));
        let (loads, first) = (used.metric(LOADS), now());
        let (mut last, mut longest) = (first, Duration::ZERO);
        let mut elsewhere = 0;
        while first.elapsed() < 3 * TTL {
            elsewhere += u32::from(tier(&session(used)) != Some("local"));
            longest = longest.max(last.elapsed());
            last = now();
            std::thread::sleep(Duration::from_millis(20));
        }
        let shared = session(other);
        longest = longest.max(last.elapsed());
        if longest < TTL / 4 {
            assert_eq!((used.metric(LOADS) - loads, elsewhere), (0.0, 0), "uses extend the TTL");
            assert_eq!(tier(&shared), Some("shared"), "not read on the other node: {shared:?}");
            break;
        }
    }
    stack.sql("update products set name = 'changed' where id = 42");
    for node in &nodes {
        node.wait("the change", |node| session(node).text().contains("changed"));
    }
    used.wait("a cached answer", |node| tier(&session(node)) == Some("local"));
    std::thread::sleep(TTL + Duration::from_secs(1));
    let loads = used.metric(LOADS);
    assert_eq!(tier(&session(used)), Some("origin"), "unused for longer than the TTL");
    assert_eq!(used.metric(LOADS), loads + 1.0);
}

const CLASSES: &str = r#"
[data.cart]
key       = "v1:shop:cart:{id}"
value     = "select price_cents from products where id = $id"
from      = { source = "shop", table = "products", key = "id" }
staleness = "60s"
pool      = "critical"
owner     = "accounts"
approved  = { by = ["product"], on = 2026-11-02 }

[data.teaser]
key       = "v1:shop:teaser:{id}"
value     = "select repeat('x', 8000) as body from products where id = $id"
from      = { source = "shop", table = "products", key = "id" }
tiers     = ["local"]
staleness = "60s"
priority  = "ephemeral"
owner     = "marketing"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

#[test]
fn ephemeral_flood_keeps_critical_entries() {
    let stack = Stack::start();
    stack.sql("insert into products select n, 'thing ' || n, n % 10, 1000 + n, 'GBP' from generate_series(101, 900) n");
    let head = "[local]\nmemory = \"2MiB\"\n[local.pools]\ncritical = \"50%\"\nstandard = \"10%\"";
    let node = node(&stack, head, CLASSES);
    let of = |name: &str, pool: &str| node.metric(&format!("{name}{{pool=\"{pool}\"}}"));
    for id in 1..=50 {
        node.wait("a cached answer", |node| {
            tier(&get(node, &format!("/data/cart/{id}"))) == Some("local")
        });
    }
    let entries = of("tidegate_pool_entries", "critical");
    assert!(entries >= 50.0, "{entries}");
    // Each is read three times, so that the flood is not a mere scan.
    for first in (1..=850).step_by(50) {
        let items: Vec<_> = (first..first + 50).map(|id| format!("get=teaser/{id}")).collect();
        for _ in 0..3 {
            let answer = get(&node, &format!("/data/batch?{}", items.join("&")));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let evictions = of("tidegate_pool_evictions_total", "ephemeral");
    assert!(evictions >= 400.0, "{evictions} of 850 entries of 8 kB were evicted from 2 MiB");
    assert_eq!(of("tidegate_pool_evictions_total", "critical"), 0.0);
    let loads = node.metric(LOADS);
    for id in 1..=50 {
        let answer = get(&node, &format!("/data/cart/{id}"));
        assert_eq!(tier(&answer), Some("local"), "{id}: {answer:?}");
    }
    assert_eq!(node.metric(LOADS), loads);
    let bytes = |pool| of("tidegate_pool_bytes", pool);
    let total = bytes("critical") + bytes("standard") + bytes("ephemeral");
    assert!(total <= 2.0 * 1_048_576.0, "{total}");
    assert!(bytes("ephemeral") > 1_048_576.0, "it may use memory that the other pools leave free");
}

/// Personal data that may not leave the EU, and a contract without residency.
const PEOPLE: &str = r#"
[data.person]
key         = "v1:crm:person:{id}"
value       = "select email from people where id = $id"
from        = { source = "shop", table = "people", key = "id", columns = ["email"] }
staleness   = "5s"
sensitivity = "personal"
residency   = "eu"
retention   = "1h"
owner       = "accounts"
approved    = { by = ["dpo"], on = 2026-11-02 }

[data.thing]
key       = "v1:shop:thing:{id}"
value     = "select name from products where id = $id"
from      = { source = "shop", table = "products", key = "id", columns = ["name"] }
staleness = "5s"
owner     = "catalogue"
approved  = { by = ["product"], on = 2026-11-02 }
"#;

fn stack_with_people() -> Stack {
    let stack = Stack::start();
    stack.sql("create table people(id int primary key, email text)");
    stack.sql("insert into people values (1, 'mail-before'), (2, 'mail-other')");
    stack
}

/// Returns all of Redis that can be read: names, entries, streams.
fn redis_dump(stack: &Stack) -> String {
    let script = "local out = {} for _, k in ipairs(redis.call('KEYS', '*')) do \
                  local t = redis.call('TYPE', k).ok out[#out + 1] = k \
                  if t == 'string' then out[#out + 1] = redis.call('GET', k) end \
                  if t == 'stream' then for _, m in ipairs(redis.call('XRANGE', k, '-', '+')) do \
                  for _, w in ipairs(m[2]) do out[#out + 1] = w end end end end \
                  return table.concat(out, ' ')";
    stack.redis.cli(&["--raw", "eval", script, "0"]).expect("redis-cli")
}

#[test]
fn resident_data_not_cached_outside_region() {
    let stack = stack_with_people();
    let node = node(&stack, "[node]\nregion = \"us-east\"", PEOPLE);
    let person = |id: u32| get(&node, &format!("/data/person/{id}"));
    let loads = node.metric(LOADS);
    for _ in 0..5 {
        let answer = person(1);
        assert_eq!(
            (answer.text().as_str(), tier(&answer)),
            (r#"{"email":"mail-before"}"#, Some("origin"))
        );
    }
    assert_eq!(node.metric(LOADS), loads + 5.0, "each read loads from the database");
    let thing = || get(&node, "/data/thing/1");
    node.wait("a cached answer", |_| tier(&thing()) == Some("local"));
    stack.sql("update people set email = 'mail-after' where id = 1");
    stack.sql("update products set name = 'name-after' where id = 1");
    node.wait("the new name", |_| thing().text().contains("name-after"));
    assert_eq!(person(1).text(), r#"{"email":"mail-after"}"#);
    let redis = redis_dump(&stack);
    assert!(redis.contains("name-after"), "the other contract's values are published: {redis}");
    assert!(redis.contains("v1:crm:person:1"), "the invalidation is published: {redis}");
    assert!(!redis.contains("mail-"), "{redis}");
    let output = node.process.lines().join("\n");
    assert!(output.contains("person within 5s, does not leave eu; kept nowhere"), "{output}");
}

#[test]
fn resident_data_cached_inside_region() {
    let stack = stack_with_people();
    let near = "[node]\nregion = \"eu-west\"";
    let far = "[node]\nregion = \"us-east\"";
    let shared = |head: &str| {
        stack.node_with(|config| {
            let shared = "[shared]\ntimeout = \"5s\"\nregion = \"eu-central\"";
            format!("{head}\n{}\n{PEOPLE}", config.replace("[shared]", shared))
        })
    };
    let (near, far) = (shared(near), shared(far));
    let person = |node: &Node| get(node, "/data/person/1");
    near.wait("a cached answer", |node| tier(&person(node)) == Some("local"));
    let entries = far.status()["entries"].clone();
    for _ in 0..3 {
        far.wait("the shared copy", |node| tier(&person(node)) == Some("shared"));
    }
    assert_eq!(far.status()["entries"], entries, "nothing is stored in the process");
    stack.sql("update people set email = 'mail-after' where id = 1");
    for node in [&near, &far] {
        node.wait("the change", |node| person(node).text().contains("mail-after"));
    }
    // The stream goes to nodes of every region.
    let stream =
        stack.redis.cli(&["--raw", "xrange", "{tg:0}:stream", "-", "+"]).expect("a stream");
    assert!(stream.contains("v1:crm:person:1") && !stream.contains("mail-"), "{stream}");
}

#[test]
fn residency_without_region_refuses_start() {
    let stack = stack_with_people();
    let mut node = stack.launch(|config| config + PEOPLE);
    let status = node.process.wait(DEADLINE).expect("exited");
    let output = node.process.lines().join("\n");
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("error[region-missing] data.person.residency"), "{output}");
    assert!(output.contains("[node]\nregion = \"eu\""), "{output}");
    // `check` reports the same, and the effect of each region.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tidegate.toml");
    let ports = [(); 3].map(|()| Port::reserve().expect("a free port"));
    let config = stack.config(ports.each_ref()) + PEOPLE;
    for (head, code, expected) in [
        ("", 1, "error[region-missing] data.person.residency"),
        ("[node]\nregion = \"us\"\n", 0, "warning[kept-elsewhere] data.person.residency"),
        ("[node]\nregion = \"eu\"\n", 0, "0 errors, 0 warnings"),
    ] {
        std::fs::write(&path, format!("{head}{config}")).expect("written");
        let mut check = Process::builder(env!("CARGO_BIN_EXE_tidegate"))
            .arg("check")
            .arg(&path)
            .start()
            .expect("the binary starts");
        let status = check.wait(DEADLINE).expect("exited");
        let output = check.lines().join("\n");
        assert_eq!(status.code(), Some(code), "{output}");
        assert!(output.contains(expected), "{output}");
    }
}
