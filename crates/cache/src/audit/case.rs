//! One key under observation, and how what is seen of it is judged.

use std::time::Duration;

use coherence::{Lsn, Mono};

use super::finding::{Cause, Finding, Moment};
use super::note::Named;
use super::place::{Nodes, Place};
use super::seen::{Digest, Held};
use crate::engine::{Answers, Tier};

/// Looks take time and two machines' clocks differ: less than this breaks no promise.
const GRACE: Duration = Duration::from_millis(50);

/// What is to be done for a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Task {
    /// Look, so long after the commit.
    After(usize),
    /// Look again at what differed T ago, at these nodes.
    Confirm(usize, Nodes),
    /// Compare an answer.
    Sample,
    /// Look again at what differed from a sampled answer's truth, at these nodes.
    SampleConfirm(Nodes),
    /// Look whether a stale entry is still there.
    Sticky(Place),
}

/// Why a key is observed.
#[derive(Debug)]
pub(super) enum Origin {
    Event { lsn: Lsn, committed: Mono, committed_us: u64 },
    Answer(Digest),
}

/// What a tier's entry is, compared with the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judged {
    /// It would not be given to anybody, or there is none.
    Silent,
    /// The database says the same.
    Right,
    /// The database says something else.
    Older(Older),
}

/// How an entry is older than the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Older {
    /// Since when: by the database's own time of the commit, or since it was seen to differ.
    pub(super) since: Mono,
    /// By when the database is known to have shown what is missing. The time that a database gives to
    /// a commit lies before the commit is flushed, replicated and visible, and an answer promises only
    /// what was visible.
    pub(super) visible: Mono,
    /// Its τ lies below the commit: no need to wait.
    pub(super) by_position: bool,
    /// This entry was not seen to differ before.
    pub(super) anew: bool,
}

/// An entry that differed.
#[derive(Clone, Debug)]
struct Differs {
    digest: Digest,
    loaded_ms: u64,
    since: Mono,
    /// When the database had said something else for the first time.
    seen: Mono,
}

/// A key under observation.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) named: Named,
    pub(super) origin: Origin,
    /// How many tasks are planned.
    pub(super) tasks: usize,
    budget: Duration,
    /// By place.
    differs: Vec<Option<Differs>>,
}

impl Case {
    pub(super) fn new(named: Named, budget: Duration, origin: Origin) -> Self {
        Self { named, origin, tasks: 0, budget, differs: Vec::new() }
    }

    /// The commit that it is about.
    pub(super) fn event(&self) -> Option<Lsn> {
        match self.origin {
            Origin::Event { lsn, .. } => Some(lsn),
            Origin::Answer(_) => None,
        }
    }

    /// Whether this place differed when it was last looked at.
    pub(super) fn differs(&self, place: Place) -> bool {
        self.differs.get(place.index()).is_some_and(Option::is_some)
    }

    /// Judges what a place held against what the database said at `done`, and remembers.
    /// `comparable`: its positions are of the log that this case's event is of. `shown`: by when that
    /// event's commit is known to have been visible.
    pub(super) fn judge(
        &mut self,
        place: Place,
        held: Option<&Held>,
        comparable: bool,
        shown: Option<Mono>,
        (truth, done): (Digest, Mono),
    ) -> Judged {
        if self.differs.len() <= place.index() {
            self.differs.resize(place.index() + 1, None);
        }
        let differs = &mut self.differs[place.index()];
        let Some(held) = held.filter(|held| held.answers != Answers::No) else {
            *differs = None;
            return Judged::Silent;
        };
        if held.digest == truth {
            *differs = None;
            return Judged::Right;
        }
        let before = differs
            .take()
            .filter(|before| before.loaded_ms == held.loaded_ms && before.digest == held.digest);
        let anew = before.is_none();
        let by_commit = match self.origin {
            Origin::Event { lsn, committed, .. } if comparable && held.tau < lsn => Some(committed),
            Origin::Event { .. } | Origin::Answer(_) => None,
        };
        let since = by_commit.or(before.as_ref().map(|before| before.since)).unwrap_or(done);
        let seen = before.as_ref().map_or(done, |before| before.seen);
        let visible = shown.filter(|_| by_commit.is_some()).map_or(seen, |shown| shown.min(seen));
        *differs = Some(Differs { digest: held.digest, loaded_ms: held.loaded_ms, since, seen });
        Judged::Older(Older { since, visible, by_position: by_commit.is_some(), anew })
    }

    /// Whether a stale entry breaks a promise: the contract's, and the bound's. `missing`: for how long
    /// it is known to have missed something visible.
    fn breaks(&self, held: &Held, missing: Duration) -> (bool, bool) {
        let beyond = held.answers == Answers::Fresh && missing > self.budget + GRACE;
        (beyond, held.bound().is_some_and(|bound| bound + GRACE < missing))
    }

    /// What there is to say about a stale entry of this node: for how long it is behind the commit, and for
    /// how long it is known to have missed something visible. `from`: where this node had it from
    /// when it stored it, if the recorder knows.
    pub(super) fn finding(
        &self,
        held: &Held,
        t: Duration,
        (behind, missing): (Duration, Duration),
        wall_ms: u64,
        from: Option<Tier>,
    ) -> Finding {
        let (beyond_contract, bound_broken) = self.breaks(held, missing);
        Finding {
            tau: Some(held.tau.to_string()),
            loaded_ms: Some(held.loaded_ms),
            applied: Some(held.applied.to_string()),
            bound_ms: held.bound().map(ms),
            beyond_contract,
            bound_broken,
            rule: self.rule(held, from),
            found_ms: wall_ms,
            ..self.blank(held.tier, t, behind)
        }
    }

    /// The same about an entry of another node, called `name`. Nodes may differ within the bounds
    /// that they show: that is no finding, and there is nothing to say.
    pub(super) fn finding_elsewhere(
        &self,
        name: &str,
        held: &Held,
        t: Duration,
        times: (Duration, Duration),
        wall_ms: u64,
    ) -> Option<Finding> {
        let finding = Finding {
            node: Some(name.to_owned()),
            rule: self.rule_elsewhere(name, held),
            story: vec![told(name, held, wall_ms)],
            ..self.finding(held, t, times, wall_ms, None)
        };
        finding.breaks_a_promise().then_some(finding)
    }

    /// An event that came `late` removed a copy that was older for as long.
    pub(super) fn overslept(&self, t: Duration, late: Duration, committed_us: u64) -> Finding {
        let late_ms = late.as_millis();
        Finding {
            rule: format!(
                "delivery: the event reached this node {late_ms} ms after the commit, and removed the \
                 copy then; until it came the bound of every answer grew"
            ),
            found_ms: committed_us / 1_000 + u64::try_from(late_ms).unwrap_or(u64::MAX),
            ..self.blank(Tier::Local, t, late)
        }
    }

    fn blank(&self, tier: Tier, t: Duration, behind: Duration) -> Finding {
        let (noticed_by, event) = match &self.origin {
            Origin::Event { lsn, committed_us, .. } => {
                let (position, committed_us) = (lsn.to_string(), *committed_us);
                ("invalidation", Some(Cause { position, cause: "commit".into(), committed_us }))
            }
            Origin::Answer(_) => ("answer", None),
        };
        Finding {
            number: 0,
            node: None,
            key: self.named.key.to_string(),
            contract: self.named.contract.to_string(),
            tier: tier.as_str().to_owned(),
            noticed_by: noticed_by.to_owned(),
            stale_after_s: vec![t.as_secs_f64()],
            tau: None,
            loaded_ms: None,
            applied: None,
            event,
            behind_ms: ms(behind),
            bound_ms: None,
            budget_ms: ms(self.budget),
            beyond_contract: false,
            bound_broken: false,
            sticky: None,
            rule: String::new(),
            story: Vec::new(),
            found_ms: 0,
        }
    }

    /// Which rule should have removed the entry, and what it says that none did.
    fn rule(&self, held: &Held, from: Option<Tier>) -> String {
        let (tau, applied, tier) = (held.tau, held.applied, held.tier.as_str());
        match self.event() {
            Some(event) if tau < event && applied < event => format!(
                "delivery: the {tier} tier has applied {applied} and not yet the event at {event}; \
                 the log or the node stream is behind, and the bound of its answers grows"
            ),
            Some(event) if tau < event => format!(
                "tombstone: the {tier} tier has applied {applied}, with the event at {event}, which \
                 removes entries with τ < {event}; it still has this one with τ = {tau}"
            ),
            _ if from == Some(Tier::Shared) => format!(
                "copy: this node took it from the shared tier with τ = {tau}, so it is as old as what \
                 was there; the finding about the shared tier says why"
            ),
            _ if from.is_none() => format!(
                "none: its τ = {tau} claims that it was read after the commit, so no rule removes it, \
                 and this node's flight recorder has no fill of the {tier} tier with that τ. It was \
                 written by another node, too long ago, or by a foreign hand"
            ),
            Some(_) => format!(
                "watermark: it was loaded with τ = {tau}, that is, after every commit up to there was \
                 visible, and yet the origin gave an older value. Does the contract's statement read \
                 the primary, and nothing that changes by itself, such as now()?"
            ),
            None => format!(
                "mapping: no event has named this key since it was stored with τ = {tau}. Does the \
                 contract list every column and table that its value is made from?"
            ),
        }
    }
}

impl Case {
    /// The same about a tier of the node called `name`.
    fn rule_elsewhere(&self, name: &str, held: &Held) -> String {
        let (tau, applied, tier) = (held.tau, held.applied, held.tier.as_str());
        match self.event() {
            Some(event) if tau < event && applied < event => format!(
                "delivery: the {tier} tier of {name} has applied {applied} and not the event at \
                 {event}, and yet its answers show a bound that ends after the commit"
            ),
            Some(event) if tau < event => format!(
                "tombstone: the {tier} tier of {name} has applied {applied}, with the event at \
                 {event}, which removes entries with τ < {event}; it still has this one with τ = {tau}"
            ),
            _ => format!(
                "none: the entry in the {tier} tier of {name} claims with τ = {tau} that it was read \
                 late enough, and differs from the database; `tidegate audit` of that node knows \
                 where it came from"
            ),
        }
    }
}

/// What another node said, as the last line of a finding's story.
fn told(name: &str, held: &Held, at_ms: u64) -> Moment {
    let answers = match held.answers {
        Answers::Fresh => "gives it as fresh",
        Answers::Marked => "gives it, marked as stale",
        Answers::No => "would not give it",
    };
    let bound =
        held.bound().map_or("no bound".into(), |bound| format!("a bound of {:.0} ms", ms(bound)));
    let what = format!(
        "{name} said that its {} tier has applied {}, holds an entry with τ = {} and {answers}, with \
         {bound}",
        held.tier.as_str(),
        held.applied,
        held.tau
    );
    Moment { at_ms, what }
}

impl Finding {
    /// Takes up what a later look at the same entry says.
    pub(super) fn extend(&mut self, later: &Self) {
        for t in &later.stale_after_s {
            if !self.stale_after_s.contains(t) {
                self.stale_after_s.push(*t);
            }
        }
        self.behind_ms = self.behind_ms.max(later.behind_ms);
        self.bound_ms = later.bound_ms;
        self.applied.clone_from(&later.applied);
        self.beyond_contract |= later.beyond_contract;
        self.bound_broken |= later.bound_broken;
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
