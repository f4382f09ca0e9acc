//! The auditor asks other nodes: it finds the one that lies, and blames none that is only away.

use std::cell::Cell;
use std::net::SocketAddr;

use harness::{Fault, FaultProxy, Port, http};
use serde_json::Value;

use crate::audit::{report, tidegate_audit};
use crate::stack::{Node, SOON, Stack, bound_ms, tier};
use crate::upstream::{Says, Upstream};

/// Entries that outlive the test, and an auditor that looks at all it can.
fn watching(config: &str, peers: &[SocketAddr]) -> String {
    let peers: Vec<String> = peers.iter().map(|peer| format!("\"http://{peer}\"")).collect();
    format!(
        "{}\n[audit]\nreads_per_second = 200\nsample = 1.0\npeers = [{}]\n",
        config.replace("unproven  =", "ttl = \"10m\"\nunproven  ="),
        peers.join(", ")
    )
}

fn ready(node: &Node) {
    node.wait("a proven bound", |node| {
        http::get(node.admin, "/readyz", SOON).is_ok_and(|answer| answer.status == 200)
            && node.status()["bound_ms"].as_f64().is_some()
    });
}

/// What `node` says that its tiers would answer.
fn inspect(node: &Node, query: &str) -> (u16, Value) {
    let path = format!("/api/v1/inspect?{query}");
    let answer = http::get(node.admin, &path, SOON).expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

fn peer(node: &Node) -> Value {
    report(node)["peers"][0].clone()
}

#[test]
fn a_node_that_holds_a_planted_value_is_found_by_another_and_named() {
    let stack = Stack::start();
    let liar = stack.launch(|config| watching(&config, &[]));
    ready(&liar);
    let node = stack.launch(|config| watching(&config, &[liar.admin]));
    ready(&node);

    // A foreign hand changes a price in Redis and leaves the token as it is; the other node takes it
    // from there.
    let plant = "local raw = redis.call('GET', KEYS[1]) \
                 if not raw then return 0 end \
                 local ttl = redis.call('PTTL', KEYS[1]) \
                 local planted, changed = string.gsub(raw, '\"price_cents\":10', '\"price_cents\":90') \
                 redis.call('SET', KEYS[1], planted, 'PX', ttl) return changed";
    let planted = |id: &u32| {
        // A fill of the shared tier may time out on a busy machine: then the next one is taken.
        let name = format!("{{tg:0}}:k:v1:catalog:price:{id}");
        node.cents(*id) == Some(1000 + id)
            && stack.redis.cli(&["eval", plant, "1", &name]).is_ok_and(|said| said.contains('1'))
    };
    let id = (10..100).find(planted).expect("some entry in the shared tier");
    let key = format!("v1:catalog:price:{id}");
    liar.wait("its own copy of it", |liar| {
        liar.cents(id) == Some(9000 + id) && tier(&liar.get(id)) == Some("local")
    });

    let is_about =
        |finding: &&Value| finding["node"] == liar.admin.to_string() && finding["tier"] == "local";
    node.wait("a finding about the other node", |node| {
        node.get(id);
        report(node)["findings"].as_array().expect("a list").iter().any(|found| is_about(&found))
    });
    let report = report(&node);
    let finding = report["findings"].as_array().expect("a list").iter().find(is_about);
    let finding = finding.expect("it is there");
    assert_eq!(finding["key"], key, "{finding:#}");
    assert!(finding["bound_broken"] == true || finding["beyond_contract"] == true, "{finding:#}");
    assert!(finding["behind_ms"].as_f64() > finding["bound_ms"].as_f64(), "{finding:#}");
    let told = finding["story"].as_array().expect("a story").last().expect("a line").to_string();
    assert!(told.contains(&format!("{} said that its local tier", liar.admin)), "{finding:#}");
    assert!(finding["rule"].as_str().is_some_and(|rule| rule.starts_with("none")), "{finding:#}");
    assert!(node.metric("tidegate_audit_broken_total") >= 1.0);
    assert!(node.metric("tidegate_audit_peer_looks_total") >= 1.0);

    let said = tidegate_audit(&node, &[]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let named = format!("{key} in the local tier of {}", liar.admin);
    assert!(text.contains(&named), "{text}");
    assert!(text.contains(&format!("as {} would answer", liar.admin)), "{text}");
}

#[test]
fn a_node_cut_off_that_serves_stale_and_says_so_counts_and_is_no_finding() {
    let stack = Stack::start();
    let serve_stale = |config: &str| config.replace("read-origin", "serve-stale");
    // The first one leads, and goes on.
    let proxy = FaultProxy::start(stack.redis.addr()).expect("a proxy");
    let redis = stack.redis.addr().to_string();
    let cut_admin = Port::reserve().expect("a free port");
    let node = stack.launch(|config| watching(&serve_stale(&config), &[cut_admin.addr()]));
    ready(&node);
    node.wait("leadership", |node| node.metric("tidegate_feed_leader") == 1.0);
    let cut = stack.launch(|config| {
        let line = config.lines().find(|line| line.starts_with("admin")).expect("a line");
        let config = config.replace(line, &format!("admin = \"{}\"", cut_admin.addr()));
        watching(&serve_stale(&config), &[]).replace(&redis, &proxy.addr().to_string())
    });
    let cut = Node { admin: cut_admin.addr(), ..cut };
    ready(&cut);
    cut.wait("a cached answer", |cut| tier(&cut.get(42)) == Some("local"));
    node.wait("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    node.wait("a node that can be asked", |node| {
        node.get(42);
        peer(node)["samples"]["agreed"].as_u64() > Some(0)
    });

    proxy.set(Fault::black_hole());
    let price = Cell::new(2_000);
    // A look may come too late to count on a busy machine: then there is another commit.
    node.wait("the other node counted as stale after a second", |node| {
        price.set(price.get() + 1);
        stack.price(42, price.get());
        node.wait("new price", |node| node.cents(42) == Some(price.get()));
        peer(node)["after"][1]["local"]["stale"].as_u64() > Some(0)
    });
    let answer = cut.get(42);
    assert!(answer.text().contains("1042"), "it can't know: {answer:?}");
    assert!(bound_ms(&answer).is_none_or(|bound| bound > 900.0), "{answer:?}");
    let freshness = answer.header("tidegate-freshness").unwrap_or_default();
    assert!(freshness.contains("stale="), "{answer:?}");
    let seen = report(&node);
    assert!(node.metric("tidegate_audit_peer_stale_total") >= 1.0, "{seen:#}");
    assert_eq!(seen["broken"], 0, "it was within what it shows: {seen:#}");
    let findings = seen["findings"].as_array().expect("a list");
    assert!(findings.iter().all(|finding| finding["node"].is_null()), "{seen:#}");

    proxy.heal();
    cut.wait("the new price", |cut| cut.cents(42) == Some(price.get()));
}

#[test]
fn under_updates_and_reads_no_node_answers_older_than_it_shows() {
    let stack = Stack::start();
    let other = stack.launch(|config| watching(&config, &[]));
    ready(&other);
    let node = stack.launch(|config| watching(&config, &[other.admin]));
    ready(&node);

    let (status, told) = inspect(&other, "contract=product_price&id=99");
    assert_eq!((status, told["tiers"].as_array().map(Vec::len)), (200, Some(0)), "{told:#}");
    assert_eq!(tier(&other.get(99)), Some("origin"), "asking has warmed nothing");
    other.wait("an entry to be told of", |other| {
        other.get(99);
        let (_, told) = inspect(other, "contract=product_price&id=99&salt=s");
        told["tiers"].as_array().is_some_and(|tiers| {
            tiers.iter().any(|held| held["tier"] == "local" && held["answers"] == "fresh")
        })
    });
    let (_, told) = inspect(&other, "contract=product_price&id=99");
    assert_eq!(told["key"], "v1:catalog:price:99");
    // Not its digits, which may be in any number here.
    for part in ["price_cents", "currency", "GBP"] {
        assert!(!told.to_string().contains(part), "a digest, not the price: {told:#}");
    }
    for (query, hint) in [
        ("contract=product_prices&id=99", "there are: product_price"),
        ("contract=product_price&id=jane%40example.com", "e-mail"),
        ("contract=product_price", "id"),
        (&format!("contract=product_price&id=1&salt={}", "x".repeat(65)), "at most 64"),
    ] {
        let path = format!("/api/v1/inspect?{query}");
        let answer = http::get(other.admin, &path, SOON).expect("an answer");
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
    let said = tidegate_audit(&node, &["--json"]);
    let report: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(said.status.code(), Some(0), "{report:#}");
    assert_eq!(report["broken"], 0, "{report:#}");
    assert_eq!(report["peers"][0]["node"], other.admin.to_string(), "{report:#}");
    assert_eq!(report["peers"][0]["asked"]["rubbish"], 0, "{report:#}");
    let findings = report["findings"].as_array().expect("a list");
    assert!(findings.iter().all(|finding| finding["node"].is_null()), "{report:#}");
}

#[test]
fn nodes_that_are_dead_slow_or_talk_rubbish_are_counted_and_nothing_else() {
    let stack = Stack::start();
    let dead = Port::reserve().expect("a free port");
    let [slow, rubbish, other] =
        [Says::Never, Says::Rubbish, Says::Page("a page".into())].map(|says| {
            let upstream = Upstream::start();
            upstream.says(says);
            upstream
        });
    let peers = [dead.addr(), slow.address, rubbish.address, other.address];
    let node = stack.launch(|config| watching(&config, &peers));
    ready(&node);
    let round = Cell::new(0);
    node.wait("an audit that goes on", |node| {
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
