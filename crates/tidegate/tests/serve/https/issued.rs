//! Certificates by ACME, from Pebble.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, thread};

use harness::{Process, http};

use super::authority::{Choice, IssuedShop, state, wait_for_certificate};
use super::client::{presented, request_on};
use crate::stack::{DEADLINE, Node};

const HTTP: &str = ", challenge = \"http-01\"";

/// Calls `see` for each file below a folder.
fn each_file(folder: &Path, see: &mut impl FnMut(&Path, u32)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::metadata(&path).expect("there");
        match metadata.is_dir() {
            true => each_file(&path, see),
            false => see(&path, metadata.permissions().mode() & 0o777),
        }
    }
}

fn issued_and_served(choice: &Choice<'_>) -> IssuedShop {
    let shop = IssuedShop::with(choice);
    shop.wait_for_certificate();
    let page = shop.client().get(shop.node.gateway, "/page");
    assert_eq!(page.status, 200);
    shop.node.wait("a good state", |node| state(node)["ok"] == true);
    assert_eq!(shop.issued(), 1);
    shop
}

#[test]
fn first_certificate_issued_by_handshake() {
    let shop = issued_and_served(&Choice::default());
    let labels = "result=\"issued\"";
    assert_eq!(shop.node.metric_with("tidegate_acme_attempts_total", labels), 1.0);
    let mut names = Vec::new();
    each_file(shop.storage.path(), &mut |path, mode| {
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        assert_eq!(mode, 0o600, "{}", path.display());
    });
    names.sort();
    assert_eq!(names, ["account.json", "localhost.attempts", "localhost.pem", "lock"]);
}

#[test]
fn first_certificate_issued_by_request() {
    issued_and_served(&Choice { acme: HTTP, ..Choice::default() });
}

#[test]
fn rejected_nonces_are_no_failures() {
    let pebble = |pebble: harness::PebbleBuilder| pebble.rejected_nonces_percent(30);
    let shop = IssuedShop::with(&Choice { pebble, ..Choice::default() });
    shop.wait_for_certificate();
}

#[test]
fn account_bound_to_the_one_of_the_operator() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    let value = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    fs::write(&key, format!("{value}\n")).expect("written");
    let acme = format!(
        ", external_account_id = \"kid-1\", external_account_key_file = \"{}\"",
        key.display()
    );
    let pebble = |pebble: harness::PebbleBuilder| {
        let value = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
        pebble.external_account("kid-1", value)
    };
    issued_and_served(&Choice { acme: &acme, pebble, ..Choice::default() });
    let without = IssuedShop::with(&Choice { pebble, ..Choice::default() });
    without.wait_for_failure("set external_account_id");
}

/// Handshakes of clients have no certificate to get, and requests in plain HTTP are neither served nor redirected.
#[test]
fn node_without_certificate_says_so() {
    let mut shop = IssuedShop::with(&Choice {
        directory: Some(&|_| "https://127.0.0.1:1/dir".to_owned()),
        ..Choice::default()
    });
    shop.wait_for_failure("the authority can't be reached");
    assert_eq!(shop.state()["ok"], false);
    let waits = http::get(shop.plain, "/page", DEADLINE).expect("an answer");
    assert_eq!((waits.status, waits.header("retry-after")), (503, Some("30")));
    let refused = shop.client().connect(shop.node.gateway, "localhost");
    refused.expect_err("there is no certificate");
    let lines = shop.node.process.lines();
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("no certificate issued"), 1, "{lines:?}");
    assert!(count("component=\"gateway_tls\"") == 1, "{lines:?}");
    shop.node.process.terminate(DEADLINE).expect("ends");
}

#[test]
fn plain_requests_redirected() {
    let shop = issued_and_served(&Choice { acme: HTTP, ..Choice::default() });
    let port = shop.node.gateway.port();
    for (method, path, host, to) in [
        ("GET", "/a?b=c", "localhost:80", format!("https://localhost:{port}/a?b=c")),
        ("POST", "/cart", "localhost", format!("https://localhost:{port}/cart")),
        (
            "GET",
            "/.well-known/acme-challenge/unknown",
            "localhost",
            format!("https://localhost:{port}/.well-known/acme-challenge/unknown"),
        ),
    ] {
        let sent = http::request(shop.plain, method, path, &[("host", host)], b"", DEADLINE);
        let sent = sent.expect("an answer");
        assert_eq!((sent.status, sent.header("location")), (308, Some(to.as_str())), "{path}");
        assert_eq!(sent.header("cache-control"), Some("no-store"));
    }
    let nowhere = http::request(shop.plain, "GET", "/", &[("host", "a b")], b"", DEADLINE);
    assert_eq!(nowhere.expect("an answer").status, 400);
}

/// A handshake of a check is one of `acme-tls/1` alone; others get pages, and none gets a page by it.
#[test]
fn foreign_checks_find_nothing() {
    let shop = issued_and_served(&Choice::default());
    for alpn in [&["acme-tls/1"][..], &["acme-tls/1", "http/1.1"], &["http/1.1", "acme-tls/1"]] {
        let client = shop.client().with_alpn(alpn);
        let stream = client.connect(shop.node.gateway, "localhost");
        match alpn {
            ["acme-tls/1"] => drop(stream.expect_err("there is no check")),
            _ => {
                let mut stream = stream.expect("a client's handshake");
                assert_eq!(request_on(&mut stream, "/page").expect("a page"), 200);
            }
        }
    }
    assert_eq!(shop.client().get(shop.node.gateway, "/page").status, 200);
}

#[test]
fn renewal_under_load_drops_no_request() {
    let pebble = |pebble: harness::PebbleBuilder| pebble.validity_s(24);
    let shop = IssuedShop::with(&Choice { pebble, ..Choice::default() });
    shop.wait_for_certificate();
    let (client, gateway) = (shop.client(), shop.node.gateway);
    let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (client, stop, served) = (client.clone(), Arc::clone(&stop), Arc::clone(&served));
            thread::spawn(move || {
                let mut kept = client.connect(gateway, "localhost").expect("connects");
                while !stop.load(Ordering::Relaxed) {
                    let status = match number % 2 {
                        0 => request_on(&mut kept, "/page").expect("the connection stays open"),
                        _ => client.get(gateway, "/page").status,
                    };
                    assert_eq!(status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let first = shop.presented();
    shop.wait_long("a renewal", || shop.issued() >= 2);
    shop.node.wait("the renewed certificate", |_| shop.presented() != first);
    let so_far = served.load(Ordering::Relaxed);
    shop.node.wait("more requests", |_| served.load(Ordering::Relaxed) > so_far + 20);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every request was answered");
    }
}

/// The checks reach the first node only, whichever has the lock.
#[test]
fn nodes_share_account_and_certificate() {
    for acme in ["", HTTP] {
        let shop = IssuedShop::with(&Choice { acme, ..Choice::default() });
        let (second, _, _kept) = shop.second_node(acme);
        wait_for_certificate(&shop.node);
        wait_for_certificate(&second);
        let client = shop.client();
        let of =
            |node: &Node| presented(&client.connect(node.gateway, "localhost").expect("connects"));
        assert_eq!(of(&shop.node), of(&second));
        assert_eq!(shop.issued(), 1);
    }
}

#[test]
fn every_node_answers_checks() {
    let shop = issued_and_served(&Choice::default());
    let (second, plain, _kept) = shop.second_node("");
    wait_for_certificate(&second);
    let folder = fs::read_dir(shop.storage.path()).expect("a folder");
    let folder = folder.flatten().next().expect("the authority's").path();
    fs::write(folder.join("challenge-token-abc"), "abc.print").expect("written");
    for address in [shop.plain, plain] {
        let answer = http::get(address, "/.well-known/acme-challenge/abc", DEADLINE);
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "abc.print"));
    }
}

#[test]
fn reload_and_restart_keep_the_certificate() {
    let mut shop = issued_and_served(&Choice::default());
    let before = shop.presented();
    let config = shop.folder.path().join("tidegate.toml");
    let text = fs::read_to_string(&config).expect("readable");
    fs::write(&config, format!("{text}\n[edge]\nmax_tags = 7\n")).expect("written");
    let mut reload = Process::builder(env!("CARGO_BIN_EXE_tidegate"))
        .args(["reload", "--admin", &shop.node.admin.to_string()])
        .start()
        .expect("runs");
    assert!(reload.wait(DEADLINE).expect("ends").success(), "{:?}", reload.lines());
    assert_eq!(shop.presented(), before);
    shop.restart();
    shop.wait_for_certificate();
    assert_eq!(shop.presented(), before);
    assert_eq!(shop.issued(), 1);
}
