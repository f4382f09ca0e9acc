//! Other nodes: what counts, what is a finding, and what is neither.

use super::*;

const NAME: &str = "10.0.0.2:9180";

impl Bench {
    /// With another node that says this to every check.
    fn beside(look: PeerOutcome) -> Self {
        let mut bench = Self::new();
        bench.auditor = bench.auditor.with_peers([NAME.to_owned()]);
        bench.peers = vec![look];
        bench
    }

    fn peer(&self) -> PeerReport {
        self.auditor.report().peers.remove(0)
    }

    /// (checked, stale) per T, of the other node.
    fn counts_there(&self) -> [(u64, u64); 3] {
        [0, 1, 2].map(|index| (self.peer().after[index].checked, self.peer().after[index].stale))
    }
}

/// What a node says that holds this.
fn says_that(holdings: &[TierEntry]) -> PeerReply {
    let tiers = holdings.iter().map(|holding| EntrySummary::of(holding, "")).collect();
    PeerReply { key: key().to_string(), epoch: Some(EPOCH), tiers, unread: Vec::new() }
}

/// A holding that shows this bound.
fn bounded(tier: Tier, tau: Lsn, text: &'static str, bound: Option<Duration>) -> TierEntry {
    TierEntry { bound, ..held(tier, tau, text) }
}

fn right() -> Option<(Vec<TierEntry>, Content)> {
    Some((vec![held(Tier::Local, COMMIT, "new")], says("new")))
}

#[test]
fn equal_or_empty_peer_consistent() {
    for tiers in [vec![held(Tier::Shared, COMMIT, "new")], vec![]] {
        let mut bench = Bench::beside(PeerOutcome::Replied(says_that(&tiers)));
        bench.commit(Duration::ZERO);
        bench.run(LONG, right);
        assert_eq!(bench.counts_there(), [(1, 0); 3]);
        assert_eq!(bench.counts(), [(1, 0); 3]);
        let peer = bench.peer();
        assert_eq!(peer.after[1].shared.answering, tiers.len() as u64);
        assert_eq!(peer.after[1].consistent, Some(1.0));
        assert_eq!(peer.asked, PeerRequests { answered: 3, ..PeerRequests::default() });
        assert_eq!(bench.auditor.report().found, 0);
    }
}

#[test]
fn peer_beyond_bound_named_in_finding() {
    for (applied, rule) in [(COMMIT, "tombstone"), (Lsn(99), "delivery")] {
        let old = TierEntry { applied, ..held(Tier::Local, Lsn(50), "old") };
        let mut bench = Bench::beside(PeerOutcome::Replied(says_that(&[old])));
        bench.commit(Duration::ZERO);
        bench.run(LONG, right);
        assert_eq!(bench.counts_there(), [(1, 1); 3], "C(T) counts what its bound allows too");
        assert_eq!(bench.counts(), [(1, 0); 3], "this node is right");
        let report = bench.auditor.report();
        assert_eq!((report.found, report.broken), (1, 1), "{report:?}");
        let finding = &report.findings[0];
        assert_eq!(finding.node.as_deref(), Some(NAME));
        assert_eq!(finding.stale_after_s, [1.0, 10.0], "after a tenth it was within 200 ms");
        assert!(finding.bound_broken && finding.beyond_contract, "{finding:?}");
        assert!(finding.rule.starts_with(rule) && finding.rule.contains(NAME), "{finding:?}");
        let last = &finding.timeline.last().expect("a timeline").what;
        assert!(last.contains(NAME) && last.contains("0/32"), "{last}");
        let first = &finding.timeline[0].what;
        assert!(first.contains("a load from the origin"), "and what this node knows: {first}");
    }
}

#[test]
fn peers_may_differ_within_bounds() {
    for bound in [Some(Duration::from_secs(60)), None] {
        let marked = TierEntry {
            served_as: ServedAs::Stale,
            applied: Lsn(99),
            ..bounded(Tier::Local, Lsn(50), "old", bound)
        };
        let mut bench = Bench::beside(PeerOutcome::Replied(says_that(&[marked])));
        bench.commit(Duration::ZERO);
        bench.run(LONG * 3, right);
        assert_eq!(bench.counts_there(), [(1, 1); 3]);
        let report = bench.auditor.report();
        assert_eq!((report.found, report.sticky), (0, 0), "{report:?}");
    }
}

#[test]
fn failed_peer_request_counted() {
    let of_another_key = PeerReply { key: "v1:catalog:price:43".into(), ..says_that(&[]) };
    for (look, asked) in [
        (PeerOutcome::Unreachable, PeerRequests { unreachable: 3, ..PeerRequests::default() }),
        (PeerOutcome::Skipped, PeerRequests { resting: 3, ..PeerRequests::default() }),
        (PeerOutcome::Malformed, PeerRequests { rubbish: 3, ..PeerRequests::default() }),
        (PeerOutcome::Replied(of_another_key), PeerRequests { rubbish: 3, ..PeerRequests::default() }),
    ] {
        let mut bench = Bench::beside(look);
        bench.commit(Duration::ZERO);
        bench.run(LONG, right);
        assert_eq!(bench.peer().asked, asked);
        assert_eq!(bench.counts_there(), [(0, 0); 3]);
        assert_eq!(bench.peer().after[1].consistent, None, "nothing checked proves nothing");
        assert_eq!(bench.counts(), [(1, 0); 3]);
        assert_eq!(bench.auditor.report().found, 0);
    }
}

#[test]
fn unread_peer_tier_not_counted() {
    let told =
        PeerReply { unread: vec![Tier::Shared], ..says_that(&[held(Tier::Local, COMMIT, "new")]) };
    let mut bench = Bench::beside(PeerOutcome::Replied(told));
    bench.commit(Duration::ZERO);
    bench.run(LONG, right);
    let after = &bench.peer().after[1];
    assert_eq!((after.checked, after.local.checks, after.shared.checks), (1, 1, 0));
}

#[test]
fn unsolicited_replies_ignored() {
    let mut bench = Bench::new();
    bench.peers = vec![PeerOutcome::Replied(says_that(&[held(Tier::Local, Lsn(50), "old")])); 40];
    bench.commit(Duration::ZERO);
    bench.run(LONG, right);
    assert!(bench.auditor.report().peers.is_empty());
    assert_eq!(bench.auditor.report().found, 0);
}

#[test]
fn foreign_positions_confirmed_by_time() {
    let old = says_that(&[held(Tier::Local, Lsn(50), "old")]);
    for epoch in [None, Some(Epoch { timeline: 2, ..EPOCH })] {
        let mut bench = Bench::beside(PeerOutcome::Replied(PeerReply { epoch, ..old.clone() }));
        bench.commit(Duration::ZERO);
        bench.run(Duration::from_millis(150), right);
        assert_eq!(bench.counts_there()[0], (0, 0), "it has only just been seen to differ");
        bench.run(LONG, right);
        assert_eq!(bench.counts_there(), [(1, 1); 3], "it still does");
    }
}

#[test]
fn replaced_peer_entry_not_stale() {
    let claims = |text| PeerOutcome::Replied(says_that(&[held(Tier::Shared, COMMIT, text)]));
    let mut bench = Bench::beside(claims("old"));
    bench.commit(Duration::ZERO);
    bench.run(Duration::from_millis(150), right);
    bench.peers = vec![claims("new")];
    bench.run(LONG, right);
    assert_eq!(bench.counts_there(), [(1, 0); 3]);
    assert_eq!(bench.auditor.report().found, 0);
}

#[test]
fn sampled_answer_compared_with_peers() {
    let answer = || EngineEvent::Answer(AnswerRecord { target: target(), content: says("new") });
    let sampled = |bench: &Bench| {
        let SampleCounts { compared, agreed, stale } = bench.peer().samples;
        (compared, agreed, stale)
    };
    let mut bench = Bench::beside(PeerOutcome::Replied(says_that(&[])));
    bench.note(answer());
    bench.run(LONG, right);
    assert_eq!(sampled(&bench), (0, 0, 0), "it would answer nothing from a tier");
    bench.peers = vec![PeerOutcome::Replied(says_that(&[held(Tier::Local, COMMIT, "new")]))];
    bench.note(answer());
    bench.run(LONG, right);
    assert_eq!(sampled(&bench), (1, 1, 0));
    bench.peers = vec![PeerOutcome::Replied(says_that(&[held(Tier::Local, COMMIT, "old")]))];
    bench.note(answer());
    bench.run(LONG, right);
    assert_eq!(sampled(&bench), (2, 1, 1));
    let report = bench.auditor.report();
    assert_eq!((report.samples.compared, report.samples.agreed), (3, 3), "here all was right");
    assert_eq!(report.findings[0].node.as_deref(), Some(NAME));
    assert_eq!(report.findings[0].noticed_by, "answer");
    assert!(report.findings[0].rule.starts_with("none"), "{report:?}");
}

#[test]
fn peer_entry_stale_for_a_minute_sticky() {
    let mut bench = Bench::beside(PeerOutcome::Replied(says_that(&[held(Tier::Local, Lsn(50), "old")])));
    bench.commit(Duration::ZERO);
    bench.run(LONG * 3, right);
    let report = bench.auditor.report();
    assert_eq!((report.sticky, report.findings[0].sticky), (1, Some(true)));
}
