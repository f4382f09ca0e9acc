//! The audit log: its records, and the detection of changes.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use harness::Disk;
use serde_json::{Value, json};

use super::{Guarded, get, text, wait};
use crate::stack::DEADLINE;

#[test]
fn purges_and_tokens_on_record() {
    let (shop, root) = Guarded::start();
    let deploy = shop.token(&["deploy", "--role", "operator"]);
    wait("the new token", || shop.admin("/metrics", &deploy) == 200);
    assert_eq!(shop.purge(&deploy, r#"{"tags":["product-1","product-2"]}"#).status, 200);
    assert_eq!(shop.purge(&deploy, r#"{"all":true}"#).status, 403);
    assert_eq!(shop.purge(&deploy, r#"{"tags":["product-1"],"dry_run":true}"#).status, 200);
    assert_eq!(shop.run(&[], &["token", "revoke", "deploy"]).status.code(), Some(0));
    assert_eq!(shop.purge(&root, r#"{"all":true}"#).status, 200);

    let records = shop.records();
    let shown: Vec<(&str, &str)> = records
        .iter()
        .map(|record| {
            (record["by"].as_str().expect("text"), record["action"].as_str().expect("text"))
        })
        .collect();
    let uid = shown[0].0;
    assert!(uid.starts_with("uid "), "{shown:?}");
    let expected = [
        (uid, "token.create"),
        ("tidegate", "node.start"),
        (uid, "token.create"),
        ("deploy", "purge"),
        ("deploy", "purge.result"),
        (uid, "token.revoke"),
        ("root", "purge"),
        ("root", "purge.result"),
    ];
    assert_eq!(shown, expected);
    assert_eq!(records[3]["from"], "127.0.0.1");
    assert_eq!(records[3]["detail"]["subjects"], json!(["t:product-1", "t:product-2"]));
    assert_eq!(records[4]["detail"]["record"], records[3]["number"]);
    assert!(records[4]["detail"]["position"].is_string(), "{}", records[4]);

    let status = get(shop.node.admin, "/api/v1/status", &root);
    let status: Value = serde_json::from_slice(&status.body).expect("JSON");
    let anchor = status["audit_log"].as_str().expect("an anchor").to_owned();
    let logged = shop.node.process.lines().join("\n");
    assert!(logged.contains(&anchor), "the node's log has each anchor");
    let verified = shop.run(&[], &["audit", "log", "verify", "--anchor", &anchor]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    assert!(text(&verified).contains("the chain is sound"), "{}", text(&verified));
}

#[test]
fn changed_log_fails_the_check() {
    let (shop, root) = Guarded::start();
    assert_eq!(shop.purge(&root, r#"{"tags":["product-1"]}"#).status, 200);
    let path = shop.path("audit.log");
    let sound = fs::read_to_string(&path).expect("readable");
    let verify = || {
        let output = shop.run(&[], &["audit", "log", "verify", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), report["verdict"].as_str().expect("text").to_owned())
    };
    assert_eq!(verify(), (Some(0), "sound".to_owned()));
    fs::write(&path, sound.replace("product-1", "product-2")).expect("written");
    assert_eq!(verify(), (Some(1), "damaged".to_owned()));
    let without_last: Vec<&str> = sound.lines().collect();
    fs::write(&path, without_last[..without_last.len() - 1].join("\n") + "\n").expect("written");
    assert_eq!(verify(), (Some(1), "damaged".to_owned()), "the last record is missing");
    fs::write(&path, &sound).expect("written");
    assert_eq!(verify(), (Some(0), "sound".to_owned()));
    fs::remove_file(&path).expect("removed");
    assert_eq!(verify(), (Some(3), "unchecked".to_owned()), "no log is no sound log");
}

#[test]
fn cut_record_named_after_a_crash() {
    let (mut shop, root) = Guarded::start();
    assert_eq!(shop.purge(&root, r#"{"tags":["product-1"]}"#).status, 200);
    shop.node.process.kill9().expect("killed");
    let before = shop.records().len();
    let mut log = OpenOptions::new().append(true).open(shop.path("audit.log")).expect("opened");
    log.write_all(br#"{"number":99,"previous":"#).expect("written");
    let cut = shop.run(&[], &["audit", "log", "verify"]);
    assert_eq!(cut.status.code(), Some(1), "{}", text(&cut));

    let folder = shop.folder.path().to_owned();
    let mut node = shop.stack.launch(|config| super::guarded(&config, &folder));
    node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
    let repair = &shop.records()[before];
    assert_eq!(repair["action"], "log.repaired");
    assert_eq!(repair["detail"]["text"], r#"{"number":99,"previous":"#);
    let repaired = shop.run(&[], &["audit", "log", "verify"]);
    assert_eq!(repaired.status.code(), Some(0), "{}", text(&repaired));
    assert!(text(&repaired).contains("1 records were cut by a crash"), "{}", text(&repaired));
}

#[test]
fn full_disk_refuses_purges_and_serves_reads() {
    let (shop, root) = Guarded::start();
    // The log moves to a small disk while the node runs.
    let small = shop.path("small");
    fs::create_dir(&small).expect("made");
    let Some(_disk) = Disk::mount(&small, 1).expect("mount runs") else {
        eprintln!("skipped: no right to mount a disk");
        return;
    };
    fs::rename(shop.path("audit.log"), shop.path("audit.log.1")).expect("moved");
    fs::write(small.join("audit.log"), b"").expect("made");
    std::os::unix::fs::symlink(small.join("audit.log"), shop.path("audit.log")).expect("a link");
    assert_eq!(shop.purge(&root, r#"{"tags":["product-1"]}"#).status, 200);
    let price = || get(shop.node.data, "/data/product_price/42", &root);
    wait("a cached price", || {
        price().header("tidegate-freshness").is_some_and(|f| f.contains("tier=local"))
    });

    let mut filler = fs::File::create(small.join("filler")).expect("made");
    while filler.write_all(&[0; 4096]).is_ok() {}
    // The last page of the log may have room for some records.
    wait("the refusal", || shop.purge(&root, r#"{"tags":["product-42"]}"#).status == 503);
    wait("a cached price", || {
        price().header("tidegate-freshness").is_some_and(|f| f.contains("tier=local"))
    });
    let refused = shop.purge(&root, r#"{"tags":["product-42"]}"#);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("nothing was purged"), "{}", refused.text());
    assert!(price().header("tidegate-freshness").is_some_and(|f| f.contains("tier=local")));
    let created = shop.run(&[], &["token", "create", "late", "--role", "viewer"]);
    assert_eq!(created.status.code(), Some(3), "{}", text(&created));
    assert!(text(&created).contains("nothing has changed"), "{}", text(&created));
    assert!(!text(&shop.run(&[], &["token", "list"])).contains("late"));

    drop(filler);
    fs::remove_file(small.join("filler")).expect("removed");
    assert_eq!(shop.purge(&root, r#"{"tags":["product-42"]}"#).status, 200, "it works again");
    let verified = shop.run(&[], &["audit", "log", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "no gap: {}", text(&verified));
}
