//! Values that nodes of the version before and of the next one write while an upgrade rolls.

use cache::shared::{Led, NodeMessage, Outcome, SharedTier, TierError};
use coherence::{AppliedSchema, Conflict, Lsn, Verdict};

use super::Lab;
use super::malformed::{lead_request, store_claim};
use crate::rig::*;

const ENTRY: &str = "{tg:0}:k:v1:catalog:price:1";

#[tokio::test]
async fn entry_of_other_version_is_a_miss() {
    let lab = Lab::new().await;
    for raw in [
        format!("tg2 {EPOCH} 10 0 p 1 1 1000 10 0 1\nv"),
        format!("tg4 {EPOCH} 10 0 p 1 1 1000 10 0 0 1 more\nv"),
        format!("tg12 {EPOCH} anything\n"),
    ] {
        let before = lab.metrics.malformed.get();
        lab.cli(&["set", ENTRY, &raw, "px", "100000"]);
        let outcome = lab.tier.read(&key(1), None).await.expect("read").outcome;
        assert!(matches!(outcome, Outcome::Miss), "{raw}: {outcome:?}");
        assert_eq!(lab.metrics.malformed.get(), before, "it is not malformed: {raw}");
        lab.cli(&["set", ENTRY, &raw, "px", "100000"]);
        assert_eq!(lab.fill(1, "v1", 10).await, Verdict::Accept, "{raw}");
    }
}

#[tokio::test]
async fn message_of_other_version_is_a_loss() {
    let lab = Lab::new().await;
    let mut stream = lab.tier.subscribe();
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost));
    let position = format!(r#""epoch":"{EPOCH}","prev":10,"upto":11,"watermark":10"#);
    let with_events = |event: &str| format!(r#"{{{position},"events":[{event}]}}"#);
    let later = with_events(r#"{"lsn":11,"cause":"commit","us":0,"subjects":[],"ranges":["1-9"]}"#);
    let unknown = with_events(r#"{"lsn":11,"cause":"expiry","us":0,"subjects":[]}"#);
    let mut number = 0;
    let mut at = 10;
    for (field, text) in
        [("batch", later.as_str()), ("batch", unknown.as_str()), ("batch2", "{}"), ("evict", "{}")]
    {
        number += 1;
        lab.cli(&["hset", "{tg:0}:state", "sent", &number.to_string()]);
        lab.cli(&["xadd", "{tg:0}:stream", "*", "n", &number.to_string(), field, text]);
        assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "{field} {text}");
        let beat = batch(at, at + 1, vec![]);
        lab.tier.apply(&beat).await.expect("apply").expect("no gap");
        assert_eq!(next_batch(&mut stream).await, beat, "after {field} {text}");
        (number, at) = (number + 1, at + 1);
    }
    // The version before stated no mappings.
    number += 1;
    let earlier = format!(r#"{{{position}}}"#);
    lab.cli(&["hset", "{tg:0}:state", "sent", &number.to_string()]);
    lab.cli(&["xadd", "{tg:0}:stream", "*", "n", &number.to_string(), "batch", &earlier]);
    assert_eq!(next_batch(&mut stream).await.coverage.0, 0, "it covers nothing");
}

#[tokio::test]
async fn claim_of_later_version_stands_while_it_lives() {
    let lab = Lab::new().await;
    store_claim(&lab, "v2 of a later form");
    let found = lab.tier.leadership().await.expect("a leadership");
    assert_eq!(found.claim, None, "this version can't read it");
    let led = lab.tier.lead(&lead_request(found.stated, &[])).await.expect("an answer");
    assert_eq!(led, Led::Refused(Conflict::Version, "v2 of a later form".into()));
    lab.cli(&["hset", "{tg:0}:state", "claimed", "1"]);
    let led = lab.tier.lead(&lead_request(found.stated, &[])).await.expect("an answer");
    assert_eq!(led, Led::Granted, "it has expired");
}

#[tokio::test]
async fn schema_record_of_later_version_is_an_error() {
    let lab = Lab::new().await;
    assert_eq!(lab.tier.applied_schema().await.expect("read"), Some((EPOCH, None)));
    for record in [r#"{"position":10,"objects":{},"rules":1}"#, r#"{"version":2}"#, "x"] {
        lab.cli(&["hset", "{tg:0}:state", "schema", &format!("{EPOCH} {record}")]);
        let found = lab.tier.applied_schema().await;
        assert!(matches!(found, Err(TierError::Malformed(_))), "{record}: {found:?}");
    }
    let known = AppliedSchema { position: Lsn(10), ..AppliedSchema::default() };
    assert!(lab.tier.record_schema(EPOCH, &known).await.expect("recorded"));
    assert_eq!(lab.tier.applied_schema().await.expect("read"), Some((EPOCH, Some(known))));
}

#[tokio::test]
async fn state_of_later_version_proves_nothing() {
    let lab = Lab::new().await;
    assert_eq!(lab.fill(1, "v1", 10).await, Verdict::Accept);
    lab.cli(&["hset", "{tg:0}:state", "epoch", "v2:7.1.3.1"]);
    assert_eq!(lab.applied().await, None);
    let outcome = lab.tier.read(&key(1), None).await.expect("read").outcome;
    assert!(matches!(outcome, Outcome::Miss), "{outcome:?}");
    lab.begin().await;
    assert_eq!(lab.applied().await, Some(Lsn(10)));
}
