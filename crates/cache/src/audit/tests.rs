use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Epoch, Lsn, Mono, Subject, Verdict};
use contract::Key;

use super::*;
use crate::engine::{ServedAs, Tier, TierEntry};
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

fn content(text: &'static str) -> Content {
    Content::Present(Value { head: Default::default(), body: text.into() })
}

fn tier_entry(tier: Tier, tau: Lsn, text: &'static str) -> TierEntry {
    let entry = Entry {
        tau,
        content: content(text),
        tags: Arc::from([]),
        loaded_wall_ms: 7,
        changes_at: None,
        cost_us: 0,
        ttl: Duration::from_secs(60),
        seen: Lsn::MAX,
        definition: 0,
    };
    let bound = Some(Duration::from_millis(200));
    TierEntry { tier, entry: Arc::new(entry), applied: COMMIT, bound, served_as: ServedAs::Fresh }
}

struct TestAuditor {
    auditor: Auditor,
    now: Mono,
    /// The time at which the commit is known to be visible.
    visible_since: Option<Mono>,
    /// The outcomes of the requests to other nodes, for every check.
    peers: Vec<PeerOutcome>,
}

impl TestAuditor {
    /// Creates an auditor that has recorded a fill of the key.
    fn new() -> Self {
        let options = AuditorOptions { reads_per_second: 30.0, ..AuditorOptions::default() };
        let auditor = Auditor::new(options, [("price".into(), BUDGET)], START);
        let mut test = Self { auditor, now: START, visible_since: Some(START), peers: Vec::new() };
        test.fill(Tier::Shared, Lsn(50));
        test
    }

    fn observe(&mut self, event: EngineEvent) {
        let wall_us = WALL_US + self.now.since(START).as_micros() as u64;
        self.auditor.observe(event, self.now, wall_us);
    }

    fn fill(&mut self, tier: Tier, tau: Lsn) {
        self.observe(EngineEvent::Load(target()));
        self.observe(EngineEvent::Fill(FillRecord {
            target: target(),
            tier,
            from: Tier::Origin,
            tau,
            loaded_wall_ms: 7,
            ttl: Duration::from_secs(60),
            verdict: Verdict::Accept,
        }));
    }

    /// Records a commit that invalidates a copy in this process, and arrives `late`.
    fn commit(&mut self, late: Duration) {
        let wall_us = WALL_US + self.now.since(START).as_micros() as u64;
        self.now = self.now + late;
        self.observe(EngineEvent::Invalidation(InvalidationRecord {
            lsn: COMMIT,
            cause: Cause::Commit,
            committed_us: wall_us,
            subjects: vec![Subject::Key(key())],
            invalidated: vec![key()],
            loading: Vec::new(),
        }));
    }

    /// Completes every check for `span` with the tiers' entries and the database's content.
    fn run(&mut self, span: Duration, read: impl Fn() -> Option<(Vec<TierEntry>, Content)>) {
        let end = self.now + span;
        loop {
            match self.auditor.next(self.now) {
                AuditorStep::Check(check) => {
                    let wall_ms = WALL_US / 1_000;
                    let (at, peers) = (self.now, self.peers.clone());
                    let (found, visible_since) = (read(), self.visible_since);
                    let epoch = Some(EPOCH);
                    let done = at;
                    let observation =
                        Observation { at, done, wall_ms, found, visible_since, epoch, peers };
                    self.auditor.complete(&check, &observation);
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
        [0, 1, 2].map(|index| (report.consistency[index].checked, report.consistency[index].stale))
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn equal_or_missing_entry_consistent() {
    for tiers in [vec![tier_entry(Tier::Local, COMMIT, "new")], vec![]] {
        let mut test = TestAuditor::new();
        test.commit(Duration::ZERO);
        test.run(LONG, || Some((tiers.clone(), content("new"))));
        assert_eq!(test.counts(), [(1, 0); 3]);
        let report = test.auditor.report();
        assert_eq!(report.consistency[1].local.answering, tiers.len() as u64);
        assert_eq!(report.consistency[1].consistent, Some(1.0));
        assert!(report.findings.is_empty());
    }
}

#[test]
fn entry_before_commit_stale_at_once() {
    for (applied, rule) in [(COMMIT, "tombstone"), (Lsn(99), "delivery")] {
        let mut test = TestAuditor::new();
        test.commit(Duration::ZERO);
        let old = TierEntry { applied, ..tier_entry(Tier::Shared, Lsn(50), "old") };
        test.run(LONG, || Some((vec![old.clone()], content("new"))));
        assert_eq!(test.counts(), [(1, 1); 3]);
        let report = test.auditor.report();
        let [finding] = &report.findings[..] else { panic!("{report:?}") };
        assert!(finding.rule.starts_with(rule), "{finding:?}");
        assert_eq!(finding.stale_after_s, [0.1, 1.0, 10.0]);
        assert!(finding.beyond_contract && finding.bound_broken, "{finding:?}");
        assert!(finding.timeline.iter().any(|entry| entry.text.contains("accepted")));
        assert!(finding.timeline.iter().any(|entry| entry.text.contains("removed a copy")));
    }
}

/// A database sets a commit's time before it flushes the commit; a load in between, here 80 ms later,
/// can't see it.
#[test]
fn invisible_commit_violates_nothing() {
    let ms = Duration::from_millis;
    for (visible_since, loaded, broken) in [
        (None, ms(80), 0),
        (Some(START + ms(90)), ms(80), 0),
        (Some(START), ms(80), 1),
        // It is not known to be visible, but the database showed it at the first check.
        (None, ms(800), 1),
    ] {
        let mut test = TestAuditor::new();
        test.visible_since = visible_since;
        test.commit(Duration::ZERO);
        for (delay, span) in [(ms(100), ms(500)), (ms(1_000), ms(1_500))] {
            let bound = Some(delay.saturating_sub(loaded));
            let stale = TierEntry {
                served_as: ServedAs::Stale,
                bound,
                ..tier_entry(Tier::Local, Lsn(50), "old")
            };
            test.run(span, || Some((vec![stale.clone()], content("new"))));
        }
        assert_eq!(test.counts()[..2], [(1, 1); 2], "C(T) counts from the database's own time");
        assert_eq!(
            test.auditor.report().broken,
            broken,
            "visible at {visible_since:?}, loaded {loaded:?}"
        );
    }
}

#[test]
fn violations_dropped_last() {
    let mut test = TestAuditor::new();
    test.auditor.options.findings = 2;
    for (n, bound) in [(0, Duration::ZERO), (1, LONG), (2, LONG), (3, LONG)] {
        test.fill(Tier::Local, Lsn(50));
        test.visible_since = Some(test.now);
        test.commit(Duration::ZERO);
        let mut entry = (*tier_entry(Tier::Local, Lsn(50), "old").entry).clone();
        entry.loaded_wall_ms = n;
        let (entry, served_as) = (Arc::new(entry), ServedAs::Stale);
        let old = TierEntry {
            entry,
            served_as,
            bound: Some(bound),
            ..tier_entry(Tier::Local, COMMIT, "")
        };
        test.run(LONG, || Some((vec![old.clone()], content("new"))));
    }
    let kept: Vec<_> = test.auditor.report().findings.iter().map(|f| f.loaded_ms).collect();
    assert_eq!(kept, [Some(0), Some(3)]);
}

#[test]
fn false_tau_found_by_difference() {
    let mut test = TestAuditor::new();
    test.commit(Duration::ZERO);
    let false_entry = tier_entry(Tier::Shared, Lsn(200), "old");
    test.run(LONG, || Some((vec![false_entry.clone()], content("new"))));
    assert_eq!(test.counts(), [(1, 1); 3], "confirmed T after the first difference");
    let report = test.auditor.report();
    assert_eq!(report.broken, 1);
    let rule = &report.findings[0].rule;
    assert!(rule.starts_with("none") && rule.contains("another program"), "{rule}");
}

#[test]
fn replaced_entry_undecided() {
    let mut test = TestAuditor::new();
    test.commit(Duration::ZERO);
    let checks = std::cell::Cell::new(0);
    test.run(LONG, || {
        // Every check finds another, newer entry, always one version behind.
        checks.set(checks.get() + 1);
        let mut entry = (*tier_entry(Tier::Local, Lsn(100 + checks.get()), "newer").entry).clone();
        entry.loaded_wall_ms = checks.get();
        let entry = TierEntry { entry: Arc::new(entry), ..tier_entry(Tier::Local, COMMIT, "") };
        Some((vec![entry], content("newest")))
    });
    assert_eq!(test.counts(), [(1, 0); 3]);
    let report = test.auditor.report();
    assert!(report.findings.is_empty());
    assert_eq!(report.undecided, 3, "not counted as consistent without a trace");
}

#[test]
fn stale_only_if_served() {
    for (served_as, stale) in [(ServedAs::NotServed, 0), (ServedAs::Stale, 1)] {
        let mut test = TestAuditor::new();
        test.commit(Duration::ZERO);
        let old = TierEntry { served_as, bound: None, ..tier_entry(Tier::Local, Lsn(50), "old") };
        test.run(LONG, || Some((vec![old.clone()], content("new"))));
        assert_eq!(test.counts(), [(1, stale); 3]);
        assert_eq!(test.auditor.report().broken, 0);
    }
}

#[test]
fn late_event_counts_as_stale() {
    let mut test = TestAuditor::new();
    test.commit(Duration::from_millis(400));
    test.run(LONG, || Some((vec![], content("new"))));
    assert_eq!(test.counts(), [(1, 1), (1, 0), (1, 0)]);
    let report = test.auditor.report();
    assert!(report.findings[0].rule.starts_with("delivery"), "{report:?}");
    assert_eq!(report.broken, 0, "the bound had grown, so no guarantee was violated");
}

#[test]
fn failed_or_late_check_not_counted() {
    let mut test = TestAuditor::new();
    test.commit(Duration::ZERO);
    test.run(Duration::from_millis(500), || None);
    test.now = test.now + Duration::from_secs(5);
    test.run(LONG, || Some((vec![], content("new"))));
    assert_eq!(test.counts(), [(0, 0), (0, 0), (1, 0)]);
    let report = test.auditor.report();
    assert_eq!((report.unread, report.late), (1, 1));
    assert_eq!(report.consistency[0].consistent, None);
    assert_eq!(report.consistency[0].at_least, 0.0, "no checks prove nothing");
}

#[test]
fn reads_limited_by_budget() {
    let mut test = TestAuditor::new();
    for _ in 0..100 {
        test.fill(Tier::Local, Lsn(50));
        test.commit(Duration::ZERO);
    }
    let report = test.auditor.report();
    assert_eq!((report.met, report.paced), (100, 90), "thirty reads, three per check");
    test.now = test.now + Duration::from_secs(1);
    test.commit(Duration::ZERO);
    assert_eq!(test.auditor.report().paced, 90, "the budget is refilled after a second");
}

#[test]
fn only_invalidated_copies_checked() {
    let mut test = TestAuditor::new();
    test.now = test.now + Duration::from_secs(61);
    let event = |cause| InvalidationRecord {
        lsn: COMMIT,
        cause,
        committed_us: WALL_US,
        subjects: vec![Subject::Key(key())],
        invalidated: Vec::new(),
        loading: Vec::new(),
    };
    test.observe(EngineEvent::Invalidation(event(Cause::Commit)));
    assert_eq!(test.auditor.report().met, 0, "the shared entry has expired");
    test.fill(Tier::Shared, Lsn(50));
    test.observe(EngineEvent::Invalidation(event(Cause::Purge)));
    assert_eq!(test.auditor.report().met, 0, "a purge changes nothing in the database");
    let other = Key::parse("v1:edge:page:home").expect("a key");
    test.observe(EngineEvent::Invalidation(InvalidationRecord {
        invalidated: vec![other],
        subjects: vec![],
        ..event(Cause::Commit)
    }));
    assert_eq!(test.auditor.report().met, 0, "a page has no statement to compare with");
    test.observe(EngineEvent::Invalidation(InvalidationRecord {
        loading: vec![key()],
        ..event(Cause::Commit)
    }));
    assert_eq!(test.auditor.report().met, 1);
}

#[test]
fn entry_stale_for_a_minute_sticky() {
    for (later, sticky) in [("old", 1), ("new", 0)] {
        let mut test = TestAuditor::new();
        test.commit(Duration::ZERO);
        let see =
            |text| move || Some((vec![tier_entry(Tier::Local, Lsn(50), text)], content("new")));
        test.run(LONG, see("old"));
        assert_eq!(test.auditor.report().findings[0].sticky, None);
        test.run(LONG * 2, see(later));
        let report = test.auditor.report();
        assert_eq!(report.sticky, sticky);
        assert_eq!(report.findings[0].sticky, Some(sticky == 1));
    }
}

#[test]
fn sampled_answer_compared() {
    let answer =
        |text| EngineEvent::Answer(AnswerRecord { target: target(), content: content(text) });
    let mut test = TestAuditor::new();
    test.observe(answer("new"));
    test.run(LONG, || Some((vec![], content("new"))));
    test.observe(answer("old"));
    test.run(LONG, || Some((vec![tier_entry(Tier::Local, COMMIT, "new")], content("new"))));
    let report = test.auditor.report();
    assert_eq!((report.samples.compared, report.samples.agreed, report.samples.stale), (2, 1, 0));
    assert_eq!(report.undecided, 1, "now the tier agrees with the database");

    test.observe(answer("old"));
    test.run(LONG, || Some((vec![tier_entry(Tier::Local, COMMIT, "old")], content("new"))));
    let report = test.auditor.report();
    assert_eq!(report.samples.stale, 1);
    assert_eq!(report.findings[0].noticed_by, "answer");
    assert_eq!(report.findings[0].event, None);
}

#[test]
fn report_since_earlier_one() {
    let mut test = TestAuditor::new();
    test.commit(Duration::ZERO);
    test.run(LONG, || Some((vec![tier_entry(Tier::Local, Lsn(50), "old")], content("new"))));
    let before = test.auditor.report();
    test.fill(Tier::Local, Lsn(50));
    test.commit(Duration::ZERO);
    test.run(LONG, || Some((vec![], content("new"))));
    let since = test.auditor.report().since(&before);
    assert_eq!((since.consistency[0].checked, since.consistency[0].stale, since.found), (1, 0, 0));
    assert!(since.findings.is_empty());
    let json = serde_json::to_string(&before).expect("JSON");
    assert_eq!(serde_json::from_str::<AuditReport>(&json).expect("the same"), before);
}

#[test]
fn unannounced_change_found_in_turn() {
    let options = AuditorOptions { stored_per_second: 5.0, ..AuditorOptions::default() };
    let mut test = TestAuditor::new();
    test.auditor = Auditor::new(options, [("price".into(), BUDGET)], START);
    test.fill(Tier::Local, Lsn(50));
    let old = r#"{"price_cents":1,"currency":"GBP"}"#;
    test.run(LONG, || Some((vec![tier_entry(Tier::Local, Lsn(50), old)], content(old))));
    let report = test.auditor.report();
    assert!(report.stored.agreed > 10 && report.found == 0, "{report:?}");

    let new = r#"{"price_cents":2,"currency":"GBP"}"#;
    test.run(LONG, || Some((vec![tier_entry(Tier::Local, Lsn(50), old)], content(new))));
    let report = test.auditor.report();
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.noticed_by.as_str(), &finding.event), ("stored", &None));
    assert!(finding.bound_broken && finding.contract == "price", "{finding:?}");
    assert_eq!(finding.fields, ["price_cents"]);
    assert!(
        finding.rule.starts_with("mapping: ") && finding.rule.contains("`price_cents` differs")
    );
}

#[test]
fn stored_entries_leave_reads_for_commits() {
    let options = AuditorOptions {
        reads_per_second: 8.0,
        stored_per_second: 100.0,
        ..AuditorOptions::default()
    };
    let mut test = TestAuditor::new();
    test.auditor = Auditor::new(options, [("price".into(), BUDGET)], START);
    test.fill(Tier::Local, Lsn(50));
    test.run(Duration::from_secs(10), || Some((vec![], content("new"))));
    test.commit(Duration::ZERO);
    assert_eq!(test.auditor.report().paced, 0, "a commit still has its reads");
}
