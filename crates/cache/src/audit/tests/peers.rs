//! Other nodes: what counts, what is a finding, and what is neither.

use super::*;

const NAME: &str = "10.0.0.2:9180";

impl Bench {
    /// With another node that says this to every question.
    fn beside(look: PeerLook) -> Self {
        let mut bench = Self::new();
        bench.auditor = bench.auditor.with_peers([NAME.to_owned()]);
        bench.peers = vec![look];
        bench
    }

    fn peer(&self) -> Peer {
        self.auditor.report().peers.remove(0)
    }

    /// (checked, stale) per T, of the other node.
    fn counts_there(&self) -> [(u64, u64); 3] {
        [0, 1, 2].map(|index| (self.peer().after[index].checked, self.peer().after[index].stale))
    }
}

/// What a node says that holds this.
fn says_that(holdings: &[Holding]) -> Told {
    let tiers = holdings.iter().map(|holding| Held::of(holding, "")).collect();
    Told { key: key().to_string(), epoch: Some(EPOCH), tiers, unread: Vec::new() }
}

/// A holding that shows this bound.
fn bounded(tier: Tier, tau: Lsn, text: &'static str, bound: Option<Duration>) -> Holding {
    Holding { bound, ..held(tier, tau, text) }
}

fn right() -> Option<(Vec<Holding>, Content)> {
    Some((vec![held(Tier::Local, COMMIT, "new")], says("new")))
}

#[test]
fn a_node_that_says_what_the_database_says_is_right_and_so_is_one_that_holds_nothing() {
    for tiers in [vec![held(Tier::Shared, COMMIT, "new")], vec![]] {
        let mut bench = Bench::beside(PeerLook::Said(says_that(&tiers)));
        bench.commit(Duration::ZERO);
        bench.run(LONG, right);
        assert_eq!(bench.counts_there(), [(1, 0); 3]);
        assert_eq!(bench.counts(), [(1, 0); 3]);
        let peer = bench.peer();
        assert_eq!(peer.after[1].shared.answering, tiers.len() as u64);
        assert_eq!(peer.after[1].consistent, Some(1.0));
        assert_eq!(peer.asked, Asked { answered: 3, ..Asked::default() });
        assert_eq!(bench.auditor.report().found, 0);
    }
}

#[test]
fn a_node_older_than_its_bound_is_a_finding_that_names_it() {
    for (applied, rule) in [(COMMIT, "tombstone"), (Lsn(99), "delivery")] {
        let old = Holding { applied, ..held(Tier::Local, Lsn(50), "old") };
        let mut bench = Bench::beside(PeerLook::Said(says_that(&[old])));
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
        let last = &finding.story.last().expect("a story").what;
        assert!(last.contains(NAME) && last.contains("0/32"), "{last}");
        let first = &finding.story[0].what;
        assert!(first.contains("a load from the origin"), "and what this node knows: {first}");
    }
}

#[test]
fn nodes_may_differ_within_the_bounds_that_they_show() {
    for bound in [Some(Duration::from_secs(60)), None] {
        let marked = Holding {
            answers: Answers::Marked,
            applied: Lsn(99),
            ..bounded(Tier::Local, Lsn(50), "old", bound)
        };
        let mut bench = Bench::beside(PeerLook::Said(says_that(&[marked])));
        bench.commit(Duration::ZERO);
        bench.run(LONG * 3, right);
        assert_eq!(bench.counts_there(), [(1, 1); 3]);
        let report = bench.auditor.report();
        assert_eq!((report.found, report.sticky), (0, 0), "{report:?}");
    }
}

#[test]
fn a_node_that_does_not_answer_or_talks_rubbish_is_counted_and_nothing_else() {
    let of_another_key = Told { key: "v1:catalog:price:43".into(), ..says_that(&[]) };
    for (look, asked) in [
        (PeerLook::Unreachable, Asked { unreachable: 3, ..Asked::default() }),
        (PeerLook::Resting, Asked { resting: 3, ..Asked::default() }),
        (PeerLook::Rubbish, Asked { rubbish: 3, ..Asked::default() }),
        (PeerLook::Said(of_another_key), Asked { rubbish: 3, ..Asked::default() }),
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
fn a_tier_that_a_node_can_not_look_at_is_not_counted_as_right() {
    let told =
        Told { unread: vec![Tier::Shared], ..says_that(&[held(Tier::Local, COMMIT, "new")]) };
    let mut bench = Bench::beside(PeerLook::Said(told));
    bench.commit(Duration::ZERO);
    bench.run(LONG, right);
    let after = &bench.peer().after[1];
    assert_eq!((after.checked, after.local.checks, after.shared.checks), (1, 1, 0));
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut bench = Bench::new();
    bench.peers = vec![PeerLook::Said(says_that(&[held(Tier::Local, Lsn(50), "old")])); 40];
    bench.commit(Duration::ZERO);
    bench.run(LONG, right);
    assert!(bench.auditor.report().peers.is_empty());
    assert_eq!(bench.auditor.report().found, 0);
}

#[test]
fn positions_of_another_log_prove_nothing_but_time_does() {
    let old = says_that(&[held(Tier::Local, Lsn(50), "old")]);
    for epoch in [None, Some(Epoch { timeline: 2, ..EPOCH })] {
        let mut bench = Bench::beside(PeerLook::Said(Told { epoch, ..old.clone() }));
        bench.commit(Duration::ZERO);
        bench.run(Duration::from_millis(150), right);
        assert_eq!(bench.counts_there()[0], (0, 0), "it has only just been seen to differ");
        bench.run(LONG, right);
        assert_eq!(bench.counts_there(), [(1, 1); 3], "it still does");
    }
}

#[test]
fn an_entry_that_was_replaced_before_the_second_look_is_not_called_stale() {
    let claims = |text| PeerLook::Said(says_that(&[held(Tier::Shared, COMMIT, text)]));
    let mut bench = Bench::beside(claims("old"));
    bench.commit(Duration::ZERO);
    bench.run(Duration::from_millis(150), right);
    bench.peers = vec![claims("new")];
    bench.run(LONG, right);
    assert_eq!(bench.counts_there(), [(1, 0); 3]);
    assert_eq!(bench.auditor.report().found, 0);
}

#[test]
fn sampled_answers_are_compared_with_what_other_nodes_would_say() {
    let answer = || Note::Answer(Answered { named: named(), content: says("new") });
    let sampled = |bench: &Bench| {
        let Sampled { compared, agreed, stale } = bench.peer().samples;
        (compared, agreed, stale)
    };
    let mut bench = Bench::beside(PeerLook::Said(says_that(&[])));
    bench.note(answer());
    bench.run(LONG, right);
    assert_eq!(sampled(&bench), (0, 0, 0), "it would answer nothing from a tier");
    bench.peers = vec![PeerLook::Said(says_that(&[held(Tier::Local, COMMIT, "new")]))];
    bench.note(answer());
    bench.run(LONG, right);
    assert_eq!(sampled(&bench), (1, 1, 0));
    bench.peers = vec![PeerLook::Said(says_that(&[held(Tier::Local, COMMIT, "old")]))];
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
fn an_entry_of_another_node_that_is_stale_for_a_minute_is_sticky() {
    let mut bench = Bench::beside(PeerLook::Said(says_that(&[held(Tier::Local, Lsn(50), "old")])));
    bench.commit(Duration::ZERO);
    bench.run(LONG * 3, right);
    let report = bench.auditor.report();
    assert_eq!((report.sticky, report.findings[0].sticky), (1, Some(true)));
}
