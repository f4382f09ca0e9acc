//! A case: one key under observation, and the comparison of its entries with the database.

use std::time::Duration;

use coherence::{Lsn, Mono};

use super::finding::{Finding, FindingEvent, TimelineEntry};
use super::node_tier::{NodeSet, NodeTier};
use super::peer_reply::{Digest, EntrySummary};
use crate::engine::observer::LoadTarget;
use crate::engine::{ServedAs, Tier};

/// Checks take time and the clocks of two machines differ: a shorter excess violates no guarantee.
const GRACE: Duration = Duration::from_millis(50);

/// A planned check of a case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Task {
    /// Check at this delay after the commit, by its index in the schedule.
    Check(usize),
    /// Check again the entries of these nodes that differed T ago.
    Confirm(usize, NodeSet),
    /// Compare a sampled answer.
    Sample,
    /// Check again the entries of these nodes that differed when a sampled answer was compared.
    ConfirmSample(NodeSet),
    /// Check whether a stale entry is still served.
    Sticky(NodeTier),
}

/// The reason for observing a key.
#[derive(Debug)]
pub(super) enum Trigger {
    Invalidation {
        lsn: Lsn,
        committed: Mono,
        committed_us: u64,
    },
    Answer(Digest),
    /// The turn of a stored entry.
    Stored,
}

/// The comparison of a tier's entry with the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    /// It would not be served, or there is none.
    NotServed,
    /// The database agrees.
    Equal,
    /// The database differs.
    Stale(Staleness),
}

/// How an entry is older than the database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Staleness {
    /// The start of the staleness: the commit time by the database's clock, or the first difference.
    pub(super) since: Mono,
    /// The time at which the missing commit is known to have been visible. A database's commit time lies
    /// before the commit is flushed, replicated and visible, and an answer guarantees only visible
    /// commits.
    pub(super) visible: Mono,
    /// Its τ lies below the commit: no second check is needed.
    pub(super) by_position: bool,
    /// This entry has not differed before.
    pub(super) is_new: bool,
}

/// An entry that differed.
#[derive(Clone, Debug)]
struct Difference {
    digest: Digest,
    loaded_ms: u64,
    since: Mono,
    /// The time of the first difference.
    seen: Mono,
}

/// A key under observation.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) target: LoadTarget,
    pub(super) trigger: Trigger,
    /// The number of planned tasks.
    pub(super) tasks: usize,
    budget: Duration,
    /// By the index of the node's tier.
    differences: Vec<Option<Difference>>,
}

impl Case {
    pub(super) fn new(target: LoadTarget, budget: Duration, trigger: Trigger) -> Self {
        Self { target, trigger, tasks: 0, budget, differences: Vec::new() }
    }

    /// The commit that it is for.
    pub(super) fn event(&self) -> Option<Lsn> {
        match self.trigger {
            Trigger::Invalidation { lsn, .. } => Some(lsn),
            Trigger::Answer(_) | Trigger::Stored => None,
        }
    }

    /// Whether the entry of this tier differed at the last check.
    pub(super) fn differs(&self, at: NodeTier) -> bool {
        self.differences.get(at.index()).is_some_and(Option::is_some)
    }

    /// Compares the entry of a tier with the content that the database returned at `done`, and records the
    /// result. `is_comparable`: whether the tier's positions are of the log of this case's event.
    /// `visible_since`: the time at which that event's commit is known to have been visible.
    pub(super) fn compare(
        &mut self,
        at: NodeTier,
        entry: Option<&EntrySummary>,
        is_comparable: bool,
        visible_since: Option<Mono>,
        (truth, done): (Digest, Mono),
    ) -> Comparison {
        if self.differences.len() <= at.index() {
            self.differences.resize(at.index() + 1, None);
        }
        let difference = &mut self.differences[at.index()];
        let Some(entry) = entry.filter(|entry| entry.served_as != ServedAs::NotServed) else {
            *difference = None;
            return Comparison::NotServed;
        };
        if entry.digest == truth {
            *difference = None;
            return Comparison::Equal;
        }
        let before = difference
            .take()
            .filter(|before| before.loaded_ms == entry.loaded_ms && before.digest == entry.digest);
        let is_new = before.is_none();
        let by_commit = match self.trigger {
            Trigger::Invalidation { lsn, committed, .. } if is_comparable && entry.tau < lsn => {
                Some(committed)
            }
            Trigger::Invalidation { .. } | Trigger::Answer(_) | Trigger::Stored => None,
        };
        let since = by_commit.or(before.as_ref().map(|before| before.since)).unwrap_or(done);
        let seen = before.as_ref().map_or(done, |before| before.seen);
        let visible =
            visible_since.filter(|_| by_commit.is_some()).map_or(seen, |visible| visible.min(seen));
        *difference =
            Some(Difference { digest: entry.digest, loaded_ms: entry.loaded_ms, since, seen });
        Comparison::Stale(Staleness { since, visible, by_position: by_commit.is_some(), is_new })
    }

    /// Whether a stale entry violates the guarantee of the contract, and that of its bound. `missing`:
    /// the time for which it is known to have lacked a visible commit.
    fn violations(&self, entry: &EntrySummary, missing: Duration) -> (bool, bool) {
        let beyond = entry.served_as == ServedAs::Fresh && missing > self.budget + GRACE;
        (beyond, entry.bound().is_some_and(|bound| bound + GRACE < missing))
    }

    /// The finding about a stale entry of this node. `behind`: the time since the commit; `missing`: the
    /// time for which it is known to have lacked a visible commit. `from`: the tier that this node had it
    /// from when it stored it, if that is recorded. `fields`: the fields that differ.
    pub(super) fn finding(
        &self,
        entry: &EntrySummary,
        t: Duration,
        (behind, missing): (Duration, Duration),
        wall_ms: u64,
        (from, fields): (Option<Tier>, Vec<String>),
    ) -> Finding {
        let (beyond_contract, bound_broken) = self.violations(entry, missing);
        Finding {
            tau: Some(entry.tau.to_string()),
            loaded_ms: Some(entry.loaded_ms),
            applied: Some(entry.applied.to_string()),
            bound_ms: entry.bound().map(ms),
            beyond_contract,
            bound_broken,
            rule: self.rule(entry, from, &fields),
            fields,
            found_ms: wall_ms,
            ..self.base(entry.tier, t, behind)
        }
    }

    /// The finding about a stale entry of the node `name`. Nodes may differ within the bounds that they show:
    /// that is no finding.
    pub(super) fn peer_finding(
        &self,
        name: &str,
        entry: &EntrySummary,
        t: Duration,
        times: (Duration, Duration),
        wall_ms: u64,
    ) -> Option<Finding> {
        let finding = Finding {
            node: Some(name.to_owned()),
            rule: self.peer_rule(name, entry),
            timeline: vec![reply_entry(name, entry, wall_ms)],
            ..self.finding(entry, t, times, wall_ms, (None, Vec::new()))
        };
        finding.violates_guarantee().then_some(finding)
    }

    /// The finding about an event that arrived `late` and removed a copy that was stale for that time.
    pub(super) fn late_delivery(&self, t: Duration, late: Duration, committed_us: u64) -> Finding {
        let late_ms = late.as_millis();
        Finding {
            rule: format!(
                "delivery: the event reached this node {late_ms} ms after the commit and removed the \
                 copy then; until then the bound of every answer grew"
            ),
            found_ms: committed_us / 1_000 + u64::try_from(late_ms).unwrap_or(u64::MAX),
            ..self.base(Tier::Local, t, late)
        }
    }

    fn base(&self, tier: Tier, t: Duration, behind: Duration) -> Finding {
        let (noticed_by, event) = match &self.trigger {
            Trigger::Invalidation { lsn, committed_us, .. } => {
                let (position, committed_us) = (lsn.to_string(), *committed_us);
                (
                    "invalidation",
                    Some(FindingEvent { position, cause: "commit".into(), committed_us }),
                )
            }
            Trigger::Answer(_) => ("answer", None),
            Trigger::Stored => ("stored", None),
        };
        Finding {
            number: 0,
            node: None,
            key: self.target.key.to_string(),
            contract: self.target.contract.to_string(),
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
            fields: Vec::new(),
            rule: String::new(),
            timeline: Vec::new(),
            found_ms: 0,
        }
    }

    /// The rule that should have removed the entry, and an explanation why it did not.
    fn rule(&self, entry: &EntrySummary, from: Option<Tier>, fields: &[String]) -> String {
        let (tau, applied, tier) = (entry.tau, entry.applied, entry.tier.as_str());
        match self.event() {
            Some(event) if tau < event && applied < event => format!(
                "delivery: the {tier} tier has applied {applied} and not yet the event at {event}; \
                 the log or the node stream lags, and the bound of its answers grows"
            ),
            Some(event) if tau < event => format!(
                "tombstone: the {tier} tier has applied {applied} including the event at {event}, which \
                 removes entries with τ < {event}; it still has this one with τ = {tau}"
            ),
            _ if from == Some(Tier::Shared) => format!(
                "copy: this node took it from the shared tier with τ = {tau}, so it is as old as the \
                 entry there; the finding about the shared tier has the reason"
            ),
            _ if from.is_none() => format!(
                "none: its τ = {tau} claims that it was read after the commit, so no rule removes it, \
                 and this node's flight recorder has no fill of the {tier} tier with that τ. It was \
                 written by another node, too long ago, or by another program"
            ),
            Some(_) => format!(
                "watermark: it was loaded with τ = {tau}, that is, after every commit up to there was \
                 visible, and yet the origin returned an older value. Does the contract's statement \
                 read the primary, and nothing that changes by itself, such as now()?"
            ),
            None => {
                let fields = match fields {
                    [] => String::new(),
                    fields => format!(", and `{}` differs", fields.join("`, `")),
                };
                format!(
                    "mapping: no event has named this key since it was stored with τ = {tau}{fields}. \
                     Does the contract `{}` list every column and table that its value is read from?",
                    self.target.contract
                )
            }
        }
    }
}

impl Case {
    /// The rule that a tier of the node `name` violates.
    fn peer_rule(&self, name: &str, entry: &EntrySummary) -> String {
        let (tau, applied, tier) = (entry.tau, entry.applied, entry.tier.as_str());
        match self.event() {
            Some(event) if tau < event && applied < event => format!(
                "delivery: the {tier} tier of {name} has applied {applied} and not the event at \
                 {event}, and yet its answers show a bound that ends after the commit"
            ),
            Some(event) if tau < event => format!(
                "tombstone: the {tier} tier of {name} has applied {applied} including the event at \
                 {event}, which removes entries with τ < {event}; it still has this one with τ = {tau}"
            ),
            _ => format!(
                "none: the entry in the {tier} tier of {name} claims with τ = {tau} that it was read \
                 late enough, and differs from the database; `tidegate audit` of that node shows \
                 its source"
            ),
        }
    }
}

/// The reply of another node, as the last entry of a finding's timeline.
fn reply_entry(name: &str, entry: &EntrySummary, at_ms: u64) -> TimelineEntry {
    let serves = match entry.served_as {
        ServedAs::Fresh => "serves it as fresh",
        ServedAs::Stale => "serves it as stale",
        ServedAs::NotServed => "does not serve it",
    };
    let bound =
        entry.bound().map_or("no bound".into(), |bound| format!("a bound of {:.0} ms", ms(bound)));
    let text = format!(
        "{name} replied that its {} tier has applied {}, has an entry with τ = {} and {serves}, with \
         {bound}",
        entry.tier.as_str(),
        entry.applied,
        entry.tau
    );
    TimelineEntry { at_ms, text }
}

impl Finding {
    /// Merges the finding of a later check of the same entry.
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
