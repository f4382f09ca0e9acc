use bytes::Bytes;
use coherence::{Cause, Refusal};
use contract::{Class, Tag};

use super::*;
use crate::entry::{Content, Value};

pub(super) const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

pub(super) fn key(id: u32) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).unwrap()
}

fn held(tau: u64, tags: &[&str]) -> Arc<Held> {
    kept(tau, tags, false)
}

fn kept(tau: u64, tags: &[&str], lenient: bool) -> Arc<Held> {
    let value = Value { head: Bytes::new(), body: Bytes::from_static(b"12345678") };
    let entry = Entry {
        tau: Lsn(tau),
        content: Content::Present(value),
        tags: tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect(),
        loaded_wall_ms: 0,
        cost: Duration::ZERO,
        ttl: Duration::from_secs(60),
        seen: Lsn(tau),
    };
    Held::new(entry, Mono(0), Mono(u64::MAX), false, terms(lenient, Class::Standard))
}

fn terms(lenient: bool, pool: Class) -> Terms {
    Terms { lenient, aged: false, pool }
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
    Batch { epoch: EPOCH, prev: Lsn(prev), upto: Lsn(upto), watermark: Lsn(upto), events }
}

/// A tier at position 10, proven as of time 100.
fn local(bytes: u64) -> Local {
    local_of(bytes, Assured::default())
}

pub(super) fn local_of(bytes: u64, assured: Assured) -> Local {
    let local = Local::new(bytes, assured, 16, Arc::new(crate::chance::ThreadChance));
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

fn lenient(tau: u64, tags: &[&str]) -> Arc<Held> {
    kept(tau, tags, true)
}

fn tagged(name: &str) -> Subject {
    Subject::Tag(Tag::parse(name).unwrap())
}

#[test]
fn a_commit_marks_an_entry_whose_contract_has_a_budget_and_its_proof_stops_there() {
    let local = local(64 << 20);
    assert_eq!(local.fill(&key(1), lenient(10, &["a"]), EPOCH), Verdict::Accept);
    local.sample(EPOCH.log(), Mono(150), Lsn(11));
    local.apply(&batch(10, 11, Vec::new()), Mono(1), true);
    local.apply(&batch(11, 12, vec![tagged("a")]), Mono(1), true);
    local.sample(EPOCH.log(), Mono(200), Lsn(12));
    let (held, proven) = local.get(&key(1)).expect("it stays");
    assert_eq!(proven, Some(Mono(200)), "the tier goes on");
    assert_eq!(held.as_of(proven), Some(Mono(150)), "what is marked does not");
    assert!(held.is_soft() && held.look_from() == Mono(0), "the short way passes it by");
    local.apply(&batch(12, 13, vec![tagged("a")]), Mono(1), true);
    let (held, _) = local.get(&key(1)).expect("it stays");
    assert_eq!(held.as_of(None), Some(Mono(150)));
    let standing = local.standing(Mono(0));
    assert_eq!((standing.marked, standing.merged), (1, 1));
    assert_eq!(local.fill(&key(1), lenient(13, &["a"]), EPOCH), Verdict::Accept);
    assert!(!local.get(&key(1)).unwrap().0.is_soft(), "a fill takes its place");
    assert_eq!(local.writer.lock().index.keys(&Tag::parse("a").unwrap()), [key(1)]);
}

#[test]
fn what_a_person_asked_to_remove_goes_marked_or_not() {
    let local = local(64 << 20);
    for id in [1, 2] {
        local.fill(&key(id), lenient(10, &["a"]), EPOCH);
    }
    local.apply(&batch(10, 11, vec![Subject::Key(key(1))]), Mono(1), true);
    assert!(local.get(&key(1)).unwrap().0.is_soft());
    let mut purge = batch(11, 12, vec![tagged("a")]);
    purge.events[0].cause = Cause::Purge;
    local.apply(&purge, Mono(1), true);
    assert!(local.get(&key(1)).is_none() && local.get(&key(2)).is_none());
    assert_eq!(local.writer.lock().index.tags(), 0);
    local.fill(&key(1), lenient(12, &["a"]), EPOCH);
    local.apply(&batch(12, 13, vec![tagged("a")]), Mono(1), true);
    local.apply(&batch(13, 14, vec![Subject::Everything]), Mono(1), true);
    assert!(local.get(&key(1)).is_none(), "TRUNCATE");
    local.fill(&key(1), lenient(14, &["a"]), EPOCH);
    local.apply(&batch(14, 15, vec![tagged("a")]), Mono(1), true);
    local.evict(&[Subject::Key(key(1))]);
    assert!(local.get(&key(1)).is_none(), "an eviction");
}

#[test]
fn a_marked_entry_is_good_for_tokens_before_what_it_misses_only() {
    let local = local(64 << 20);
    local.fill(&key(1), lenient(10, &[]), EPOCH);
    local.apply(&batch(10, 12, vec![Subject::Key(key(1))]), Mono(1), true);
    let good =
        |position| local.get_after(&key(1), After::new(Some(EPOCH.log()), Lsn(position))).is_some();
    assert!(good(11));
    assert!(!good(12), "the tier is there, the entry is not");
}

#[test]
fn a_load_that_a_commit_overtook_is_kept_as_far_as_it_reaches() {
    let own = |tau, loaded| {
        let held = lenient(tau, &["a"]);
        let terms = terms(true, Class::Standard);
        Held::new(held.entry.clone(), Mono(loaded), Mono(u64::MAX), true, terms)
    };
    let local = local(64 << 20);
    local.apply(&batch(10, 12, vec![tagged("a")]), Mono(1), true);
    let late = own(11, 500);
    assert_eq!(local.fill(&key(1), Arc::clone(&late), EPOCH), Verdict::Refuse(Refusal::Tombstone));
    assert!(local.fill_late(&key(1), &late, EPOCH));
    assert_eq!(local.get(&key(1)).unwrap().0.as_of(None), Some(Mono(500)));
    assert!(!local.fill_late(&key(1), &own(11, 400), EPOCH), "what is there is younger");
    assert!(local.fill_late(&key(1), &own(11, 600), EPOCH));
    assert_eq!(local.writer.lock().index.keys(&Tag::parse("a").unwrap()), [key(1)]);
    let mut purge = batch(12, 13, vec![tagged("a")]);
    purge.events[0].cause = Cause::Purge;
    local.apply(&purge, Mono(1), true);
    assert!(!local.fill_late(&key(1), &own(12, 700), EPOCH), "a purge is not undone");
    assert!(!local.fill_late(&key(2), &lenient(11, &["a"]), EPOCH), "only own loads prove");
}

#[test]
fn what_a_commit_tells_anew_takes_the_place_of_a_marked_entry() {
    let local = local(64 << 20);
    local.fill(&key(1), lenient(10, &["a"]), EPOCH);
    local.apply(&batch(10, 11, vec![tagged("a")]), Mono(1), true);
    assert!(local.get(&key(1)).unwrap().0.is_soft());
    let mut told = batch(11, 12, vec![Subject::Key(key(1))]);
    told.events[0].renewals = vec![coherence::Renewal {
        key: key(1),
        value: Some("{}".into()),
        tags: vec![Tag::parse("a").unwrap()],
        ttl: Duration::from_secs(60),
    }];
    local.apply(&told, Mono(2), true);
    let (held, _) = local.get(&key(1)).expect("the new value");
    assert!(!held.is_soft() && held.tau == Lsn(12));
    assert_eq!(local.standing(Mono(2)).renewals, 1);
    local.apply(&batch(12, 13, vec![tagged("a")]), Mono(3), true);
    assert!(local.get(&key(1)).unwrap().0.is_soft(), "which a later commit may mark again");
    assert_eq!(local.writer.lock().index.keys(&Tag::parse("a").unwrap()), [key(1)]);
}
