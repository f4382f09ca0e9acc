use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coherence::{Cause, Coverage, CoverageDigest, Refusal};
use contract::{Class, Tag};

use coherence::fence::Gap;
use coherence::{Batch, CausalToken, Epoch, Event, Followed, Lsn, Mono, Subject, Verdict};
use contract::Key;

use super::entry::{EntryPolicy, LocalEntry};
use super::fast_path::FastPath;
use super::pools::Assured;
use super::tier::{Local, LocalOptions};
use crate::entry::{Content, Entry, Value};

pub(super) const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

pub(super) fn key(id: u32) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).unwrap()
}

fn entry(id: u32, tau: u64, tags: &[&str]) -> LocalEntry {
    entry_with(id, tau, tags, false)
}

pub(super) fn entry_with(id: u32, tau: u64, tags: &[&str], soft_allowed: bool) -> LocalEntry {
    let value = Value { head: Bytes::new(), body: Bytes::from_static(b"12345678") };
    let entry = Entry {
        tau: Lsn(tau),
        content: Content::Present(value),
        tags: tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect(),
        loaded_wall_ms: 0,
        changes_at: None,
        cost_us: 0,
        ttl: Duration::from_secs(60),
        seen: Lsn(tau),
        definition: 0,
    };
    let (from, fast_until) = (Mono(0), Mono(u64::MAX));
    LocalEntry::new(&key(id), &entry, from, fast_until, false, policy(soft_allowed))
}

fn policy(soft_allowed: bool) -> EntryPolicy {
    EntryPolicy { soft_allowed, age_bound: false, pool: Class::Standard }
}

pub(super) fn batch(prev: u64, upto: u64, subjects: Vec<Subject>) -> Batch {
    let event = Event {
        lsn: Lsn(upto),
        cause: Cause::Commit,
        committed_us: 0,
        subjects,
        renewals: Vec::new(),
    };
    let events = vec![event];
    Batch {
        epoch: EPOCH,
        prev: Lsn(prev),
        upto: Lsn(upto),
        watermark: Lsn(upto),
        coverage: CoverageDigest::NONE,
        events,
    }
}

/// Creates a tier at position 10 that is proven as of time 100.
fn local(bytes: u64) -> Local {
    local_of(bytes, Assured::default())
}

/// Creates an empty tier that settles at most `at_once` entries when it applies an event.
pub(super) fn local_with(bytes: u64, assured: Assured, at_once: usize) -> Local {
    let chance = Arc::new(crate::chance::ThreadChance);
    let contracts = Coverage::default();
    Local::new(LocalOptions { bytes, assured, samples: 16, at_once, chance, contracts })
}

pub(super) fn local_of(bytes: u64, assured: Assured) -> Local {
    let local = local_with(bytes, assured, usize::MAX);
    local.apply(&batch(0, 10, Vec::new()), Mono(0), true);
    local.sample(EPOCH.log(), Mono(100), Lsn(10));
    local
}

#[test]
fn event_removes_older_entries_only() {
    let local = local(64 << 20);
    assert_eq!(local.fill(&key(1), entry(1, 10, &["a", "b"]), EPOCH, &[]), Verdict::Accept);
    assert_eq!(local.fill(&key(2), entry(2, 10, &["b"]), EPOCH, &[]), Verdict::Accept);
    assert_eq!(local.fill(&key(3), entry(3, 12, &["b"]), EPOCH, &[]), Verdict::Accept);
    let b = Subject::Tag(Tag::parse("b").unwrap());
    assert_eq!(local.apply(&batch(10, 11, vec![b]), Mono(1), true), Followed::Applied);
    assert!(local.get(&key(1)).is_none() && local.get(&key(2)).is_none());
    assert!(local.get(&key(3)).is_some(), "it was read after the commit");
    let late = local.fill(&key(1), entry(1, 10, &["a", "b"]), EPOCH, &[]);
    assert_eq!(late, Verdict::Refuse(Refusal::Tombstone));
}

#[test]
fn reloaded_entry_stays_the_only_one_of_its_tag() {
    let local = local(64 << 20);
    for tau in [10, 12] {
        assert_eq!(local.fill(&key(1), entry(1, tau, &["own"]), EPOCH, &[]), Verdict::Accept);
        assert!(local.get(&key(1)).unwrap().0.cells().is_empty());
    }
    let bytes = local.status(Mono(0)).bytes;
    local.fill(&key(1), entry(1, 12, &["own"]), EPOCH, &[]);
    assert_eq!(local.status(Mono(0)).bytes, bytes);
    let own = Subject::Tag(Tag::parse("own").unwrap());
    local.apply(&batch(10, 13, vec![own]), Mono(1), true);
    assert!(local.get(&key(1)).is_none());
    assert_eq!(local.writer.lock().index.tag_count(), 0);
}

#[test]
fn proof_needs_a_reached_sample() {
    let local = local(64 << 20);
    local.fill(&key(1), entry(1, 20, &[]), EPOCH, &[]);
    local.sample(EPOCH.log(), Mono(200), Lsn(15));
    assert_eq!(local.get(&key(1)).unwrap().1, Some(Mono(100)));
    local.apply(&batch(10, 15, Vec::new()), Mono(1), true);
    assert_eq!(local.get(&key(1)).unwrap().1, Some(Mono(200)));
    local.sample(EPOCH.log(), Mono(300), Lsn(5));
    assert_eq!(local.get(&key(1)).unwrap().1, Some(Mono(300)), "a truncated log");
    let promoted = Epoch { timeline: EPOCH.timeline + 1, ..EPOCH };
    local.sample(promoted.log(), Mono(400), Lsn(5));
    assert_eq!(local.get(&key(1)).unwrap().1, None, "a promoted standby writes another log");
}

#[test]
fn gap_resets_only_in_order() {
    let local = local(64 << 20);
    local.fill(&key(1), entry(1, 10, &[]), EPOCH, &[]);
    let ahead = batch(11, 12, Vec::new());
    assert!(matches!(local.apply(&ahead, Mono(1), false), Followed::Gap(Gap::Missing { .. })));
    assert!(local.get(&key(1)).is_some());
    assert!(matches!(local.apply(&ahead, Mono(1), true), Followed::Reset(_)));
    assert!(local.get(&key(1)).is_none(), "a gap in the stream drops everything");
    assert_eq!(local.applied(), Lsn(12));
}

#[test]
fn evicted_entries_leave_the_index() {
    let limit = 8 << 20;
    let local = local(limit);
    for id in 0..60_000 {
        local.fill(&key(id), entry(id, 10, &["all", &format!("own-{id}")]), EPOCH, &[]);
    }
    let status = local.status(Mono(0));
    assert!(status.bytes <= limit, "{} bytes", status.bytes);
    assert!(status.evictions > 0);
    let indexed = local.writer.lock().index.keys("all").len();
    assert_eq!(indexed, status.entries);
}

#[test]
fn replaced_entry_leaves_the_index() {
    let local = local(64 << 20);
    for tau in 10..20 {
        local.fill(&key(1), entry(1, tau, &["a"]), EPOCH, &[]);
    }
    assert_eq!(local.writer.lock().index.keys("a"), [key(1)]);
    assert_eq!(
        local.fill(&key(1), entry(1, 11, &["a"]), EPOCH, &[]),
        Verdict::Refuse(Refusal::Older)
    );
}

fn soft_allowed(id: u32, tau: u64, tags: &[&str]) -> LocalEntry {
    entry_with(id, tau, tags, true)
}

fn tagged(name: &str) -> Subject {
    Subject::Tag(Tag::parse(name).unwrap())
}

#[test]
fn soft_stale_entry_keeps_its_bound() {
    let local = local(64 << 20);
    assert_eq!(local.fill(&key(1), soft_allowed(1, 10, &["a"]), EPOCH, &[]), Verdict::Accept);
    local.sample(EPOCH.log(), Mono(150), Lsn(11));
    local.apply(&batch(10, 11, Vec::new()), Mono(1), true);
    local.apply(&batch(11, 12, vec![tagged("a")]), Mono(1), true);
    local.sample(EPOCH.log(), Mono(200), Lsn(12));
    let (entry, proven) = local.get(&key(1)).expect("it stays");
    assert_eq!(proven, Some(Mono(200)), "the tier's own proof advances");
    assert_eq!(entry.as_of(proven), Some(Mono(150)), "the entry's does not");
    assert!(entry.is_soft() && entry.fast_path() == FastPath::Closed, "the fast path skips it");
    local.apply(&batch(12, 13, vec![tagged("a")]), Mono(1), true);
    let (entry, _) = local.get(&key(1)).expect("it stays");
    assert_eq!(entry.as_of(None), Some(Mono(150)));
    let status = local.status(Mono(0));
    assert_eq!((status.soft_stale, status.merged), (1, 1));
    assert_eq!(local.fill(&key(1), soft_allowed(1, 13, &["a"]), EPOCH, &[]), Verdict::Accept);
    assert!(!local.get(&key(1)).unwrap().0.is_soft(), "a fill replaces it");
    assert_eq!(local.writer.lock().index.keys("a"), [key(1)]);
}

#[test]
fn purge_removes_soft_stale_entries() {
    let local = local(64 << 20);
    for id in [1, 2] {
        local.fill(&key(id), soft_allowed(id, 10, &["a"]), EPOCH, &[]);
    }
    local.apply(&batch(10, 11, vec![Subject::Key(key(1))]), Mono(1), true);
    assert!(local.get(&key(1)).unwrap().0.is_soft());
    let mut purge = batch(11, 12, vec![tagged("a")]);
    purge.events[0].cause = Cause::Purge;
    local.apply(&purge, Mono(1), true);
    assert!(local.get(&key(1)).is_none() && local.get(&key(2)).is_none());
    assert_eq!(local.writer.lock().index.tag_count(), 0);
    local.fill(&key(1), soft_allowed(1, 12, &["a"]), EPOCH, &[]);
    local.apply(&batch(12, 13, vec![tagged("a")]), Mono(1), true);
    local.apply(&batch(13, 14, vec![Subject::Everything]), Mono(1), true);
    assert!(local.get(&key(1)).is_none(), "TRUNCATE");
    local.fill(&key(1), soft_allowed(1, 14, &["a"]), EPOCH, &[]);
    local.apply(&batch(14, 15, vec![tagged("a")]), Mono(1), true);
    local.evict(&[Subject::Key(key(1))]);
    assert!(local.get(&key(1)).is_none(), "an eviction");
}

#[test]
fn soft_stale_entry_checks_the_token() {
    let local = local(64 << 20);
    local.fill(&key(1), soft_allowed(1, 10, &[]), EPOCH, &[]);
    local.apply(&batch(10, 12, vec![Subject::Key(key(1))]), Mono(1), true);
    let good = |position| {
        local.get_with_token(&key(1), CausalToken::new(Some(EPOCH.log()), Lsn(position))).is_some()
    };
    assert!(good(11));
    assert!(!good(12), "the tier has reached it, the entry has not");
}

#[test]
fn overtaken_load_stored_soft_stale() {
    let own = |tau, loaded| {
        let entry = soft_allowed(1, tau, &["a"]).to_entry();
        LocalEntry::new(&key(1), &entry, Mono(loaded), Mono(u64::MAX), true, policy(true))
    };
    let local = local(64 << 20);
    local.apply(&batch(10, 12, vec![tagged("a")]), Mono(1), true);
    let late = own(11, 500);
    let verdict = local.fill(&key(1), late.clone(), EPOCH, &[]);
    assert_eq!(verdict, Verdict::Refuse(Refusal::Tombstone));
    assert!(local.fill_soft_stale(&key(1), &late, EPOCH, &[]));
    assert_eq!(local.get(&key(1)).unwrap().0.as_of(None), Some(Mono(500)));
    assert!(
        !local.fill_soft_stale(&key(1), &own(11, 400), EPOCH, &[]),
        "the stored entry is younger"
    );
    assert!(local.fill_soft_stale(&key(1), &own(11, 600), EPOCH, &[]));
    assert_eq!(local.writer.lock().index.keys("a"), [key(1)]);
    let mut purge = batch(12, 13, vec![tagged("a")]);
    purge.events[0].cause = Cause::Purge;
    local.apply(&purge, Mono(1), true);
    assert!(!local.fill_soft_stale(&key(1), &own(12, 700), EPOCH, &[]), "a purge is not undone");
    assert!(
        !local.fill_soft_stale(&key(2), &soft_allowed(2, 11, &["a"]), EPOCH, &[]),
        "only loads of this process are proofs"
    );
}

#[test]
fn renewal_replaces_soft_stale_entry() {
    let local = local(64 << 20);
    local.fill(&key(1), soft_allowed(1, 10, &["a"]), EPOCH, &[]);
    local.apply(&batch(10, 11, vec![tagged("a")]), Mono(1), true);
    assert!(local.get(&key(1)).unwrap().0.is_soft());
    let mut renewing = batch(11, 12, vec![Subject::Key(key(1))]);
    renewing.events[0].renewals = vec![coherence::Renewal {
        key: key(1),
        value: Some("{}".into()),
        tags: vec![Tag::parse("a").unwrap()],
        ttl: Duration::from_secs(60),
        definition: 0,
    }];
    local.apply(&renewing, Mono(2), true);
    let (entry, _) = local.get(&key(1)).expect("the new value");
    assert!(!entry.is_soft() && entry.tau == Lsn(12));
    assert_eq!(local.status(Mono(2)).renewals, 1);
    local.apply(&batch(12, 13, vec![tagged("a")]), Mono(3), true);
    assert!(local.get(&key(1)).unwrap().0.is_soft(), "a later commit makes it soft-stale again");
    assert_eq!(local.writer.lock().index.keys("a"), [key(1)]);
}
