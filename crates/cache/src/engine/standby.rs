//! Loads from standbys, which spare the primary.
//!
//! A standby is asked if, as far as is known, it is near enough for the contract's budget; those that
//! are take turns. What it answers is used if it turns out to be near enough
//! ([`coherence::standby`]). Otherwise, and whenever a standby fails, the primary is asked as if there
//! were no standbys: a standby costs time, never an answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coherence::{Lsn, Mono, Need, Unfit};
use contract::Class;
use parking_lot::Mutex;

use super::answer::ReadError;
use super::ask::Start;
use super::gate::{Gate, Question};
use super::load::Job;
use super::options::EngineOptions;
use super::{Engine, Inner};
use crate::origin::{Ask, Loaded, LoadedMany, Origin};

/// A standby has this part of the time of a load: the primary may have to be asked after it.
const SHARE: u32 = 4;

/// What is remembered about standbys.
#[derive(Default)]
pub(super) struct Standbys {
    /// Apart from those of origins: nobody's budget is spent because a standby is hard pressed.
    gates: Mutex<HashMap<Box<str>, Arc<Gate>>>,
    turn: AtomicUsize,
}

impl Engine {
    /// Where the primary's log ended when it was [sampled](Self::sample) last.
    #[must_use]
    pub fn log_end(&self) -> Option<Lsn> {
        self.inner.local.log_end()
    }
}

impl Inner {
    /// What a standby answers, if it will do, and when its load began.
    pub(super) async fn ask_standby(&self, job: &Job, start: Start) -> Option<(Loaded, Mono)> {
        for standby in self.near(&*job.origin, &[(job, start)]) {
            let (origin, class) = (&**standby, job.policy.priority);
            // As for what nobody waits for: if there is no room, there is the primary.
            let question = Question { origin, key: &job.key, id: &job.id, class, background: true };
            let answer = self.standby_gate(origin).load(question).await;
            match self.heard(origin, answer) {
                Heard::Nobody => {}
                Heard::Failure => return None,
                Heard::Answer(loaded, began) => {
                    let fit = self.will_do(job, start, &loaded);
                    self.metrics.standby(origin.name(), used(fit));
                    return fit.is_ok().then_some((loaded, began));
                }
            }
        }
        None
    }

    /// What a standby answers to several questions, in their order: those of its answers that will do.
    /// `whole`: all of them from one snapshot, or none.
    pub(super) async fn ask_standby_many(
        &self,
        jobs: &[(&Job, Start)],
        whole: bool,
    ) -> Vec<Option<(Loaded, Mono)>> {
        let none = || jobs.iter().map(|_| None).collect();
        for standby in self.near(&*jobs[0].0.origin, jobs) {
            let origin = &**standby;
            let paired = jobs.iter().map(|(job, _)| {
                let twin = job.origin.standbys().iter().find(|twin| twin.name() == origin.name());
                twin.map(|twin| Ask { origin: &**twin, key: &job.key, id: &job.id })
            });
            let Some(asks) = paired.collect::<Option<Vec<_>>>() else { return none() };
            let classes = jobs.iter().map(|(job, _)| job.policy.priority);
            let class = classes.fold(Class::Ephemeral, Ord::max);
            let answer = self.standby_gate(origin).load_many(&asks, class, true).await;
            match self.heard(origin, answer) {
                Heard::Nobody => {}
                Heard::Failure => return none(),
                Heard::Answer(LoadedMany { items, one_snapshot }, began) => {
                    let fit = jobs.iter().zip(items).map(|((job, start), item)| {
                        let loaded = item.ok()?;
                        let fit = self.will_do(job, *start, &loaded);
                        self.metrics.standby(origin.name(), used(fit));
                        fit.is_ok().then_some((loaded, began))
                    });
                    let fit: Vec<_> = fit.collect();
                    let whole_enough = one_snapshot && fit.iter().all(Option::is_some);
                    return if whole && !whole_enough { none() } else { fit };
                }
            }
        }
        none()
    }

    /// The standbys that are near enough for all of the jobs, as far as is known; those whose turn it
    /// is first.
    fn near<'a>(
        &self,
        origin: &'a dyn Origin,
        jobs: &[(&Job, Start)],
    ) -> impl Iterator<Item = &'a Arc<dyn Origin>> {
        let standbys = origin.standbys();
        // Most origins have none, and then nothing is worked out.
        let needed = if standbys.is_empty() { None } else { self.needed(jobs) };
        let turn = self.standbys.turn.fetch_add(usize::from(needed.is_some()), Ordering::Relaxed);
        let each = (0..standbys.len()).map(move |at| &standbys[(turn + at) % standbys.len()]);
        let near = move |standby: &&Arc<dyn Origin>| {
            let known = needed.as_ref().zip(standby.replayed());
            known.is_some_and(|((epochs, least), replayed)| {
                replayed.upto >= *least && epochs.iter().all(|epoch| replayed.is_of(*epoch))
            })
        };
        each.filter(near)
    }

    /// The histories that the jobs belong to, and how far a standby has to have got to be within the
    /// budget of each; `None`: nowhere is far enough.
    fn needed(&self, jobs: &[(&Job, Start)]) -> Option<(Vec<coherence::Epoch>, Lsn)> {
        let now = self.clock.mono();
        let (mut epochs, mut least) = (Vec::new(), Lsn::ZERO);
        for (job, start) in jobs {
            // Without a history there is nothing to compare positions with.
            let (epoch, _) = start.token.filter(|_| !job.policy.budget.is_zero())?;
            least = least.max(self.local.standby_needs(epoch, since(job, now))?);
            if !epochs.contains(&epoch) {
                epochs.push(epoch);
            }
        }
        Some((epochs, least))
    }

    fn standby_gate(&self, origin: &dyn Origin) -> Arc<Gate> {
        let name = origin.name();
        let mut gates = self.standbys.gates.lock();
        if let Some(gate) = gates.get(name) {
            return Arc::clone(gate);
        }
        let load_timeout = self.options.load_timeout / SHARE;
        let options = EngineOptions { load_timeout, ..self.options.clone() };
        let most = origin.concurrency().unwrap_or(options.origin_concurrency);
        let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
        let gate = Arc::new(Gate::new(name, most, &options, clock, metrics));
        gates.insert(name.into(), Arc::clone(&gate));
        gate
    }

    fn heard<T>(&self, origin: &dyn Origin, answer: Result<(T, Mono), ReadError>) -> Heard<T> {
        match answer {
            Ok((loaded, began)) => Heard::Answer(loaded, began),
            Err(err) => {
                self.metrics.standby(origin.name(), err.as_str());
                tracing::debug!(standby = origin.name(), error = %err, "a standby did not answer");
                let asked = !matches!(err, ReadError::Overloaded { .. });
                if asked { Heard::Failure } else { Heard::Nobody }
            }
        }
    }

    fn will_do(&self, job: &Job, start: Start, loaded: &Loaded) -> Result<Mono, Unfit> {
        let (Some(replayed), Some((epoch, _))) = (loaded.replayed, start.token) else {
            return Err(Unfit::Log);
        };
        let since = since(job, self.clock.mono());
        let after = job.wish.map(|wish| wish.after);
        let need = Need { key: &job.key, tags: &loaded.tags, epoch, after, since };
        self.local.serves(replayed, need)
    }
}

/// What became of a question to a standby.
enum Heard<T> {
    Answer(T, Mono),
    /// It was not asked: its breaker is open, or it has enough to do.
    Nobody,
    Failure,
}

fn used(fit: Result<Mono, Unfit>) -> &'static str {
    fit.map_or_else(Unfit::as_str, |_| "used")
}

/// As of when an answer has to be proven that is given at `now`.
fn since(job: &Job, now: Mono) -> Mono {
    let budget = u64::try_from(job.policy.budget.as_nanos()).unwrap_or(u64::MAX);
    Mono(now.0.saturating_sub(budget))
}
