use std::sync::Arc;

use coherence::{Cause, Epoch, Lsn, Mono, Subject, Verdict};
use contract::Key;

use super::*;
use crate::engine::{ServedAs, TierEntry, Tier};
use crate::entry::{Content, Entry, Value};

mod peers;

const START: Mono = Mono(1_000_000_000_000);
const WALL_US: u64 = 1_700_000_000_000_000;
const COMMIT: Lsn = Lsn(100);
const BUDGET: Duration = Duration::from_secs(1);
const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

fn key() -> Key {
    Key::parse("v1:catalog:price:42").expect("a key")
}

fn target() -> LoadTarget {
    LoadTarget { key: key(), id: "42".into(), contract: "price".into() }
}

fn says(text: &'static str) -> Content {
    Content::Present(Value { head: Default::default(), body: text.into() })
}

fn held(tier: Tier, tau: Lsn, text: &'static str) -> TierEntry {
    let entry = Entry {
        tau,
        content: says(text),
        tags: Arc::from([]),
        loaded_wall_ms: 7,
        cost: Duration::ZERO,
        ttl: Duration::from_secs(60),
        seen: Lsn::MAX,
    };
    let bound = Some(Duration::from_millis(200));
    TierEntry { tier, entry: Arc::new(entry), applied: COMMIT, bound, served_as: ServedAs::Fresh }
}

struct Bench {
    auditor: Auditor,
    now: Mono,
    /// When the commit is heard to be visible.
    shown: Option<Mono>,
    /// What other nodes say to every check.
    peers: Vec<PeerOutcome>,
}

impl Bench {
    /// An auditor that has seen a value be stored under the key.
    fn new() -> Self {
        let options = AuditorOptions { reads_per_second: 30.0, ..AuditorOptions::default() };
        let auditor = Auditor::new(options, [("price".into(), BUDGET)], START);
        let mut bench = Self { auditor, now: START, shown: Some(START), peers: Vec::new() };
        bench.fill(Tier::Shared, Lsn(50));
        bench
    }

    fn note(&mut self, event: EngineEvent) {
        let wall_us = WALL_US + self.now.since(START).as_micros() as u64;
        self.auditor.note(note, self.now, wall_us);
    }

    fn fill(&mut self, tier: Tier, tau: Lsn) {
        self.note(EngineEvent::Load(target()));
        self.note(EngineEvent::Fill(FillRecord {
            target: target(),
            tier,
            from: Tier::Origin,
            tau,
            loaded_wall_ms: 7,
            ttl: Duration::from_secs(60),
            verdict: Verdict::Accept,
        }));
    }

    /// A commit that is heard of `late`, having met a copy in this process.
    fn commit(&mut self, late: Duration) {
        let wall_us = WALL_US + self.now.since(START).as_micros() as u64;
        self.now = self.now + late;
        self.note(EngineEvent::Invalidation(InvalidationRecord {
            lsn: COMMIT,
            cause: Cause::Commit,
            committed_us: wall_us,
            subjects: vec![Subject::Key(key())],
            invalidated: vec![key()],
            loading: Vec::new(),
        }));
    }

    /// ServedAs every check for `span` with what `tiers` hold and what the database says.
    fn run(&mut self, span: Duration, see: impl Fn() -> Option<(Vec<TierEntry>, Content)>) {
        let end = self.now + span;
        loop {
            match self.auditor.next(self.now) {
                AuditorStep::Check(check) => {
                    let wall_ms = WALL_US / 1_000;
                    let (at, peers) = (self.now, self.peers.clone());
                    let (seen, shown, epoch) = (see(), self.shown, Some(EPOCH));
                    let look = Observation { at, done: at, wall_ms, seen, shown, epoch, peers };
                    self.auditor.answered(&check, &look);
                }
                AuditorStep::Idle(Some(due)) if due <= end => self.now = due,
                AuditorStep::Idle(_) => break,
            }
        }
        self.now = end;
    }

    /// (checked, stale) per T.
    fn counts(&self) -> [(u64, u64); 3] {
        let report = self.auditor.report();
        [0, 1, 2].map(|index| (report.after[index].checked, report.after[index].stale))
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn equal_or_missing_entry_consistent() {
    for tiers in [vec![held(Tier::Local, COMMIT, "new")], vec![]] {
        let mut bench = Bench::new();
        bench.commit(Duration::ZERO);
        bench.run(LONG, || Some((tiers.clone(), says("new"))));
        assert_eq!(bench.counts(), [(1, 0); 3]);
        let report = bench.auditor.report();
        assert_eq!(report.after[1].local.answering, tiers.len() as u64);
        assert_eq!(report.after[1].consistent, Some(1.0));
        assert!(report.findings.is_empty());
    }
}

#[test]
fn entry_before_commit_stale_at_once() {
    for (applied, rule) in [(COMMIT, "tombstone"), (Lsn(99), "delivery")] {
        let mut bench = Bench::new();
        bench.commit(Duration::ZERO);
        let old = TierEntry { applied, ..held(Tier::Shared, Lsn(50), "old") };
        bench.run(LONG, || Some((vec![old.clone()], says("new"))));
        assert_eq!(bench.counts(), [(1, 1); 3]);
        let report = bench.auditor.report();
        let [finding] = &report.findings[..] else { panic!("{report:?}") };
        assert!(finding.rule.starts_with(rule), "{finding:?}");
        assert_eq!(finding.stale_after_s, [0.1, 1.0, 10.0]);
        assert!(finding.beyond_contract && finding.bound_broken, "{finding:?}");
        assert!(finding.timeline.iter().any(|moment| moment.what.contains("accepted")));
        assert!(finding.timeline.iter().any(|moment| moment.what.contains("removed a copy")));
    }
}

/// A database gives a commit its time before it flushes it; what was loaded in between, here 80 ms later,
/// can't have it.
#[test]
fn invisible_commit_violates_nothing() {
    let ms = Duration::from_millis;
    for (shown, loaded, broken) in [
        (None, ms(80), 0),
        (Some(START + ms(90)), ms(80), 0),
        (Some(START), ms(80), 1),
        // Nobody has heard of it as visible, but the database was seen to show it at the first look.
        (None, ms(800), 1),
    ] {
        let mut bench = Bench::new();
        bench.shown = shown;
        bench.commit(Duration::ZERO);
        for (look, span) in [(ms(100), ms(500)), (ms(1_000), ms(1_500))] {
            let bound = Some(look.saturating_sub(loaded));
            let marked =
                TierEntry { served_as: ServedAs::Stale, bound, ..held(Tier::Local, Lsn(50), "old") };
            bench.run(span, || Some((vec![marked.clone()], says("new"))));
        }
        assert_eq!(bench.counts()[..2], [(1, 1); 2], "C(T) counts from the database's own time");
        assert_eq!(
            bench.auditor.report().broken,
            broken,
            "visible at {shown:?}, loaded {loaded:?}"
        );
    }
}

#[test]
fn violations_dropped_last() {
    let mut bench = Bench::new();
    bench.auditor.options.findings = 2;
    for (n, bound) in [(0, Duration::ZERO), (1, LONG), (2, LONG), (3, LONG)] {
        bench.fill(Tier::Local, Lsn(50));
        bench.shown = Some(bench.now);
        bench.commit(Duration::ZERO);
        let mut entry = (*held(Tier::Local, Lsn(50), "old").entry).clone();
        entry.loaded_wall_ms = n;
        let (entry, answers) = (Arc::new(entry), ServedAs::Stale);
        let old = TierEntry { entry, served_as, bound: Some(bound), ..held(Tier::Local, COMMIT, "") };
        bench.run(LONG, || Some((vec![old.clone()], says("new"))));
    }
    let kept: Vec<_> = bench.auditor.report().findings.iter().map(|f| f.loaded_ms).collect();
    assert_eq!(kept, [Some(0), Some(3)]);
}

#[test]
fn false_tau_found_by_difference() {
    let mut bench = Bench::new();
    bench.commit(Duration::ZERO);
    let planted = held(Tier::Shared, Lsn(200), "old");
    bench.run(LONG, || Some((vec![planted.clone()], says("new"))));
    assert_eq!(bench.counts(), [(1, 1); 3], "confirmed T after it was first seen to differ");
    let report = bench.auditor.report();
    assert_eq!(report.broken, 1);
    let rule = &report.findings[0].rule;
    assert!(rule.starts_with("none") && rule.contains("foreign hand"), "{rule}");
}

#[test]
fn replaced_entry_undecided() {
    let mut bench = Bench::new();
    bench.commit(Duration::ZERO);
    let looks = std::cell::Cell::new(0);
    bench.run(LONG, || {
        // Every look sees another, newer entry, always a moment behind.
        looks.set(looks.get() + 1);
        let mut entry = (*held(Tier::Local, Lsn(100 + looks.get()), "newer").entry).clone();
        entry.loaded_wall_ms = looks.get();
        let holding = TierEntry { entry: Arc::new(entry), ..held(Tier::Local, COMMIT, "") };
        Some((vec![holding], says("newest")))
    });
    assert_eq!(bench.counts(), [(1, 0); 3]);
    let report = bench.auditor.report();
    assert!(report.findings.is_empty());
    assert_eq!(report.undecided, 3, "not passed off as right without a word");
}

#[test]
fn stale_only_if_served() {
    for (served_as, stale) in [(ServedAs::NotServed, 0), (ServedAs::Stale, 1)] {
        let mut bench = Bench::new();
        bench.commit(Duration::ZERO);
        let old = TierEntry { served_as, bound: None, ..held(Tier::Local, Lsn(50), "old") };
        bench.run(LONG, || Some((vec![old.clone()], says("new"))));
        assert_eq!(bench.counts(), [(1, stale); 3]);
        assert_eq!(bench.auditor.report().broken, 0);
    }
}

#[test]
fn late_event_counts_as_stale() {
    let mut bench = Bench::new();
    bench.commit(Duration::from_millis(400));
    bench.run(LONG, || Some((vec![], says("new"))));
    assert_eq!(bench.counts(), [(1, 1), (1, 0), (1, 0)]);
    let report = bench.auditor.report();
    assert!(report.findings[0].rule.starts_with("delivery"), "{report:?}");
    assert_eq!(report.broken, 0, "the bound had grown: nothing was hidden");
}

#[test]
fn failed_or_late_check_not_counted() {
    let mut bench = Bench::new();
    bench.commit(Duration::ZERO);
    bench.run(Duration::from_millis(500), || None);
    bench.now = bench.now + Duration::from_secs(5);
    bench.run(LONG, || Some((vec![], says("new"))));
    assert_eq!(bench.counts(), [(0, 0), (0, 0), (1, 0)]);
    let report = bench.auditor.report();
    assert_eq!((report.unread, report.late), (1, 1));
    assert_eq!(report.after[0].consistent, None);
    assert_eq!(report.after[0].at_least, 0.0, "nothing checked proves nothing");
}

#[test]
fn reads_limited_by_budget() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.fill(Tier::Local, Lsn(50));
        bench.commit(Duration::ZERO);
    }
    let report = bench.auditor.report();
    assert_eq!((report.met, report.paced), (100, 90), "thirty reads, three for each");
    bench.now = bench.now + Duration::from_secs(1);
    bench.commit(Duration::ZERO);
    assert_eq!(bench.auditor.report().paced, 90, "a second later there are new ones");
}

#[test]
fn only_invalidated_copies_checked() {
    let mut bench = Bench::new();
    bench.now = bench.now + Duration::from_secs(61);
    let event = |cause| InvalidationRecord {
        lsn: COMMIT,
        cause,
        committed_us: WALL_US,
        subjects: vec![Subject::Key(key())],
        invalidated: Vec::new(),
        loading: Vec::new(),
    };
    bench.note(EngineEvent::Invalidation(event(Cause::Commit)));
    assert_eq!(bench.auditor.report().met, 0, "what was in the shared tier has expired");
    bench.fill(Tier::Shared, Lsn(50));
    bench.note(EngineEvent::Invalidation(event(Cause::Purge)));
    assert_eq!(bench.auditor.report().met, 0, "a purge changes nothing in the database");
    let other = Key::parse("v1:edge:page:home").expect("a key");
    bench.note(EngineEvent::Invalidation(InvalidationRecord {
        invalidated: vec![other],
        subjects: vec![],
        ..event(Cause::Commit)
    }));
    assert_eq!(bench.auditor.report().met, 0, "pages have no statement to compare them with");
    bench.note(EngineEvent::Invalidation(InvalidationRecord { loading: vec![key()], ..event(Cause::Commit) }));
    assert_eq!(bench.auditor.report().met, 1);
}

#[test]
fn entry_stale_for_a_minute_sticky() {
    for (later, sticky) in [("old", 1), ("new", 0)] {
        let mut bench = Bench::new();
        bench.commit(Duration::ZERO);
        let see = |text| move || Some((vec![held(Tier::Local, Lsn(50), text)], says("new")));
        bench.run(LONG, see("old"));
        assert_eq!(bench.auditor.report().findings[0].sticky, None);
        bench.run(LONG * 2, see(later));
        let report = bench.auditor.report();
        assert_eq!(report.sticky, sticky);
        assert_eq!(report.findings[0].sticky, Some(sticky == 1));
    }
}

#[test]
fn sampled_answer_compared() {
    let answer = |text| EngineEvent::Answer(AnswerRecord { target: target(), content: says(text) });
    let mut bench = Bench::new();
    bench.note(answer("new"));
    bench.run(LONG, || Some((vec![], says("new"))));
    bench.note(answer("old"));
    bench.run(LONG, || Some((vec![held(Tier::Local, COMMIT, "new")], says("new"))));
    let report = bench.auditor.report();
    assert_eq!((report.samples.compared, report.samples.agreed, report.samples.stale), (2, 1, 0));
    assert_eq!(report.undecided, 1, "by now the tier says the same as the database");

    bench.note(answer("old"));
    bench.run(LONG, || Some((vec![held(Tier::Local, COMMIT, "old")], says("new"))));
    let report = bench.auditor.report();
    assert_eq!(report.samples.stale, 1);
    assert_eq!(report.findings[0].noticed_by, "answer");
    assert_eq!(report.findings[0].event, None);
}

#[test]
fn report_since_earlier_one() {
    let mut bench = Bench::new();
    bench.commit(Duration::ZERO);
    bench.run(LONG, || Some((vec![held(Tier::Local, Lsn(50), "old")], says("new"))));
    let before = bench.auditor.report();
    bench.fill(Tier::Local, Lsn(50));
    bench.commit(Duration::ZERO);
    bench.run(LONG, || Some((vec![], says("new"))));
    let since = bench.auditor.report().since(&before);
    assert_eq!((since.after[0].checked, since.after[0].stale, since.found), (1, 0, 0));
    assert!(since.findings.is_empty());
    let json = serde_json::to_string(&before).expect("JSON");
    assert_eq!(serde_json::from_str::<AuditReport>(&json).expect("the same"), before);
}
