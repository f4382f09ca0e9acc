//! The auditor asks other nodes: it finds one with a stale value, and reports none that is only unreachable.

use std::cell::Cell;
use std::net::SocketAddr;

use drill::{Fault, FaultProxy};
use harness::{Port, http};
use serde_json::Value;

use crate::audit::{report, tidegate_audit};
use crate::stack::{DEADLINE, Node, Stack, bound_ms, tier};
use crate::upstream::{Reply, Upstream};

/// Returns a configuration with a long TTL and an auditor at full rate.
fn with_audit(config: &str, peers: &[SocketAddr]) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| format!("\"http://{peer}\"")).collect();
    format!(
        "{}\n[audit]\nreads_per_second = 200\nsample = 1.0\npeers = [{}]\n",
        config.replace("unproven  =", "ttl = \"10m\"\nunproven  ="),
        peers.join(", ")
    )
}

fn wait_ready(node: &Node) {
    node.wait("a proven bound", |node| {
        http::get(node.admin, "/readyz", DEADLINE).is_ok_and(|answer| answer.status == 200)
            && node.status()["bound_ms"].as_f64().is_some()
    });
}

/// Returns the status and the tiers that `node` reports to another node's auditor.
fn inspect(node: &Node, query: &str) -> (u16, Value) {
    let path = format!("/api/v1/inspect?{query}");
    let answer = http::get(node.admin, &path, DEADLINE).expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

fn peer(node: &Node) -> Value {
    report(node)["peers"][0].clone()
}

#[test]
fn peer_with_planted_value_named() {
    let stack = Stack::start();
    let faulty = stack.launch(|config| with_audit(&config, &[]));
    wait_ready(&faulty);
    let node = stack.launch(|config| with_audit(&config, &[faulty.admin]));
    wait_ready(&node);

    // A price in Redis is changed and τ is not; the other node copies the entry from there.
    let plant = "local raw = redis.call('GET', KEYS[1]) \
                 if not raw then return 0 end \
                 local ttl = redis.call('PTTL', KEYS[1]) \
                 local planted, changed = string.gsub(raw, '\"price_cents\":10', '\"price_cents\":90') \
                 redis.call('SET', KEYS[1], planted, 'PX', ttl) return changed";
    let planted = |id: &u32| {
        // A fill of the shared tier may time out on a busy machine; the next id is taken then.
        let name = format!("{{tg:0}}:k:v1:catalog:price:{id}");
        node.cents(*id) == Some(1000 + id)
            && stack
                .redis
                .cli(&["eval", plant, "1", &name])
                .is_ok_and(|output| output.contains('1'))
    };
    let id = (10..100).find(planted).expect("some entry in the shared tier");
    let key = format!("v1:catalog:price:{id}");
    faulty.wait("its own copy", |faulty| {
        faulty.cents(id) == Some(9000 + id) && tier(&faulty.get(id)) == Some("local")
    });

    let is_about = |finding: &&Value| {
        finding["node"] == faulty.admin.to_string() && finding["tier"] == "local"
    };
    node.wait("a finding about the other node", |node| {
        node.get(id);
        report(node)["findings"].as_array().expect("a list").iter().any(|found| is_about(&found))
    });
    let report = report(&node);
    let finding = report["findings"].as_array().expect("a list").iter().find(is_about);
    let finding = finding.expect("present");
    assert_eq!(finding["key"], key, "{finding:#}");
    assert!(finding["bound_broken"] == true || finding["beyond_contract"] == true, "{finding:#}");
    assert!(finding["behind_ms"].as_f64() > finding["bound_ms"].as_f64(), "{finding:#}");
    let last = finding["story"].as_array().expect("a story").last().expect("a line").to_string();
    assert!(last.contains(&format!("{} replied that its local tier", faulty.admin)), "{finding:#}");
    assert!(finding["rule"].as_str().is_some_and(|rule| rule.starts_with("none")), "{finding:#}");
    assert!(node.metric("tidegate_audit_broken_total") >= 1.0);
    assert!(node.metric("tidegate_audit_peer_looks_total") >= 1.0);

    let output = tidegate_audit(&node, &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let named = format!("{key} in the local tier of {}", faulty.admin);
    assert!(text.contains(&named), "{text}");
    assert!(text.contains(&format!("as {} would answer", faulty.admin)), "{text}");
}

#[test]
fn cut_off_peer_within_bound_not_a_finding() {
    let stack = Stack::start();
    let serve_stale = |config: &str| config.replace("read-origin", "serve-stale");
    // The first node leads and keeps its connection.
    let proxy = FaultProxy::start(stack.redis.addr()).expect("a proxy");
    let redis = stack.redis.addr().to_string();
    let cut_admin = Port::reserve().expect("a free port");
    let node = stack.launch(|config| with_audit(&serve_stale(&config), &[cut_admin.addr()]));
    wait_ready(&node);
    node.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    let cut = stack.launch(|config| {
        let line = config.lines().find(|line| line.starts_with("admin")).expect("a line");
        let config = config.replace(line, &format!("admin = \"{}\"", cut_admin.addr()));
        with_audit(&serve_stale(&config), &[]).replace(&redis, &proxy.addr().to_string())
    });
    let cut = Node { admin: cut_admin.addr(), ..cut };
    wait_ready(&cut);
    cut.wait("a cached answer", |cut| tier(&cut.get(42)) == Some("local"));
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    node.wait("a checked peer", |node| {
        node.get(42);
        peer(node)["samples"]["agreed"].as_u64() > Some(0)
    });

    proxy.set(Fault::black_hole());
    let price = Cell::new(2_000);
    // A check may come too late to count on a busy machine; another commit is made then.
    node.wait("the other node counted as stale after a second", |node| {
        price.set(price.get() + 1);
        stack.price(42, price.get());
        node.wait("new price", |node| node.cents(42) == Some(price.get()));
        peer(node)["after"][1]["local"]["stale"].as_u64() > Some(0)
    });
    let answer = cut.get(42);
    assert!(answer.text().contains("1042"), "it is cut off: {answer:?}");
    assert!(bound_ms(&answer).is_none_or(|bound| bound > 900.0), "{answer:?}");
    let freshness = answer.header("tidegate-freshness").unwrap_or_default();
    assert!(freshness.contains("stale="), "{answer:?}");
    let counts = report(&node);
    assert!(node.metric("tidegate_audit_peer_stale_total") >= 1.0, "{counts:#}");
    assert_eq!(counts["broken"], 0, "within its shown bound: {counts:#}");
    let findings = counts["findings"].as_array().expect("a list");
    assert!(findings.iter().all(|finding| finding["node"].is_null()), "{counts:#}");

    proxy.heal();
    cut.wait("the new price", |cut| cut.cents(42) == Some(price.get()));
}

#[test]
fn no_peer_older_than_its_bound() {
    let stack = Stack::start();
    let other = stack.launch(|config| with_audit(&config, &[]));
    wait_ready(&other);
    let node = stack.launch(|config| with_audit(&config, &[other.admin]));
    wait_ready(&node);

    let (status, reply) = inspect(&other, "contract=product_price&id=99");
    assert_eq!((status, reply["tiers"].as_array().map(Vec::len)), (200, Some(0)), "{reply:#}");
    assert_eq!(tier(&other.get(99)), Some("origin"), "inspection fills nothing");
    other.wait("an entry", |other| {
        other.get(99);
        let (_, reply) = inspect(other, "contract=product_price&id=99&salt=s");
        reply["tiers"].as_array().is_some_and(|tiers| {
            tiers.iter().any(|held| held["tier"] == "local" && held["answers"] == "fresh")
        })
    });
    let (_, reply) = inspect(&other, "contract=product_price&id=99");
    assert_eq!(reply["key"], "v1:catalog:price:99");
    // The digits of the price may occur in any number here.
    for part in ["price_cents", "currency", "GBP"] {
        assert!(!reply.to_string().contains(part), "a digest, not the price: {reply:#}");
    }
    for (query, hint) in [
        ("contract=product_prices&id=99", "contracts with values: product_price"),
        ("contract=product_price&id=jane%40example.com", "e-mail"),
        ("contract=product_price", "id"),
        (&format!("contract=product_price&id=1&salt={}", "x".repeat(65)), "at most 64"),
    ] {
        let path = format!("/api/v1/inspect?{query}");
        let answer = http::get(other.admin, &path, DEADLINE).expect("an answer");
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert!(answer.text().contains(hint), "{query}: {answer:?}");
    }

    let round = Cell::new(0);
    node.wait("checks of the other node after a second", |node| {
        round.set(round.get() + 1);
        for id in 1..=5 {
            node.get(id);
            other.get(id);
        }
        stack.price(1 + round.get() % 5, 10_000 + round.get());
        let peer = peer(node);
        peer["after"][1]["local"]["answering"].as_u64() > Some(10)
            && peer["samples"]["agreed"].as_u64() > Some(10)
    });
    let output = tidegate_audit(&node, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["broken"], 0, "{report:#}");
    assert_eq!(report["peers"][0]["node"], other.admin.to_string(), "{report:#}");
    assert_eq!(report["peers"][0]["asked"]["rubbish"], 0, "{report:#}");
    let findings = report["findings"].as_array().expect("a list");
    assert!(findings.iter().all(|finding| finding["node"].is_null()), "{report:#}");
}

#[test]
fn unusable_peers_only_counted() {
    let stack = Stack::start();
    let dead = Port::reserve().expect("a free port");
    let [slow, malformed, other] = [Reply::Never, Reply::Malformed, Reply::Page("a page".into())]
        .map(|reply| {
            let upstream = Upstream::start();
            upstream.reply_with(reply);
            upstream
        });
    let peers = [dead.addr(), slow.address, malformed.address, other.address];
    let node = stack.launch(|config| with_audit(&config, &peers));
    wait_ready(&node);
    let round = Cell::new(0);
    node.wait("an audit despite unusable peers", |node| {
        round.set(round.get() + 1);
        for id in 1..=5 {
            node.get(id);
        }
        stack.price(1 + round.get() % 5, 10_000 + round.get());
        let report = report(node);
        let asked = |peer: usize, what: &str| report["peers"][peer]["asked"][what].as_u64();
        report["after"][1]["checked"].as_u64() > Some(10)
            && report["samples"]["compared"].as_u64() > Some(10)
            && [0, 1, 2].iter().all(|peer| asked(*peer, "unreachable") > Some(0))
            && asked(3, "rubbish") > Some(0)
            && [0, 1, 2, 3].iter().all(|peer| asked(*peer, "resting") > Some(0))
    });
    let report = report(&node);
    assert_eq!(report["broken"], 0, "{report:#}");
    for peer in report["peers"].as_array().expect("a list") {
        assert_eq!(peer["asked"]["answered"], 0, "{peer:#}");
        assert_eq!(peer["after"][1]["checked"], 0, "{peer:#}");
    }
    let findings = report["findings"].as_array().expect("a list");
    assert!(findings.iter().all(|finding| finding["node"].is_null()), "{report:#}");
}
