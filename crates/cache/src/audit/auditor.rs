//! The auditor's state machine: notes in, questions out, looks in, report out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Epoch, Lsn, Mono, Subject};
use contract::Key;

use super::AFTER;
use super::case::{Case, Origin, Task};
use super::finding::Finding;
use super::note::{Answered, Felled, Named, Note};
use super::place::{MOST_NODES, Place};
use super::recorder::Recorder;
use super::report::{After, Peer, Report};
use super::seen::{Digest, PeerLook};
use crate::engine::Holding;
use crate::entry::Content;

/// How much an auditor may do and keep.
#[derive(Clone, Debug)]
pub struct Options {
    /// Reads of the database per second, on average; a burst may be as large as this.
    pub reads_per_second: f64,
    /// Moments and keys that the flight recorder keeps.
    pub recorder: usize,
    /// Findings kept for the report.
    pub findings: usize,
    /// What digests are salted with; draw it at random.
    pub salt: Arc<str>,
}

impl Default for Options {
    fn default() -> Self {
        Self { reads_per_second: 20.0, recorder: 8_192, findings: 100, salt: "".into() }
    }
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Question {
    /// The key, and how to ask for it.
    pub named: Named,
    /// The commit that the question is about, if it is about one.
    pub event: Option<Lsn>,
    pub(super) case: u64,
    pub(super) task: Task,
    pub(super) due: Mono,
}

/// What an auditor wants now.
#[derive(Debug)]
pub enum Step {
    /// Look, and say what was [seen](Auditor::answered).
    Ask(Question),
    /// Nothing before then; `None`: nothing at all.
    Idle(Option<Mono>),
}

/// What was seen.
#[derive(Debug)]
pub struct Look {
    /// Read before the tiers were looked at.
    pub at: Mono,
    /// Read after the database has answered.
    pub done: Mono,
    /// Wall time, ms since 1970.
    pub wall_ms: u64,
    /// What each tier held, and what the database said *afterwards*. `None`: one of them did not
    /// answer.
    pub seen: Option<(Vec<Holding>, Content)>,
    /// When this node heard that the [commit](Question::event) is visible.
    pub shown: Option<Mono>,
    /// The history that this node's tiers follow.
    pub epoch: Option<Epoch>,
    /// What the other nodes said, in the order of their names; asked when this node's tiers were
    /// looked at, and answered before the database.
    pub peers: Vec<PeerLook>,
}

/// Lines of a finding's story.
const STORY: usize = 24;

/// The auditor. See the [module](super).
pub struct Auditor {
    pub(super) options: Options,
    budgets: HashMap<Arc<str>, Duration>,
    pub(super) recorder: Recorder,
    pub(super) cases: HashMap<u64, Case>,
    next_case: u64,
    agenda: BTreeMap<(Mono, u64), (u64, Task)>,
    next_task: u64,
    tokens: f64,
    refilled: Mono,
    pub(super) report: Report,
    findings: VecDeque<Finding>,
}

impl Auditor {
    /// An auditor of the contracts in `budgets` (name and staleness budget); notes about others are
    /// ignored.
    pub fn new(
        options: Options,
        budgets: impl IntoIterator<Item = (Arc<str>, Duration)>,
        now: Mono,
    ) -> Self {
        let after = AFTER.map(|t| After { seconds: t.as_secs_f64(), ..After::default() });
        Self {
            budgets: budgets.into_iter().collect(),
            recorder: Recorder::new(options.recorder),
            cases: HashMap::new(),
            next_case: 0,
            agenda: BTreeMap::new(),
            next_task: 0,
            tokens: options.reads_per_second,
            refilled: now,
            report: Report { after: after.into(), ..Report::default() },
            findings: VecDeque::new(),
            options,
        }
    }

    /// With other nodes, by name; those beyond the thirty-first are left out.
    #[must_use]
    pub fn with_peers(mut self, names: impl IntoIterator<Item = String>) -> Self {
        let after = self.report.after.clone();
        let peer = |node| Peer { node, after: after.clone(), ..Peer::default() };
        self.report.peers = names.into_iter().take(MOST_NODES - 1).map(peer).collect();
        self
    }

    /// Takes a note of the engine. `wall_us`: wall time in µs since 1970, read at `now`.
    pub fn note(&mut self, note: Note, now: Mono, wall_us: u64) {
        let wall_ms = wall_us / 1_000;
        match note {
            Note::Load(named) if self.audits(&named) => self.recorder.load(&named, wall_ms),
            Note::Fill(filled) if self.audits(&filled.named) => {
                self.recorder.fill(&filled, now, wall_ms);
            }
            Note::Answer(answered) if self.audits(&answered.named) => self.sample(answered, now),
            Note::Event(event) => self.event(&event, now, wall_us),
            Note::Load(_) | Note::Fill(_) | Note::Answer(_) => {}
        }
    }

    fn audits(&self, named: &Named) -> bool {
        self.budgets.contains_key(&named.contract)
    }

    /// So many notes never arrived.
    pub fn dropped(&mut self, notes: u64) {
        self.report.dropped = notes;
    }

    /// Takes so many reads from the budget, if they are there.
    fn afford(&mut self, reads: usize, now: Mono) -> bool {
        let rate = self.options.reads_per_second;
        let fresh = now.since(self.refilled).as_secs_f64() * rate;
        self.refilled = now;
        let cost = reads as f64;
        self.tokens = (self.tokens + fresh).min(rate.max(AFTER.len() as f64));
        let affordable = self.tokens >= cost;
        if affordable {
            self.tokens -= cost;
        }
        affordable
    }

    fn event(&mut self, event: &Felled, now: Mono, wall_us: u64) {
        let mut keys: Vec<&Key> = Vec::new();
        let named = event.subjects.iter().filter_map(|subject| match subject {
            Subject::Key(key) => Some(key),
            _ => None,
        });
        for key in event.felled.iter().chain(&event.loading).chain(named) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let delay = Duration::from_micros(wall_us.saturating_sub(event.committed_us));
        for key in keys {
            let Some(known) = self.recorder.known(key) else { continue };
            let (id, contract) = (Arc::clone(&known.id), Arc::clone(&known.contract));
            let met = event.felled.contains(key)
                || event.loading.contains(key)
                || known.shared_until > now;
            self.recorder.event(event, key, wall_us / 1_000);
            // Only a commit changes what the database says.
            if !met || event.cause != Cause::Commit {
                continue;
            }
            self.report.met += 1;
            if !self.afford(AFTER.len(), now) {
                self.report.paced += 1;
                continue;
            }
            let named = Named { key: key.clone(), id, contract };
            let committed = Mono(now.0.saturating_sub(nanos(delay)));
            self.open(named, event, committed, delay);
        }
    }

    /// Begins to watch a key after a commit.
    fn open(&mut self, named: Named, event: &Felled, committed: Mono, delay: Duration) {
        let budget = self.budget(&named);
        let origin = Origin::Event { lsn: event.lsn, committed, committed_us: event.committed_us };
        let felled = event.felled.contains(&named.key);
        let mut case = Case::new(named, budget, origin);
        let number = self.number();
        for (index, t) in AFTER.into_iter().enumerate() {
            if delay < t {
                self.plan(number, &mut case, committed + t, Task::After(index));
            } else if felled {
                // The copy was there until the event came, and would have been given out while its
                // bound was within the budget.
                self.overslept(&case, index, t <= budget, delay, event.committed_us);
            } else {
                self.report.late += 1;
            }
        }
        self.keep(number, case);
    }

    fn sample(&mut self, answered: Answered, now: Mono) {
        self.recorder.meet(&answered.named);
        if !self.afford(1, now) {
            return;
        }
        let budget = self.budget(&answered.named);
        let given = Digest::of(&self.options.salt, &answered.content);
        let mut case = Case::new(answered.named, budget, Origin::Answer(given));
        let number = self.number();
        self.plan(number, &mut case, now, Task::Sample);
        self.keep(number, case);
    }

    fn budget(&self, named: &Named) -> Duration {
        self.budgets.get(&named.contract).copied().unwrap_or_default()
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

    /// What is to be done at `now`.
    pub fn next(&mut self, now: Mono) -> Step {
        while let Some(first) = self.agenda.first_entry() {
            let due = first.key().0;
            if due > now {
                return Step::Idle(Some(due));
            }
            let (number, task) = first.remove();
            if let Some(case) = self.cases.get(&number) {
                let (named, event) = (case.named.clone(), case.event());
                return Step::Ask(Question { named, event, case: number, task, due });
            }
        }
        Step::Idle(None)
    }

    /// Adds a finding, or what it says to the one there is about the same entry; true if it is new.
    pub(super) fn tell(&mut self, mut finding: Finding, key: &Key) -> bool {
        let same = |old: &&mut Finding| {
            old.key == finding.key
                && old.node == finding.node
                && old.tier == finding.tier
                && old.loaded_ms == finding.loaded_ms
                && old.event == finding.event
        };
        if let Some(old) = self.findings.iter_mut().rev().find(same) {
            let broken = old.breaks_a_promise();
            old.extend(&finding);
            self.report.broken += u64::from(old.breaks_a_promise() && !broken);
            return false;
        }
        self.report.found += 1;
        self.report.broken += u64::from(finding.breaks_a_promise());
        finding.number = self.report.found;
        let told = std::mem::replace(&mut finding.story, self.recorder.story(key, STORY));
        finding.story.extend(told);
        if self.findings.len() == self.options.findings.max(1) {
            // What breaks a promise stays as long as there is anything else.
            let lesser = self.findings.iter().position(|old| !old.breaks_a_promise());
            self.findings.remove(lesser.unwrap_or(0));
        }
        self.findings.push_back(finding);
        true
    }

    pub(super) fn stuck(&mut self, case: &Case, place: Place, still: bool) {
        self.report.sticky += u64::from(still);
        let (key, tier) = (case.named.key.as_str(), place.tier.as_str());
        let node = self.name(place.node).map(str::to_owned);
        let about = |finding: &&mut Finding| {
            finding.key == key && finding.tier == tier && finding.node == node
        };
        if let Some(finding) = self.findings.iter_mut().rev().find(about) {
            finding.sticky = Some(still);
        }
    }

    /// What has been counted so far: a report without its findings and shares.
    #[must_use]
    pub fn counts(&self) -> &Report {
        &self.report
    }

    /// Everything found so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let shares = |after: &[After]| after.iter().cloned().map(After::with_shares).collect();
        let findings = self.findings.iter().cloned().collect();
        let mut report = Report { findings, ..self.report.clone() };
        report.after = shares(&report.after);
        for peer in &mut report.peers {
            peer.after = shares(&peer.after);
        }
        report
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
