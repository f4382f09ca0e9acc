//! Certificate authorities that are away, lie, limit or forget.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use harness::Pebble;
use harness::http::Response;

use super::authority::{Alter, Call, Choice, IssuedShop, altered, refuse};
use crate::stack::Node;

/// A shop whose authority answers by `alter`.
fn shop_with(alter: impl Fn(&Call<'_>, &mut Response) + Send + Sync + 'static) -> IssuedShop {
    let alter: Alter = Arc::new(alter);
    let directory = |pebble: &Pebble| altered(pebble, Arc::clone(&alter));
    IssuedShop::with(&Choice { directory: Some(&directory), ..Choice::default() })
}

fn attempts_of(node: &Node, result: &str) -> f64 {
    node.metric_with("tidegate_acme_attempts_total", &format!("result=\"{result}\""))
}

fn lines_with(shop: &IssuedShop, text: &str) -> usize {
    shop.node.process.lines().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn authority_that_was_away_is_asked_again() {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let shop = shop_with(move |_, response| {
        if away.load(Ordering::Relaxed) {
            response.status = 502;
            response.body = b"<html>Bad Gateway</html>".to_vec();
        }
    });
    shop.wait_for_failure("the status 502");
    shop.node.wait("another attempt", |node| attempts_of(node, "failed") >= 2.0);
    is_away.store(false, Ordering::Relaxed);
    shop.wait_for_certificate();
    assert_eq!(lines_with(&shop, "no certificate issued"), 1, "the cause is logged once");
}

/// Of another key, of another host, or of the past.
#[test]
fn wrong_certificate_never_served() {
    for (lie, problem) in [
        ("server.pem", "is not the key of"),
        ("expired.pem", "is not the key of"),
        ("no-certificate", "has no certificate"),
    ] {
        let made = harness::Certificates::make().expect("certificates");
        let pem = made.pem(lie).unwrap_or_else(|_| b"hello".to_vec());
        let shop = shop_with(move |call, response| {
            if call.path.starts_with("/certZ/") {
                response.body.clone_from(&pem);
            }
        });
        shop.wait_for_failure(problem);
        shop.client().connect(shop.node.gateway, "localhost").expect_err("no certificate");
        assert_eq!(attempts_of(&shop.node, "failed"), 1.0, "the next attempt is much later");
    }
}

#[test]
fn failed_renewal_keeps_the_certificate() {
    let lies = Arc::new(AtomicBool::new(false));
    let lying = Arc::clone(&lies);
    let alter: Alter = Arc::new(move |call: &Call<'_>, response: &mut Response| {
        if lying.load(Ordering::Relaxed) && call.path == "/order-plz" {
            refuse(response, 403, "rejectedIdentifier", "0");
        }
    });
    let directory = |pebble: &Pebble| altered(pebble, Arc::clone(&alter));
    let pebble = |pebble: harness::PebbleBuilder| pebble.validity_s(60);
    let choice = Choice { directory: Some(&directory), pebble, ..Choice::default() };
    let shop = IssuedShop::with(&choice);
    shop.wait_for_certificate();
    lies.store(true, Ordering::Relaxed);
    let before = shop.presented();
    shop.wait_long("a renewal", || attempts_of(&shop.node, "failed") >= 1.0);
    shop.wait_for_failure("take the domain out of `domains`");
    assert_eq!(shop.presented(), before);
    assert_eq!(lines_with(&shop, "no certificate issued; the last one is served"), 1);
}

/// The time that the authority asks for outlives a restart.
#[test]
fn limited_rate_respected() {
    let orders = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&orders);
    let mut shop = shop_with(move |call, response| {
        if call.path == "/order-plz" {
            counted.fetch_add(1, Ordering::Relaxed);
            refuse(response, 429, "rateLimited", "7200");
        }
    });
    shop.wait_for_failure("rateLimited");
    for _ in 0..2 {
        shop.restart();
        shop.wait_for_failure("rateLimited");
    }
    assert_eq!(orders.load(Ordering::Relaxed), 1);
    let attempts = fs::read(authority_file(&shop, "localhost.attempts")).expect("readable");
    let attempts: serde_json::Value = serde_json::from_slice(&attempts).expect("JSON");
    let now_s = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let pause_s = attempts["not_before_s"].as_u64().expect("a time") - now_s;
    assert!((7_000..=7_200).contains(&pause_s), "{pause_s}");
}

/// The certificate of an order that a crash has interrupted is fetched, and no other one is ordered.
#[test]
fn restart_continues_the_order() {
    let (orders, holds) = (Arc::<AtomicUsize>::default(), Arc::new(AtomicBool::new(true)));
    let (counted, holding) = (Arc::clone(&orders), Arc::clone(&holds));
    let mut shop = shop_with(move |call, response| {
        if call.path == "/order-plz" {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        while holding.load(Ordering::Relaxed) && call.path.starts_with("/certZ/") {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = response;
    });
    shop.node.wait("a signed certificate", |_| shop.issued() == 1);
    shop.restart();
    holds.store(false, Ordering::Relaxed);
    shop.wait_for_certificate();
    assert_eq!((orders.load(Ordering::Relaxed), shop.issued()), (1, 1));
}

/// As staging environments do.
#[test]
fn forgotten_account_registered_again() {
    let pebble = |pebble: harness::PebbleBuilder| pebble.validity_s(24);
    let mut shop = IssuedShop::with(&Choice { pebble, ..Choice::default() });
    shop.wait_for_certificate();
    shop.pebble.stop().expect("stops");
    shop.pebble.start_again().expect("starts");
    shop.wait_long("a renewal", || shop.issued() >= 2);
    shop.node.wait("the renewed certificate", |_| {
        shop.client().connect(shop.node.gateway, "localhost").is_ok()
    });
    assert_eq!(lines_with(&shop, "ACME account registered"), 2);
}

/// The authority would count a certificate that nothing keeps.
#[test]
fn unwritable_storage_asks_for_nothing() {
    let storage = tempfile::tempdir().expect("a folder");
    let obstacle = |pebble: &Pebble| {
        let folder = format!("127.0.0.1-{}-dir", pebble.addr().port());
        let folder = storage.path().join(folder).join("probe.new");
        fs::create_dir_all(&folder).expect("a folder in place of the file");
        pebble.directory()
    };
    let choice =
        Choice { directory: Some(&obstacle), storage: Some(storage.path()), ..Choice::default() };
    let shop = IssuedShop::with(&choice);
    shop.wait_for_failure("let Tidegate's user read and write the folder");
    shop.node.wait("another attempt", |node| attempts_of(node, "failed") >= 2.0);
    assert_eq!(shop.pebble.logged("/sign-me-up"), 0);
    let folder = fs::read_dir(storage.path()).expect("a folder").flatten().next();
    fs::remove_dir(folder.expect("the authority's").path().join("probe.new")).expect("removed");
    shop.wait_for_certificate();
}

/// A file in place of the folder, and a certificate that is damaged.
#[test]
fn unreadable_storage_refuses_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "").expect("written");
    fs::create_dir_all(at("damaged/ca.example-dir")).expect("made");
    fs::write(at("damaged/ca.example-dir/localhost.pem"), "half").expect("written");
    for (storage, problem) in [("file", "can't be read"), ("damaged", "has no certificate")] {
        let text = format!(
            "[listen.gateway_tls.acme]\ndirectory = \"https://ca.example/dir\"\ndomains = [\"localhost\"]\n\
             terms_agreed = true\nstorage = \"{}\"\n[source.shop]\nurl = \"sqlite:{}\"\n\
             [upstream]\nurl = \"http://127.0.0.1:1\"\n",
            at(storage).display(),
            at("shop.db").display()
        );
        fs::write(at("tidegate.toml"), text).expect("written");
        let mut process = crate::stack::start(&at("tidegate.toml"), &[]);
        let status = process.wait(crate::stack::DEADLINE).expect("exited");
        let output = process.lines().join("\n");
        assert_eq!(status.code(), Some(3), "{output}");
        assert!(output.contains("TLS of listen.gateway") && output.contains(problem), "{output}");
    }
}

/// The check of the domain fails: the reason and the remedy are the authority's and ours.
#[test]
fn failed_check_names_remedy() {
    let pebble = |pebble: harness::PebbleBuilder| pebble.tls_port(1);
    let shop = IssuedShop::with(&Choice { pebble, ..Choice::default() });
    shop.wait_for_failure("let the domain lead to nodes");
    assert_eq!(attempts_of(&shop.node, "failed"), 1.0);
    assert_eq!(shop.issued(), 0);
    let folder = authority_file(&shop, "account.json");
    for file in fs::read_dir(folder.parent().expect("a folder")).expect("readable") {
        let name = file.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with("challenge-") && !name.ends_with(".pending"), "{name} is left");
    }
}

/// RFC 9773: the authority wants a certificate to be renewed now. Let's Encrypt refuses an order in place of a
/// certificate that another account has ordered, or that has been replaced.
#[test]
fn suggested_time_of_renewal_followed() {
    for refuses in [false, true] {
        follow_suggestion(refuses);
    }
}

fn follow_suggestion(refuses: bool) {
    let alter = move |call: &Call<'_>, response: &mut Response| {
        if call.path == "/dir" {
            let mut directory: serde_json::Value =
                serde_json::from_slice(&response.body).expect("JSON");
            let own = directory["newNonce"].as_str().expect("a URL").to_owned();
            let (base, _) = own.rsplit_once('/').expect("a path");
            directory["renewalInfo"] = format!("{base}/renewal").into();
            response.body = directory.to_string().into_bytes();
        }
        if call.path.starts_with("/renewal/") {
            response.status = 200;
            response.headers.push(("retry-after".to_owned(), "3600".to_owned()));
            let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}"#;
            response.body = window.as_bytes().to_vec();
        }
        if call.path == "/order-plz"
            && let Some(replaces) = replaced(call.body)
        {
            if refuses {
                return refuse(response, 409, "alreadyReplaced", "0");
            }
            let mut order: serde_json::Value =
                serde_json::from_slice(&response.body).expect("JSON");
            order["replaces"] = replaces.into();
            response.body = order.to_string().into_bytes();
        }
    };
    let mut shop = shop_with(alter);
    shop.wait_for_certificate();
    assert_eq!(shop.issued(), 1);
    let attempts = authority_file(&shop, "localhost.attempts");
    fs::remove_file(&attempts).expect("removed");
    shop.restart();
    shop.node.wait("a renewal", |node| attempts_of(node, "issued") == 1.0);
    shop.node.wait("its record", |_| attempts.exists());
    assert_eq!(shop.issued(), 2);
}

/// A backup, or another authority at the same address.
#[test]
fn unknown_order_begun_again() {
    let mut shop = shop_with(|_, _| {});
    shop.wait_for_certificate();
    let pending = authority_file(&shop, "localhost.pending");
    let made = harness::Certificates::make().expect("certificates");
    let key = String::from_utf8(made.pem("client.key").expect("there")).expect("PEM");
    let url = format!("{}/my-order/unknown", shop.directory.trim_end_matches("/dir"));
    let text = serde_json::json!({ "url": url, "key": key }).to_string();
    for text in [text.as_str(), "{}", "half of a fi"] {
        fs::write(&pending, text).expect("written");
        for name in ["localhost.pem", "localhost.attempts"] {
            fs::remove_file(authority_file(&shop, name)).expect("removed");
        }
        let issued = shop.issued();
        shop.restart();
        shop.node.wait("another certificate", |_| shop.issued() > issued);
        shop.wait_for_certificate();
    }
}

/// The certificate of a staging environment is not served in place of the other.
#[test]
fn changed_directory_gets_its_own_certificate() {
    let mut shop = shop_with(|_, _| {});
    shop.wait_for_certificate();
    let before = shop.presented();
    let config = shop.folder.path().join("tidegate.toml");
    let text = fs::read_to_string(&config).expect("readable");
    fs::write(&config, text.replace(&shop.directory, &shop.pebble.directory())).expect("written");
    shop.restart();
    shop.node.wait("another certificate", |_| shop.issued() == 2);
    shop.wait_for_certificate();
    assert_ne!(shop.presented(), before);
}

fn authority_file(shop: &IssuedShop, name: &str) -> std::path::PathBuf {
    let mut folders = fs::read_dir(shop.storage.path()).expect("a folder").flatten();
    folders.next().expect("the authority's").path().join(name)
}

/// Returns the certificate that an order replaces.
fn replaced(body: &[u8]) -> Option<String> {
    use base64::Engine as _;
    let jws: serde_json::Value = serde_json::from_slice(body).ok()?;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(jws["payload"].as_str()?).ok()?;
    let payload: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(payload["replaces"].as_str()?.to_owned())
}
