use bytes::Bytes;
use coherence::{Cause, Refusal};
use contract::Tag;

use super::*;
use crate::entry::{Content, Value};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

fn key(id: u32) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).unwrap()
}

fn held(tau: u64, tags: &[&str]) -> Arc<Held> {
    let value = Value { head: Bytes::new(), body: Bytes::from_static(b"12345678") };
    let entry = Entry {
        tau: Lsn(tau),
        content: Content::Present(value),
        tags: tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect(),
        loaded_wall_ms: 0,
        cost: Duration::ZERO,
        ttl: Duration::from_secs(60),
    };
    Held::new(entry, Mono(0), Mono(u64::MAX), false)
}

fn batch(prev: u64, upto: u64, subjects: Vec<Subject>) -> Batch {
    let event = Event {
        lsn: Lsn(upto),
        cause: Cause::Commit,
        committed_us: 0,
        subjects,
        renewals: Vec::new(),
    };
    let events = vec![event];
    Batch { epoch: EPOCH, prev: Lsn(prev), upto: Lsn(upto), watermark: Lsn(upto), events }
}

/// A tier at position 10, proven as of time 100.
fn local(bytes: u64) -> Local {
    let local = Local::new(bytes, 16);
    local.apply(&batch(0, 10, Vec::new()), Mono(0), true);
    local.sample(EPOCH.log(), Mono(100), Lsn(10));
    local
}

#[test]
fn an_event_removes_what_it_makes_old_and_nothing_else() {
    let local = local(64 << 20);
    assert_eq!(local.fill(&key(1), held(10, &["a", "b"]), EPOCH), Verdict::Accept);
    assert_eq!(local.fill(&key(2), held(10, &["b"]), EPOCH), Verdict::Accept);
    assert_eq!(local.fill(&key(3), held(12, &["b"]), EPOCH), Verdict::Accept);
    let b = Subject::Tag(Tag::parse("b").unwrap());
    assert_eq!(local.apply(&batch(10, 11, vec![b]), Mono(1), true), Applied::Whole);
    assert!(local.get(&key(1)).is_none() && local.get(&key(2)).is_none());
    assert!(local.get(&key(3)).is_some(), "it was read after the commit");
    let late = local.fill(&key(1), held(10, &["a", "b"]), EPOCH);
    assert_eq!(late, Verdict::Refuse(Refusal::Tombstone));
}

#[test]
fn the_proof_comes_from_samples_that_were_reached() {
    let local = local(64 << 20);
    local.fill(&key(1), held(20, &[]), EPOCH);
    local.sample(EPOCH.log(), Mono(200), Lsn(15));
    assert_eq!(local.get(&key(1)).unwrap().1, Some(Mono(100)));
    local.apply(&batch(10, 15, Vec::new()), Mono(1), true);
    assert_eq!(local.get(&key(1)).unwrap().1, Some(Mono(200)));
    local.sample(EPOCH.log(), Mono(300), Lsn(5));
    assert_eq!(local.get(&key(1)).unwrap().1, Some(Mono(300)), "a log that was cut short");
    let promoted = Epoch { timeline: EPOCH.timeline + 1, ..EPOCH };
    local.sample(promoted.log(), Mono(400), Lsn(5));
    assert_eq!(
        local.get(&key(1)).unwrap().1,
        None,
        "a promoted standby's log says nothing of ours"
    );
}

#[test]
fn a_shortcut_that_does_not_fit_is_left_to_the_stream() {
    let local = local(64 << 20);
    local.fill(&key(1), held(10, &[]), EPOCH);
    let ahead = batch(11, 12, Vec::new());
    assert!(matches!(local.apply(&ahead, Mono(1), false), Applied::Missed(Gap::Missing { .. })));
    assert!(local.get(&key(1)).is_some());
    assert!(matches!(local.apply(&ahead, Mono(1), true), Applied::Restarted(_)));
    assert!(local.get(&key(1)).is_none(), "the stream has a gap: everything goes");
    assert_eq!(local.applied(), Lsn(12));
}

#[test]
fn the_books_keep_to_the_limit_and_evicted_entries_leave_the_index() {
    let limit = 8 << 20;
    let local = local(limit);
    for id in 0..60_000 {
        local.fill(&key(id), held(10, &["all", &format!("own-{id}")]), EPOCH);
    }
    let standing = local.standing(Mono(0));
    assert!(standing.bytes <= limit, "{} bytes", standing.bytes);
    assert!(standing.evictions > 0);
    let indexed = local.writer.lock().index.keys(&Tag::parse("all").unwrap()).len();
    assert_eq!(indexed, standing.entries);
}

#[test]
fn replacing_an_entry_leaves_one_in_the_index() {
    let local = local(64 << 20);
    for tau in 10..20 {
        local.fill(&key(1), held(tau, &["a"]), EPOCH);
    }
    assert_eq!(local.writer.lock().index.keys(&Tag::parse("a").unwrap()), [key(1)]);
    assert_eq!(local.fill(&key(1), held(11, &["a"]), EPOCH), Verdict::Refuse(Refusal::Older));
}
