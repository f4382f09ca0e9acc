//! The auditor's state machine: events in, checks out, observations in, report out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Epoch, Lsn, Mono, Subject};
use contract::Key;

use super::case::{Case, Task, Trigger};
use super::finding::Finding;
use super::node_tier::{MAX_NODES, NodeTier};
use super::peer_reply::{Digest, PeerOutcome};
use super::recorder::Recorder;
use super::report::{AuditReport, Consistency, PeerReport};
use super::schedule::CHECK_DELAYS;
use crate::engine::TierEntry;
use crate::engine::observer::{AnswerRecord, EngineEvent, InvalidationRecord, LoadTarget};
use crate::entry::Content;

/// The limits of an auditor.
#[derive(Clone, Debug)]
pub struct AuditorOptions {
    /// Reads of the database per second, on average; a burst may be as large as this.
    pub reads_per_second: f64,
    /// Stored entries that are compared per second, in turn, while no check of a commit is due. Their reads
    /// are part of `reads_per_second`, at most half of it. 0: none.
    pub stored_per_second: f64,
    /// Events and keys that the flight recorder keeps.
    pub recorder: usize,
    /// Findings kept for the report.
    pub findings: usize,
    /// The salt of digests; draw it at random.
    pub salt: Arc<str>,
}

impl Default for AuditorOptions {
    fn default() -> Self {
        Self {
            reads_per_second: 20.0,
            stored_per_second: 0.0,
            recorder: 8_192,
            findings: 100,
            salt: "".into(),
        }
    }
}

impl AuditorOptions {
    /// Returns the time between two comparisons of stored entries, if there are any.
    fn stored_interval(&self) -> Option<Duration> {
        let rate = self.stored_per_second;
        (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate))
    }
}

/// A check to make: inspect the tiers, then read the database.
#[derive(Clone, Debug)]
pub struct Check {
    /// The key with the arguments that load it.
    pub target: LoadTarget,
    /// The commit that the check is for, if it is for one.
    pub event: Option<Lsn>,
    pub(super) case: u64,
    pub(super) task: Task,
    pub(super) due: Mono,
}

/// The auditor's next step.
#[derive(Debug)]
pub enum AuditorStep {
    /// Make this check and pass its observation to [`Auditor::complete`].
    Check(Check),
    /// No check is due before this time; `None`: none is planned.
    Idle(Option<Mono>),
}

/// The result of a check.
#[derive(Debug)]
pub struct Observation {
    /// The time before the tiers were inspected.
    pub at: Mono,
    /// The time after the database answered.
    pub done: Mono,
    /// Wall time, ms since 1970.
    pub wall_ms: u64,
    /// The entry of each tier, and the content that the database returned *afterwards*. `None`: one of them
    /// did not answer.
    pub found: Option<(Vec<TierEntry>, Content)>,
    /// The time at which this node learned that the [commit](Check::event) is visible.
    pub visible_since: Option<Mono>,
    /// The epoch that this node's tiers follow.
    pub epoch: Option<Epoch>,
    /// The outcomes of the requests to the other nodes, in the order of their names; sent when this node's
    /// tiers were inspected, and finished before the database was read.
    pub peers: Vec<PeerOutcome>,
}

/// The maximum length of a finding's timeline.
const TIMELINE_LENGTH: usize = 24;

/// The auditor. See the [module](super).
pub struct Auditor {
    pub(super) options: AuditorOptions,
    budgets: HashMap<Arc<str>, Duration>,
    pub(super) recorder: Recorder,
    pub(super) cases: HashMap<u64, Case>,
    next_case: u64,
    agenda: BTreeMap<(Mono, u64), (u64, Task)>,
    next_task: u64,
    tokens: f64,
    refilled: Mono,
    /// The time of the next comparison of a stored entry; `None`: there is none.
    next_stored: Option<Mono>,
    pub(super) report: AuditReport,
    findings: VecDeque<Finding>,
}

impl Auditor {
    /// Creates an auditor of the contracts in `budgets` (name and staleness budget); events of other
    /// contracts are ignored.
    pub fn new(
        options: AuditorOptions,
        budgets: impl IntoIterator<Item = (Arc<str>, Duration)>,
        now: Mono,
    ) -> Self {
        let consistency = CHECK_DELAYS
            .map(|t| Consistency { seconds: t.as_secs_f64(), ..Consistency::default() });
        Self {
            budgets: budgets.into_iter().collect(),
            recorder: Recorder::new(options.recorder),
            cases: HashMap::new(),
            next_case: 0,
            agenda: BTreeMap::new(),
            next_task: 0,
            tokens: options.reads_per_second,
            refilled: now,
            next_stored: options.stored_interval().map(|interval| now + interval),
            report: AuditReport { consistency: consistency.into(), ..AuditReport::default() },
            findings: VecDeque::new(),
            options,
        }
    }

    /// Adds other nodes, by name; those beyond the thirty-first are left out.
    #[must_use]
    pub fn with_peers(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let consistency = self.report.consistency.clone();
        let peer =
            |node| PeerReport { node, consistency: consistency.clone(), ..PeerReport::default() };
        self.report.peers = names.into_iter().take(MAX_NODES - 1).map(peer).collect();
        self
    }

    /// Records an event of the engine. `wall_us`: wall time in µs since 1970, read at `now`.
    pub fn observe(&mut self, event: EngineEvent, now: Mono, wall_us: u64) {
        let wall_ms = wall_us / 1_000;
        match event {
            EngineEvent::Load(target) if self.audits(&target) => {
                self.recorder.load(&target, wall_ms)
            }
            EngineEvent::Fill(filled) if self.audits(&filled.target) => {
                self.recorder.fill(&filled, now, wall_ms);
            }
            EngineEvent::Answer(answered) if self.audits(&answered.target) => {
                self.sample(answered, now)
            }
            EngineEvent::Invalidation(event) => self.event(&event, now, wall_us),
            EngineEvent::Load(_) | EngineEvent::Fill(_) | EngineEvent::Answer(_) => {}
        }
    }

    fn audits(&self, target: &LoadTarget) -> bool {
        self.budgets.contains_key(&target.contract)
    }

    /// Sets the number of events that were lost before they reached the auditor.
    pub fn set_dropped(&mut self, events: u64) {
        self.report.dropped = events;
    }

    /// Takes `reads` from the budget, if it has that many beside `reserve`.
    fn spend_reads(&mut self, reads: usize, reserve: f64, now: Mono) -> bool {
        let rate = self.options.reads_per_second;
        let fresh = now.since(self.refilled).as_secs_f64() * rate;
        self.refilled = now;
        let cost = reads as f64;
        self.tokens = (self.tokens + fresh).min(rate.max(CHECK_DELAYS.len() as f64));
        let affordable = self.tokens >= cost + reserve;
        if affordable {
            self.tokens -= cost;
        }
        affordable
    }

    fn event(&mut self, event: &InvalidationRecord, now: Mono, wall_us: u64) {
        let mut keys: Vec<&Key> = Vec::new();
        let named = event.subjects.iter().filter_map(|subject| match subject {
            Subject::Key(key) => Some(key),
            _ => None,
        });
        for key in event.invalidated.iter().chain(&event.loading).chain(named) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let delay = Duration::from_micros(wall_us.saturating_sub(event.committed_us));
        for key in keys {
            let Some(known) = self.recorder.get(key) else { continue };
            let (id, contract) = (Arc::clone(&known.id), Arc::clone(&known.contract));
            let is_met = event.invalidated.contains(key)
                || event.loading.contains(key)
                || known.shared_until > now;
            self.recorder.event(event, key, wall_us / 1_000);
            // Only a commit changes the content of the database.
            if !is_met || event.cause != Cause::Commit {
                continue;
            }
            self.report.met += 1;
            if !self.spend_reads(CHECK_DELAYS.len(), 0.0, now) {
                self.report.paced += 1;
                continue;
            }
            let target = LoadTarget { key: key.clone(), id, contract };
            let committed = Mono(now.0.saturating_sub(nanos(delay)));
            self.open(target, event, committed, delay);
        }
    }

    /// Opens a case for a key after a commit.
    fn open(
        &mut self,
        target: LoadTarget,
        event: &InvalidationRecord,
        committed: Mono,
        delay: Duration,
    ) {
        let budget = self.budget(&target);
        let trigger =
            Trigger::Invalidation { lsn: event.lsn, committed, committed_us: event.committed_us };
        let invalidated = event.invalidated.contains(&target.key);
        let mut case = Case::new(target, budget, trigger);
        let number = self.number();
        for (index, t) in CHECK_DELAYS.into_iter().enumerate() {
            if delay < t {
                self.plan(number, &mut case, committed + t, Task::Check(index));
            } else if invalidated {
                // The copy was stored until the event arrived, and was served while its bound was within the
                // budget.
                self.record_late_delivery(&case, index, t <= budget, delay, event.committed_us);
            } else {
                self.report.late += 1;
            }
        }
        self.keep(number, case);
    }

    fn sample(&mut self, answered: AnswerRecord, now: Mono) {
        self.recorder.remember(&answered.target);
        if !self.spend_reads(1, 0.0, now) {
            return;
        }
        let budget = self.budget(&answered.target);
        let given = Digest::of(&self.options.salt, &answered.content);
        let mut case = Case::new(answered.target, budget, Trigger::Answer(given));
        let number = self.number();
        self.plan(number, &mut case, now, Task::Sample);
        self.keep(number, case);
    }

    fn budget(&self, target: &LoadTarget) -> Duration {
        self.budgets.get(&target.contract).copied().unwrap_or_default()
    }

    fn number(&mut self) -> u64 {
        self.next_case += 1;
        self.next_case
    }

    pub(super) fn keep(&mut self, number: u64, case: Case) {
        if case.tasks > 0 {
            self.cases.insert(number, case);
        }
    }

    pub(super) fn plan(&mut self, number: u64, case: &mut Case, at: Mono, task: Task) {
        self.next_task += 1;
        self.agenda.insert((at, self.next_task), (number, task));
        case.tasks += 1;
    }

    /// Returns the next step at `now`.
    pub fn next(&mut self, now: Mono) -> AuditorStep {
        while let Some(first) = self.agenda.first_entry() {
            let due = first.key().0;
            if due > now {
                return self.next_stored(now).unwrap_or_else(|| {
                    AuditorStep::Idle(Some(self.next_stored.map_or(due, |at| at.min(due))))
                });
            }
            let (number, task) = first.remove();
            if let Some(case) = self.cases.get(&number) {
                let (target, event) = (case.target.clone(), case.event());
                return AuditorStep::Check(Check { target, event, case: number, task, due });
            }
        }
        self.next_stored(now).unwrap_or(AuditorStep::Idle(self.next_stored))
    }

    /// Returns the comparison of the stored entry whose turn it is, if the time for one has come and half of
    /// the reads is left for commits. It finds differences that no event announces, such as those of a column,
    /// a view or a table that a contract does not watch.
    fn next_stored(&mut self, now: Mono) -> Option<AuditorStep> {
        let interval = self.options.stored_interval()?;
        if self.next_stored? > now {
            return None;
        }
        self.next_stored = Some(now + interval);
        let reserve = self.options.reads_per_second / 2.0;
        let target = self.recorder.next_target()?;
        if !self.spend_reads(1, reserve, now) {
            return None;
        }
        let budget = self.budget(&target);
        let mut case = Case::new(target.clone(), budget, Trigger::Stored);
        case.tasks = 1;
        let number = self.number();
        self.keep(number, case);
        Some(AuditorStep::Check(Check {
            target,
            event: None,
            case: number,
            task: Task::Sample,
            due: now,
        }))
    }

    /// Adds a finding, or merges it into the one about the same entry. Returns whether it is new.
    pub(super) fn add_finding(&mut self, mut finding: Finding, key: &Key) -> bool {
        let same = |old: &&mut Finding| {
            old.key == finding.key
                && old.node == finding.node
                && old.tier == finding.tier
                && old.loaded_ms == finding.loaded_ms
                // A difference that is found in turn may be that of an earlier finding.
                && (old.event == finding.event || finding.noticed_by == "stored")
        };
        if let Some(old) = self.findings.iter_mut().rev().find(same) {
            let was_violation = old.violates_guarantee();
            old.extend(&finding);
            self.report.broken += u64::from(old.violates_guarantee() && !was_violation);
            return false;
        }
        self.report.found += 1;
        self.report.broken += u64::from(finding.violates_guarantee());
        finding.number = self.report.found;
        let timeline = self.recorder.timeline(key, TIMELINE_LENGTH);
        let remote = std::mem::replace(&mut finding.timeline, timeline);
        finding.timeline.extend(remote);
        if self.findings.len() == self.options.findings.max(1) {
            // Violations of a guarantee are dropped last.
            let minor = self.findings.iter().position(|old| !old.violates_guarantee());
            self.findings.remove(minor.unwrap_or(0));
        }
        self.findings.push_back(finding);
        true
    }

    /// Records whether a stale entry is still served after [`STICKY_AFTER`](super::schedule::STICKY_AFTER).
    pub(super) fn record_sticky(&mut self, case: &Case, at: NodeTier, is_sticky: bool) {
        self.report.sticky += u64::from(is_sticky);
        let (key, tier) = (case.target.key.as_str(), at.tier.as_str());
        let node = self.name(at.node).map(str::to_owned);
        let about = |finding: &&mut Finding| {
            finding.key == key && finding.tier == tier && finding.node == node
        };
        if let Some(finding) = self.findings.iter_mut().rev().find(about) {
            finding.sticky = Some(is_sticky);
        }
    }

    /// Returns the counts: a report without its findings and shares.
    #[must_use]
    pub fn counts(&self) -> &AuditReport {
        &self.report
    }

    /// Returns the report since the start.
    #[must_use]
    pub fn report(&self) -> AuditReport {
        let shares =
            |counts: &[Consistency]| counts.iter().cloned().map(Consistency::with_shares).collect();
        let findings = self.findings.iter().cloned().collect();
        let mut report = AuditReport { findings, ..self.report.clone() };
        report.consistency = shares(&report.consistency);
        for peer in &mut report.peers {
            peer.consistency = shares(&peer.consistency);
        }
        report
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
