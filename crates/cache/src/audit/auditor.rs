//! The auditor's state machine: notes in, questions out, looks in, report out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Mono, Subject};
use contract::Key;

use super::case::{Case, Judged, Origin, Task};
use super::finding::Finding;
use super::note::{Answered, Felled, Named, Note};
use super::recorder::Recorder;
use super::report::{After, Report};
use super::{AFTER, STICKY};
use crate::engine::{Holding, Tier};
use crate::entry::Content;

/// How much an auditor may do and keep.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Reads of the database per second, on average; a burst may be as large as this.
    pub reads_per_second: f64,
    /// Moments and keys that the flight recorder keeps.
    pub recorder: usize,
    /// Findings kept for the report.
    pub findings: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { reads_per_second: 20.0, recorder: 8_192, findings: 100 }
    }
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Question {
    /// The key, and how to ask for it.
    pub named: Named,
    case: u64,
    task: Task,
    due: Mono,
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
}

/// The tiers, in the order of their counts.
const TIERS: [Tier; 2] = [Tier::Local, Tier::Shared];

/// Lines of a finding's story.
const STORY: usize = 24;

/// How long a sampled answer that differs must stay to be called stale.
const SAMPLE_CONFIRM: Duration = Duration::from_secs(1);

/// The auditor. See the [module](super).
pub struct Auditor {
    options: Options,
    budgets: HashMap<Arc<str>, Duration>,
    recorder: Recorder,
    cases: HashMap<u64, Case>,
    next_case: u64,
    agenda: BTreeMap<(Mono, u64), (u64, Task)>,
    next_task: u64,
    tokens: f64,
    refilled: Mono,
    report: Report,
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
        let mut case = Case::new(answered.named, budget, Origin::Answer(answered.content));
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

    fn keep(&mut self, number: u64, case: Case) {
        if case.tasks > 0 {
            self.cases.insert(number, case);
        }
    }

    fn plan(&mut self, number: u64, case: &mut Case, at: Mono, task: Task) {
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
                let named = case.named.clone();
                return Step::Ask(Question { named, case: number, task, due });
            }
        }
        Step::Idle(None)
    }

    /// Takes what was seen.
    pub fn answered(&mut self, question: &Question, look: &Look) {
        let Some(mut case) = self.cases.remove(&question.case) else { return };
        case.tasks -= 1;
        let (number, task) = (question.case, question.task);
        match (&look.seen, task) {
            (None, _) => self.report.unread += 1,
            (Some((holdings, truth)), Task::After(index)) => {
                let lateness = look.at.since(question.due);
                if lateness > AFTER[index] / 2 {
                    self.report.late += 1;
                } else {
                    self.after(number, &mut case, index, look, holdings, truth);
                }
            }
            (Some((holdings, truth)), Task::Confirm(index)) => {
                let stale = self.confirmed(number, &mut case, AFTER[index], look, holdings, truth);
                for (tier, stale) in TIERS.into_iter().zip(stale) {
                    self.count(index, tier).stale += u64::from(stale);
                }
                self.checked(index, stale.contains(&true));
            }
            (Some((holdings, truth)), Task::Sample) => {
                self.compared(number, &mut case, look, holdings, truth);
            }
            (Some((holdings, truth)), Task::SampleConfirm) => {
                let stale =
                    self.confirmed(number, &mut case, SAMPLE_CONFIRM, look, holdings, truth);
                if stale.contains(&true) {
                    self.report.samples.stale += 1;
                } else {
                    self.report.undecided += 1;
                }
            }
            (Some((holdings, truth)), Task::Sticky(tier)) => {
                let judged = case.judge(tier, holding(holdings, tier), truth, look.done);
                self.stuck(&case, tier, matches!(judged, Judged::Older { anew: false, .. }));
            }
        }
        self.keep(number, case);
    }

    fn after(
        &mut self,
        number: u64,
        case: &mut Case,
        index: usize,
        look: &Look,
        holdings: &[Holding],
        truth: &Content,
    ) {
        let t = AFTER[index];
        let (mut stale, mut confirm_at) = (false, None);
        for tier in TIERS {
            let held = holding(holdings, tier);
            let judged = case.judge(tier, held, truth, look.done);
            let count = self.count(index, tier);
            count.checks += 1;
            count.answering += u64::from(!matches!(judged, Judged::Silent));
            let (Judged::Older { since, by_position, .. }, Some(held)) = (judged, held) else {
                continue;
            };
            if by_position || look.at.since(since) >= t {
                count.stale += 1;
                stale = true;
                self.found(number, case, held, t, since, look);
            } else {
                confirm_at = confirm_at.max(Some(since + t));
            }
        }
        match confirm_at {
            Some(at) if !stale => self.plan(number, case, at, Task::Confirm(index)),
            _ => self.checked(index, stale),
        }
    }

    /// Which tiers still hold what differed T ago.
    fn confirmed(
        &mut self,
        number: u64,
        case: &mut Case,
        t: Duration,
        look: &Look,
        holdings: &[Holding],
        truth: &Content,
    ) -> [bool; 2] {
        TIERS.map(|tier| {
            let held = holding(holdings, tier);
            let differed = case.differs(tier);
            match (case.judge(tier, held, truth, look.done), held) {
                (Judged::Older { since, anew: false, .. }, Some(held)) => {
                    self.found(number, case, held, t, since, look);
                    true
                }
                (Judged::Older { .. }, _) if differed => {
                    self.report.undecided += 1;
                    false
                }
                _ => false,
            }
        })
    }

    fn compared(
        &mut self,
        number: u64,
        case: &mut Case,
        look: &Look,
        holdings: &[Holding],
        truth: &Content,
    ) {
        self.report.samples.compared += 1;
        let Origin::Answer(given) = &case.origin else { return };
        if given == truth {
            self.report.samples.agreed += 1;
            return;
        }
        let still = holdings.iter().any(|held| held.entry.content == *given);
        for tier in TIERS {
            case.judge(tier, holding(holdings, tier), truth, look.done);
        }
        if still {
            self.plan(number, case, look.done + SAMPLE_CONFIRM, Task::SampleConfirm);
        } else {
            self.report.undecided += 1;
        }
    }

    fn checked(&mut self, index: usize, stale: bool) {
        let after = &mut self.report.after[index];
        after.checked += 1;
        after.stale += u64::from(stale);
    }

    fn count(&mut self, index: usize, tier: Tier) -> &mut super::report::TierCount {
        let after = &mut self.report.after[index];
        if tier == Tier::Shared { &mut after.shared } else { &mut after.local }
    }

    /// An event came later than T: the copy it removed was older for that long.
    fn overslept(&mut self, case: &Case, index: usize, given: bool, late: Duration, us: u64) {
        let count = self.count(index, Tier::Local);
        count.checks += 1;
        count.answering += u64::from(given);
        count.stale += u64::from(given);
        self.checked(index, given);
        if given {
            let finding = case.overslept(AFTER[index], late, us);
            self.tell(finding, &case.named.key);
        }
    }

    fn found(
        &mut self,
        number: u64,
        case: &mut Case,
        held: &Holding,
        t: Duration,
        since: Mono,
        look: &Look,
    ) {
        let key = case.named.key.clone();
        let from = self.recorder.stored(&key, held.tier, held.entry.tau);
        let finding = case.finding(held, t, look.at.since(since), look.wall_ms, from);
        if self.tell(finding, &key) {
            self.plan(number, case, since + STICKY, Task::Sticky(held.tier));
        }
    }

    /// Adds a finding, or what it says to the one there is about the same entry; true if it is new.
    fn tell(&mut self, mut finding: Finding, key: &Key) -> bool {
        let same = |old: &&mut Finding| {
            old.key == finding.key
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
        finding.story = self.recorder.story(key, STORY);
        if self.findings.len() == self.options.findings.max(1) {
            self.findings.pop_front();
        }
        self.findings.push_back(finding);
        true
    }

    fn stuck(&mut self, case: &Case, tier: Tier, still: bool) {
        self.report.sticky += u64::from(still);
        let (key, tier) = (case.named.key.as_str(), tier.as_str());
        let about = |finding: &&mut Finding| finding.key == key && finding.tier == tier;
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
        let after = self.report.after.iter().map(|after| after.clone().with_shares());
        let findings = self.findings.iter().cloned().collect();
        Report { after: after.collect(), findings, ..self.report.clone() }
    }
}

fn holding(holdings: &[Holding], tier: Tier) -> Option<&Holding> {
    holdings.iter().find(|holding| holding.tier == tier)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
