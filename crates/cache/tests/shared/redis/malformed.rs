//! Malformed values under the tier's keys.

use cache::shared::{LeadRequest, Led, NodeMessage, Outcome, SharedTier};
use coherence::{Claim, Coverage, CoverageDigest, History, Lsn, Refusal, Subject, Verdict};

use super::Lab;
use crate::rig::*;

const NAMES: [&str; 6] =
    ["state", "tombstones", "evictions", "stream", "k:v1:catalog:price:1", "l:v1:catalog:price:1"];

/// A value of each type that Redis has.
const TYPES: [&[&str]; 8] = [
    &["set", "rubbish"],
    &["set", ""],
    &["rpush", "tg2", "x"],
    &["hset", "epoch", "x"],
    &["zadd", "3.5", "rubbish"],
    &["sadd", "x"],
    &["xadd", "*", "n", "x"],
    &["setbit", "9999", "1"],
];

pub(super) fn lead_request(from: CoverageDigest, mappings: &[u64]) -> LeadRequest {
    let claim = Claim { node: 1, log: EPOCH.log(), slot: 1, label: "the shop".into() };
    let coverage = Coverage::of(mappings.iter().copied());
    LeadRequest { claim, history: History::default(), from, coverage, upto: None }
}

impl Lab {
    /// Stores a malformed value under `name`.
    fn overwrite(&self, name: &str, kind: &[&str]) {
        let key = format!("{{tg:0}}:{name}");
        self.cli(&["del", &key]);
        let mut words = kind.to_vec();
        words.insert(1, &key);
        self.cli(&words);
    }

    /// Calls every operation once. Each has to return, with any result.
    async fn call_everything(&self) {
        let subjects =
            [Subject::Key(key(1)), Subject::Tag(tag(1)), Subject::Key(key(2)), Subject::Everything];
        let read = self.tier.read(&key(1), Some(LONG)).await.expect("read");
        if let Outcome::Lead(token) = read.outcome {
            self.tier.renew(&key(1), token, LONG).await.expect("renew");
            self.tier.fill(&leased(&key(1), "v", 99, token)).await.expect("fill");
            self.tier.release(&key(1), token).await.expect("release");
        }
        self.tier.read(&key(1), None).await.expect("read");
        self.tier.fill(&tagged(&key(1), "v", 99, &[tag(1)])).await.expect("fill");
        let _gap = self.tier.apply(&batch(10, 11, subjects.to_vec())).await.expect("apply");
        self.tier.evict(&subjects).await.expect("evict");
        self.tier.collect(Lsn(11)).await.expect("collect");
        self.tier.position().await.expect("a position");
        let stated = self.tier.leadership().await.expect("a leadership").stated;
        self.tier.lead(&lead_request(stated, &[])).await.expect("led");
    }

    /// Asserts that the tier works after an epoch reset.
    async fn works_after_reset(&self, what: &str) {
        self.begin().await;
        assert_eq!(self.applied().await, Some(Lsn(10)), "{what}");
        assert_eq!(self.fill(1, "v1", 10).await, Verdict::Accept, "{what}");
        let event = batch(10, 11, vec![Subject::Key(key(1))]);
        self.tier.apply(&event).await.expect(what).expect(what);
        assert_eq!(self.fill(1, "v1", 10).await, refused(Refusal::Tombstone), "{what}");
        self.lead(1).await;
    }

    async fn lead(&self, n: u8) {
        let outcome = self.tier.read(&key(n), Some(LONG)).await.expect("read").outcome;
        let Outcome::Lead(token) = outcome else { panic!("{outcome:?} instead of a lease") };
        self.tier.release(&key(n), token).await.expect("release");
    }
}

#[tokio::test]
async fn every_type_under_every_key() {
    let lab = Lab::new().await;
    for name in NAMES {
        for kind in TYPES {
            let what = format!("{name} {kind:?}");
            lab.begin().await;
            lab.overwrite(name, kind);
            lab.call_everything().await;
            lab.overwrite(name, kind);
            lab.works_after_reset(&what).await;
        }
    }
    assert!(lab.metrics.malformed.get() >= 50, "{}", lab.metrics.malformed.get());
}

#[tokio::test]
async fn malformed_entry_removed() {
    let lab = Lab::new().await;
    let name = "{tg:0}:k:v1:catalog:price:1";
    let epoch = EPOCH.to_string();
    let sizes = |head: &str| format!("tg3 {epoch} 10 0 p 1 1 1000 10 0 {head}");
    for raw in [
        String::new(),
        "tg3".into(),
        "tg3 whatever\n".into(),
        format!("tg3 {epoch} 10 0 p 1 1 1000 10 x 0 1\nv"),
        format!("tg3 {epoch} 10 0 p 1 1 1000 10 1ffffffffffffffff 0 1\nv"),
        sizes("0 5\nv"),
        sizes("0 1\nvv"),
        sizes("99999999999999999999999 1\nv"),
        sizes("0 18446744073709551615\nv"),
        sizes("0 1 tag\u{1}\nv"),
        sizes("0 1 täg\nv"),
        sizes("0 1 \nv"),
        sizes("0 1"),
        format!("tg3 {epoch} 99999999999999999999 0 p 1 1 1000 10 0 0 1\nv"),
        format!("tg3 {epoch} 10 99999999999999999999 p 1 1 1000 10 0 0 1\nv"),
        format!("tg3 {epoch} 10 0 a 1 1 1000 10 0 0 1\nv"),
        format!("tg3 {epoch} 10 0 x 1 1 1000 10 0 0 1\nv"),
        format!("tg3 {epoch} 10 0 p 99999999999999999999 1 1000 10 0 0 1\nv"),
        format!("tg3 {epoch} -5 0 p 1 1 1000 10 0 0 1\nv"),
    ] {
        let before = lab.metrics.malformed.get();
        lab.cli(&["set", name, &raw, "px", "100000"]);
        let outcome = lab.tier.read(&key(1), None).await.expect("read").outcome;
        assert!(matches!(outcome, Outcome::Miss), "{raw:?}: {outcome:?}");
        assert_eq!(lab.cli(&["exists", name]), "0", "{raw:?} is still there");
        assert!(lab.metrics.malformed.get() > before, "{raw:?} was not counted");
        lab.cli(&["set", name, &raw, "px", "100000"]);
        assert_eq!(lab.fill(1, "v1", 10).await, Verdict::Accept, "{raw:?} blocks the fill");
        assert!(lab.tier.read(&key(1), None).await.is_ok());
    }
}

/// Stores a claim that is live for four seconds.
pub(super) fn store_claim(lab: &Lab, claim: &str) {
    let state = "{tg:0}:state";
    lab.cli(&["hset", state, "claim", claim]);
    let renewed = "redis.call('HSET', KEYS[1], 'claimed', \
                   string.format('%.0f', redis.call('TIME')[1] * 1000 + 4000))";
    lab.cli(&["eval", renewed, "1", state]);
}

#[tokio::test]
async fn malformed_leadership_covers_nothing() {
    let lab = Lab::new().await;
    let state = "{tg:0}:state";
    for (claim, coverage) in [
        ("", ""),
        ("x", "x"),
        ("1.2.3.4 x", "7 "),
        ("1.2.3.4.5.6 x", "7 1,2,x"),
        ("-1.2.3.4.5 x", "18446744073709551616 1"),
        ("1.2.3.4.5", "0064 64"),
        ("1.2.3.4.5", "AB 64"),
    ] {
        lab.begin().await;
        store_claim(&lab, claim);
        lab.cli(&["hset", state, "coverage", coverage]);
        let found = lab.tier.leadership().await.expect("a leadership");
        assert_eq!(found.claim, None, "{claim:?}");
        assert_eq!(found.coverage, Coverage::default(), "{coverage:?}");
        let led = lab.tier.lead(&lead_request(found.stated, &[100])).await.expect("led");
        assert_eq!(led, Led::Granted, "{coverage:?}");
        let found = lab.tier.leadership().await.expect("a leadership");
        assert_eq!(found.coverage, Coverage::of([100]));
    }
}

#[tokio::test]
async fn truncated_entry_is_a_miss() {
    let lab = Lab::new().await;
    let name = "{tg:0}:k:v1:catalog:price:1";
    assert_eq!(lab.fill(1, "a value", 10).await, Verdict::Accept);
    let whole: usize = lab.cli(&["strlen", name]).parse().expect("a length");
    for length in 0..whole {
        let script = "local whole = redis.call('GET', KEYS[1]) \
                      redis.call('SET', KEYS[1], string.sub(whole, 1, ARGV[1]), 'KEEPTTL')";
        lab.fill(1, "a value", 10).await;
        lab.cli(&["eval", script, "1", name, &length.to_string()]);
        let outcome = lab.tier.read(&key(1), None).await.expect("read").outcome;
        assert!(matches!(outcome, Outcome::Miss), "{length} of {whole} bytes: {outcome:?}");
    }
}

#[tokio::test]
async fn entry_without_expiry_is_a_miss() {
    let lab = Lab::new().await;
    lab.fill(1, "v1", 10).await;
    lab.cli(&["persist", "{tg:0}:k:v1:catalog:price:1"]);
    let outcome = lab.tier.read(&key(1), None).await.expect("read").outcome;
    assert!(matches!(outcome, Outcome::Miss));
}

#[tokio::test]
async fn malformed_state_proves_nothing() {
    let lab = Lab::new().await;
    let state = "{tg:0}:state";
    for field in ["epoch", "applied", "watermark", "floor", "evictions", "evicted"] {
        for value in ["", "x", "-1", "1e9", "99999999999999999999", "1.1.1", "١"] {
            lab.begin().await;
            lab.fill(1, "v1", 10).await;
            lab.cli(&["hset", state, field, value]);
            assert_eq!(lab.applied().await, None, "{field} = {value:?}");
            assert_eq!(lab.fill(2, "v1", 10).await, refused(Refusal::Unproven));
            lab.call_everything().await;
            lab.works_after_reset(&format!("{field} = {value:?}")).await;
        }
        lab.begin().await;
        lab.cli(&["hdel", state, field]);
        assert_eq!(lab.applied().await, None, "without {field}");
        lab.works_after_reset(field).await;
    }
    for value in ["x", "11", "11 k*:v1:a:*", "11 x*:ab*\n", "-1 k*:ab*\n", "11 k*:ab*\n\n"] {
        lab.begin().await;
        lab.cli(&["hset", state, "wildcards", value]);
        assert_eq!(lab.applied().await, None, "wildcards = {value:?}");
        lab.call_everything().await;
        lab.works_after_reset(&format!("wildcards = {value:?}")).await;
    }
    lab.cli(&["hset", state, "sent", "x"]);
    lab.call_everything().await;
    lab.works_after_reset("sent").await;
}

#[tokio::test]
async fn lost_tombstones_prove_nothing() {
    let lab = Lab::new().await;
    lab.tier
        .apply(&batch(10, 11, vec![Subject::Key(key(1))]))
        .await
        .expect("apply")
        .expect("no gap");
    lab.cli(&["del", "{tg:0}:tombstones"]);
    assert_eq!(lab.fill(1, "v1", 10).await, refused(Refusal::Unproven), "not accepted");
    assert_eq!(lab.applied().await, None);
    lab.works_after_reset("tombstones").await;
}

#[tokio::test]
async fn malformed_message_is_a_loss() {
    let lab = Lab::new().await;
    let mut stream = lab.tier.subscribe();
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost));
    let name = "{tg:0}:stream";
    for (at, words) in [
        (10, vec!["xadd", name, "*", "n", "x", "batch", "{}"]),
        (11, vec!["xadd", name, "*", "n", "1", "evict", "[]"]),
        (12, vec!["xadd", name, "*", "hello", "world"]),
        (13, vec!["set", name, "rubbish"]),
    ] {
        lab.cli(&words);
        assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "{words:?}");
        let beat = batch(at, at + 1, vec![]);
        lab.tier.apply(&beat).await.expect("apply").expect("no gap");
        assert_eq!(next_batch(&mut stream).await, beat, "after {words:?}");
    }
}

#[tokio::test]
async fn malformed_entry_misses_alone() {
    let lab = Lab::new().await;
    let epoch = EPOCH.to_string();
    assert_eq!(lab.fill(0, "v0", 10).await, Verdict::Accept);
    assert_eq!(lab.fill(2, "v2", 10).await, Verdict::Accept);
    // The scripts accept it, this side does not: its tag is malformed.
    let raw = format!("tg2 {epoch} 10 0 p 1 1 1000 10 0 1 täg\nv");
    let foreign = "{tg:0}:k:v1:catalog:price:1";
    for raw in [raw.as_str(), "rubbish"] {
        lab.cli(&["set", foreign, raw, "px", "100000"]);
        let keys = [key(0), key(1), key(2), key(3)];
        let reads = lab.tier.read_many(&keys, None).await.expect("read");
        let found: Vec<bool> =
            reads.iter().map(|read| matches!(read.outcome, Outcome::Found { .. })).collect();
        assert_eq!(found, [true, false, true, false], "{raw}");
        assert_eq!(lab.cli(&["exists", foreign]), "0", "{raw} is still there");
    }
}
