//! Checks of other nodes: counts and findings.

use super::*;

const NAME: &str = "10.0.0.2:9180";

impl TestAuditor {
    /// Creates an auditor with another node, whose requests all have this outcome.
    fn with_peer(outcome: PeerOutcome) -> Self {
        let mut test = Self::new();
        test.auditor = test.auditor.with_peers([NAME.to_owned()]);
        test.peers = vec![outcome];
        test
    }

    fn peer(&self) -> PeerReport {
        self.auditor.report().peers.remove(0)
    }

    /// (checked, stale) per T, of the other node.
    fn peer_counts(&self) -> [(u64, u64); 3] {
        let peer = self.peer();
        [0, 1, 2].map(|index| (peer.consistency[index].checked, peer.consistency[index].stale))
    }
}

/// The reply of a node with these entries.
fn reply_with(found: &[TierEntry]) -> PeerReply {
    let entries = found.iter().map(|entry| EntrySummary::of(entry, "")).collect();
    PeerReply { key: key().to_string(), epoch: Some(EPOCH), entries, unread: Vec::new() }
}

/// An entry that shows this bound.
fn bounded(tier: Tier, tau: Lsn, text: &'static str, bound: Option<Duration>) -> TierEntry {
    TierEntry { bound, ..tier_entry(tier, tau, text) }
}

fn consistent_node() -> Option<(Vec<TierEntry>, Content)> {
    Some((vec![tier_entry(Tier::Local, COMMIT, "new")], content("new")))
}

#[test]
fn equal_or_empty_peer_consistent() {
    for tiers in [vec![tier_entry(Tier::Shared, COMMIT, "new")], vec![]] {
        let mut test = TestAuditor::with_peer(PeerOutcome::Replied(reply_with(&tiers)));
        test.commit(Duration::ZERO);
        test.run(LONG, consistent_node);
        assert_eq!(test.peer_counts(), [(1, 0); 3]);
        assert_eq!(test.counts(), [(1, 0); 3]);
        let peer = test.peer();
        assert_eq!(peer.consistency[1].shared.answering, tiers.len() as u64);
        assert_eq!(peer.consistency[1].consistent, Some(1.0));
        assert_eq!(peer.requests, PeerRequests { answered: 3, ..PeerRequests::default() });
        assert_eq!(test.auditor.report().found, 0);
    }
}

#[test]
fn peer_beyond_bound_named_in_finding() {
    for (applied, rule) in [(COMMIT, "tombstone"), (Lsn(99), "delivery")] {
        let old = TierEntry { applied, ..tier_entry(Tier::Local, Lsn(50), "old") };
        let mut test = TestAuditor::with_peer(PeerOutcome::Replied(reply_with(&[old])));
        test.commit(Duration::ZERO);
        test.run(LONG, consistent_node);
        assert_eq!(test.peer_counts(), [(1, 1); 3], "C(T) counts what its bound allows too");
        assert_eq!(test.counts(), [(1, 0); 3], "this node is consistent");
        let report = test.auditor.report();
        assert_eq!((report.found, report.broken), (1, 1), "{report:?}");
        let finding = &report.findings[0];
        assert_eq!(finding.node.as_deref(), Some(NAME));
        assert_eq!(finding.stale_after_s, [1.0, 10.0], "after a tenth it was within 200 ms");
        assert!(finding.bound_broken && finding.beyond_contract, "{finding:?}");
        assert!(finding.rule.starts_with(rule) && finding.rule.contains(NAME), "{finding:?}");
        let last = &finding.timeline.last().expect("a timeline").text;
        assert!(last.contains(NAME) && last.contains("0/32"), "{last}");
        let first = &finding.timeline[0].text;
        assert!(first.contains("a load from the origin"), "and this node's own timeline: {first}");
    }
}

#[test]
fn peers_may_differ_within_bounds() {
    for bound in [Some(Duration::from_secs(60)), None] {
        let stale = TierEntry {
            served_as: ServedAs::Stale,
            applied: Lsn(99),
            ..bounded(Tier::Local, Lsn(50), "old", bound)
        };
        let mut test = TestAuditor::with_peer(PeerOutcome::Replied(reply_with(&[stale])));
        test.commit(Duration::ZERO);
        test.run(LONG * 3, consistent_node);
        assert_eq!(test.peer_counts(), [(1, 1); 3]);
        let report = test.auditor.report();
        assert_eq!((report.found, report.sticky), (0, 0), "{report:?}");
    }
}

#[test]
fn failed_peer_request_counted() {
    let of_another_key = PeerReply { key: "v1:catalog:price:43".into(), ..reply_with(&[]) };
    for (outcome, requests) in [
        (PeerOutcome::Unreachable, PeerRequests { unreachable: 3, ..PeerRequests::default() }),
        (PeerOutcome::Skipped, PeerRequests { skipped: 3, ..PeerRequests::default() }),
        (PeerOutcome::Malformed, PeerRequests { malformed: 3, ..PeerRequests::default() }),
        (
            PeerOutcome::Replied(of_another_key),
            PeerRequests { malformed: 3, ..PeerRequests::default() },
        ),
    ] {
        let mut test = TestAuditor::with_peer(outcome);
        test.commit(Duration::ZERO);
        test.run(LONG, consistent_node);
        assert_eq!(test.peer().requests, requests);
        assert_eq!(test.peer_counts(), [(0, 0); 3]);
        assert_eq!(test.peer().consistency[1].consistent, None, "nothing checked proves nothing");
        assert_eq!(test.counts(), [(1, 0); 3]);
        assert_eq!(test.auditor.report().found, 0);
    }
}

#[test]
fn unread_peer_tier_not_counted() {
    let reply = PeerReply {
        unread: vec![Tier::Shared],
        ..reply_with(&[tier_entry(Tier::Local, COMMIT, "new")])
    };
    let mut test = TestAuditor::with_peer(PeerOutcome::Replied(reply));
    test.commit(Duration::ZERO);
    test.run(LONG, consistent_node);
    let after = &test.peer().consistency[1];
    assert_eq!((after.checked, after.local.checks, after.shared.checks), (1, 1, 0));
}

#[test]
fn unsolicited_replies_ignored() {
    let mut test = TestAuditor::new();
    test.peers =
        vec![PeerOutcome::Replied(reply_with(&[tier_entry(Tier::Local, Lsn(50), "old")])); 40];
    test.commit(Duration::ZERO);
    test.run(LONG, consistent_node);
    assert!(test.auditor.report().peers.is_empty());
    assert_eq!(test.auditor.report().found, 0);
}

#[test]
fn foreign_positions_confirmed_by_time() {
    let old = reply_with(&[tier_entry(Tier::Local, Lsn(50), "old")]);
    for epoch in [None, Some(Epoch { timeline: 2, ..EPOCH })] {
        let mut test =
            TestAuditor::with_peer(PeerOutcome::Replied(PeerReply { epoch, ..old.clone() }));
        test.commit(Duration::ZERO);
        test.run(Duration::from_millis(150), consistent_node);
        assert_eq!(test.peer_counts()[0], (0, 0), "it has only just been seen to differ");
        test.run(LONG, consistent_node);
        assert_eq!(test.peer_counts(), [(1, 1); 3], "it still does");
    }
}

#[test]
fn replaced_peer_entry_not_stale() {
    let replied =
        |text| PeerOutcome::Replied(reply_with(&[tier_entry(Tier::Shared, COMMIT, text)]));
    let mut test = TestAuditor::with_peer(replied("old"));
    test.commit(Duration::ZERO);
    test.run(Duration::from_millis(150), consistent_node);
    test.peers = vec![replied("new")];
    test.run(LONG, consistent_node);
    assert_eq!(test.peer_counts(), [(1, 0); 3]);
    assert_eq!(test.auditor.report().found, 0);
}

#[test]
fn sampled_answer_compared_with_peers() {
    let answer = || EngineEvent::Answer(AnswerRecord { target: target(), content: content("new") });
    let sampled = |test: &TestAuditor| {
        let SampleCounts { compared, agreed, stale } = test.peer().samples;
        (compared, agreed, stale)
    };
    let mut test = TestAuditor::with_peer(PeerOutcome::Replied(reply_with(&[])));
    test.observe(answer());
    test.run(LONG, consistent_node);
    assert_eq!(sampled(&test), (0, 0, 0), "it would answer nothing from a tier");
    test.peers = vec![PeerOutcome::Replied(reply_with(&[tier_entry(Tier::Local, COMMIT, "new")]))];
    test.observe(answer());
    test.run(LONG, consistent_node);
    assert_eq!(sampled(&test), (1, 1, 0));
    test.peers = vec![PeerOutcome::Replied(reply_with(&[tier_entry(Tier::Local, COMMIT, "old")]))];
    test.observe(answer());
    test.run(LONG, consistent_node);
    assert_eq!(sampled(&test), (2, 1, 1));
    let report = test.auditor.report();
    assert_eq!((report.samples.compared, report.samples.agreed), (3, 3), "this node is consistent");
    assert_eq!(report.findings[0].node.as_deref(), Some(NAME));
    assert_eq!(report.findings[0].noticed_by, "answer");
    assert!(report.findings[0].rule.starts_with("none"), "{report:?}");
}

#[test]
fn peer_entry_stale_for_a_minute_sticky() {
    let mut test = TestAuditor::with_peer(PeerOutcome::Replied(reply_with(&[tier_entry(
        Tier::Local,
        Lsn(50),
        "old",
    )])));
    test.commit(Duration::ZERO);
    test.run(LONG * 3, consistent_node);
    let report = test.auditor.report();
    assert_eq!((report.sticky, report.findings[0].sticky), (1, Some(true)));
}

/// Scripts and other versions of a node read these names.
#[test]
fn json_names_are_stable() {
    let old = reply_with(&[tier_entry(Tier::Local, Lsn(50), "old")]);
    let reply = serde_json::to_value(&old).expect("JSON");
    assert_eq!(reply["tiers"][0]["answers"], "fresh");
    for (served_as, name) in [(ServedAs::Stale, "marked"), (ServedAs::NotServed, "no")] {
        assert_eq!(serde_json::to_value(served_as).expect("JSON"), name);
    }
    let mut test = TestAuditor::with_peer(PeerOutcome::Replied(old));
    test.commit(Duration::ZERO);
    test.run(LONG, consistent_node);
    let report = serde_json::to_value(test.auditor.report()).expect("JSON");
    assert_eq!(report["after"][0]["checked"], 1);
    let peer = &report["peers"][0];
    assert_eq!((&peer["after"][0]["stale"], &peer["asked"]["answered"]), (&1.into(), &3.into()));
    assert_eq!((&peer["asked"]["rubbish"], &peer["asked"]["resting"]), (&0.into(), &0.into()));
    assert!(report["findings"][0]["story"][0]["what"].is_string(), "{report}");
}
