//! Batches: many keys, one round trip to each tier.
//!
//! One look at the in-process tier; one call to the shared tier for what is missing there, with
//! leases as for single reads; one load per origin for what nobody else is loading. What is under
//! way already, here or on another node, is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use coherence::{After, Mono};
use contract::{Class, Key};

use super::after::Wish;
use super::answer::{Answer, ReadError};
use super::ask::{Asked, Judged, Start};
use super::flight::Pilot;
use super::gate::Gate;
use super::load::{Job, Landed, Unsure, kind};
use super::metrics::batches::Kind;
use super::{Boarded, Engine, Hand, Inner, Policy};
use crate::audit::Note;
use crate::origin::{Ask, Loaded, Origin};
use crate::shared::{SharedRead, Slide};
use crate::together::together;

/// One question of a batch.
#[derive(Clone)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// What the caller named; handed to `origin`.
    pub id: Arc<str>,
    /// By what rules it is read.
    pub policy: Arc<Policy>,
    /// Where the value comes from.
    pub origin: Arc<dyn Origin>,
}

impl Item {
    pub(super) fn job(&self, refresh: bool, wish: Option<Wish>) -> Job {
        Job {
            key: self.key.clone(),
            id: Arc::clone(&self.id),
            policy: Arc::clone(&self.policy),
            origin: Arc::clone(&self.origin),
            refresh,
            wish: wish.filter(|_| !refresh),
        }
    }
}

impl Engine {
    /// As [`get_after`](Self::get_after) for each item, with one round trip to each tier and to each
    /// origin, however many items there are. Answers in the order of the items.
    ///
    /// The answers may be of different moments, as those of single reads may;
    /// [`get_together`](Self::get_together) promises more.
    pub async fn get_many(
        &self,
        items: &[Item],
        after: Option<After>,
    ) -> Vec<Result<Answer, ReadError>> {
        let inner = &self.inner;
        inner.metrics.batches.asked(Kind::Plain, items.len());
        let wish = inner.wish(after);
        if let Some(wish) = wish
            && items.iter().any(|item| inner.lags(&item.key, &item.policy, wish))
        {
            inner.caught_up(wish).await;
        }
        let asked = inner.clock.mono();
        let mut answers: Vec<Option<Result<Answer, ReadError>>> = Vec::new();
        answers.resize_with(items.len(), || None);
        let (mut alone, mut boarded, mut flights) = (Vec::new(), Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            let job = |refresh| item.job(refresh, wish);
            match self.at_hand(&item.key, &item.policy, after, asked, &job) {
                Hand::Answer(answer) => answers[at] = Some(Ok(answer)),
                Hand::Alone => alone.push((at, job(false))),
                Hand::Nothing => {
                    let (passenger, pilot) = inner.board.join(&item.key, false);
                    let joined = pilot.is_none();
                    flights.extend(pilot.map(|pilot| (job(false), pilot)));
                    boarded.push((at, job(false), Boarded { passenger, joined }));
                }
            }
        }
        if !flights.is_empty() {
            let inner = Arc::clone(inner);
            tokio::spawn(async move { inner.fly_many(flights).await });
        }
        let landings = together(boarded.into_iter().map(|(at, job, boarded)| async move {
            let landed = self.collapsed(&job, asked, Some(boarded)).await;
            let instead = |err| self.inner.instead(&job.key, &job.policy, after, err);
            (at, landed.or_else(instead))
        }));
        let (landings, alone) = tokio::join!(landings, inner.load_each_alone(&alone));
        for (at, answer) in landings.into_iter().chain(alone) {
            answers[at] = Some(answer);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(ReadError::Aborted))).collect()
    }
}

impl Inner {
    /// Makes the flights of a batch.
    async fn fly_many(self: Arc<Self>, flights: Vec<(Job, Pilot)>) {
        let mut asking = Vec::with_capacity(flights.len());
        for (job, pilot) in flights {
            match self.landed_already(&job) {
                Ok(landed) => pilot.land(Ok(landed)),
                Err(unsure) => asking.push((job, pilot, unsure)),
            }
        }
        let asked = asking.iter().filter(|(job, ..)| job.policy.tiers.shared);
        let keys = asked.map(|(job, ..)| (job.key.clone(), self.slide(&job.policy)));
        let (keys, slides): (Vec<Key>, Vec<_>) = keys.unzip();
        let reads = self.read_many(&keys, &slides, true).await.unwrap_or_default();
        let mut reads = reads.into_iter();
        let mut loads = Vec::new();
        for (job, pilot, unsure) in asking {
            let read = if job.policy.tiers.shared { reads.next() } else { None };
            match self.judge_one(&job, read, unsure).await {
                Course::Land(landing) => pilot.land(*landing),
                Course::Load(start) => loads.push((job, pilot, start)),
                Course::Single => {
                    let inner = Arc::clone(&self);
                    tokio::spawn(async move { pilot.land(inner.fly(&job).await) });
                }
            }
        }
        let jobs: Vec<_> = loads.iter().map(|(job, _, start)| (job, *start)).collect();
        let landings = self.load_all(&jobs).await;
        for ((_, pilot, _), landing) in loads.into_iter().zip(landings) {
            pilot.land(landing);
        }
    }

    async fn judge_one(
        &self,
        job: &Job,
        read: Option<SharedRead>,
        unsure: Option<Unsure>,
    ) -> Course {
        let judged = match read {
            Some(read) => self.judge(job, read),
            None => Ok(Judged::Now(Asked::Load(self.without_shared()))),
        };
        match judged {
            Ok(Judged::Now(Asked::Answer(landed))) => Course::Land(Box::new(Ok(landed))),
            Ok(Judged::Now(Asked::Load(start))) => match self.rather(job, unsure, start).await {
                Some(landing) => Course::Land(Box::new(landing)),
                None => Course::Load(start),
            },
            Ok(Judged::Wait(_) | Judged::Behind(_)) => Course::Single,
            Err(err) => Course::Land(Box::new(Err(err))),
        }
    }

    /// Asks the shared tier for all of the keys; `None`: it does not answer.
    pub(super) async fn read_many(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: bool,
    ) -> Option<Vec<SharedRead>> {
        if keys.is_empty() {
            return Some(Vec::new());
        }
        self.metrics.batches.round_trip("shared");
        let lease = lease.then_some(self.options.lease_ttl);
        let tier = &self.port.tier;
        let reads = if slides.iter().any(Option::is_some) {
            self.port.call(tier.read_using(keys, slides, lease)).await?
        } else {
            self.port.call(tier.read_many(keys, lease)).await?
        };
        (reads.len() == keys.len()).then_some(reads)
    }

    /// What no tier may keep: for this caller alone.
    async fn load_each_alone(
        &self,
        jobs: &[(usize, Job)],
    ) -> Vec<(usize, Result<Answer, ReadError>)> {
        let starts = jobs.iter().map(|(_, job)| (job, self.alone_start(&job.policy)));
        let landings = self.load_all(&starts.collect::<Vec<_>>()).await.into_iter();
        let answers = jobs.iter().zip(landings).map(|((at, job), landing)| {
            let answer = landing.and_then(|landed| self.own_answer(job, landed, false));
            if let Err(err) = &answer {
                self.metrics.read(&job.policy, "none", err.as_str());
            }
            (*at, answer)
        });
        answers.collect()
    }

    /// Loads all of them, with one question to each origin.
    async fn load_all(&self, jobs: &[(&Job, Start)]) -> Vec<Result<Landed, ReadError>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, (job, _)) in jobs.iter().enumerate() {
            groups.entry(job.origin.name()).or_default().push(at);
        }
        let loads = groups.values().map(|group| async {
            let jobs: Vec<_> = group.iter().map(|at| jobs[*at]).collect();
            self.load_group(&jobs, false).await.0
        });
        let mut landings: Vec<_> = jobs.iter().map(|_| Err(ReadError::Aborted)).collect();
        for (group, landed) in groups.values().zip(together(loads).await) {
            for (at, landing) in group.iter().zip(landed) {
                landings[*at] = landing;
            }
        }
        landings
    }

    /// Loads from one origin, as one load of its gate; at least one. Whether all are from one
    /// snapshot; `whole`: that is what is asked for.
    pub(super) async fn load_group(
        &self,
        jobs: &[(&Job, Start)],
        whole: bool,
    ) -> (Vec<Result<Landed, ReadError>>, bool) {
        self.metrics.batches.round_trip("origin");
        if let [(job, start)] = jobs {
            return (vec![self.load(job, *start).await], true);
        }
        let gate = self.gate(&*jobs[0].0.origin);
        for (job, _) in jobs {
            job.policy.pressure.get_or_init(|| Arc::clone(&gate.pressure));
            self.tell(|| Note::Load(job.named()));
        }
        let leases = jobs.iter().filter_map(|(job, start)| Some((&job.key, start.lease?)));
        let leases: Vec<_> = leases.collect();
        let asked = self.clock.mono();
        let (items, one_snapshot) =
            self.with_heartbeat(&leases, self.ask_origin(jobs, &gate, whole)).await;
        let took = self.clock.mono().since(asked).as_secs_f64();
        let landings = jobs.iter().zip(items).map(|((job, start), item)| async move {
            match item {
                Ok((loaded, began)) => {
                    self.metrics.load(&job.policy, kind(&loaded.content), took);
                    self.take(job, loaded, began, *start).await
                }
                Err(err) => {
                    self.metrics.load(&job.policy, err.as_str(), took);
                    self.give_back(job, *start).await;
                    Err(err)
                }
            }
        });
        (together(landings).await, one_snapshot)
    }

    /// A standby's answers, as far as they will do, and the primary's for the others; with the times at
    /// which their loads began.
    async fn ask_origin(
        &self,
        jobs: &[(&Job, Start)],
        gate: &Gate,
        whole: bool,
    ) -> (Vec<Result<(Loaded, Mono), ReadError>>, bool) {
        self.outlag(jobs.iter().map(|(job, _)| *job)).await;
        let found = self.ask_standby_many(jobs, whole).await;
        let rest = jobs.iter().zip(&found).filter(|(_, found)| found.is_none());
        let rest: Vec<&Job> = rest.map(|((job, _), _)| *job).collect();
        if rest.is_empty() {
            return (found.into_iter().flatten().map(Ok).collect(), true);
        }
        let class = rest.iter().map(|job| job.policy.priority).fold(Class::Ephemeral, Ord::max);
        let asks = rest.iter();
        let asks = asks.map(|job| Ask { origin: &*job.origin, key: &job.key, id: &job.id });
        let (mut items, one_snapshot) =
            match gate.load_many(&asks.collect::<Vec<_>>(), class, false).await {
                Ok((loaded, began)) => {
                    let items = loaded.items.into_iter();
                    let items = items.map(|item| Ok((item.map_err(ReadError::Origin)?, began)));
                    (items.collect::<Vec<_>>().into_iter(), loaded.one_snapshot)
                }
                Err(err) => {
                    let items = rest.iter().map(|_| Err(err.clone()));
                    (items.collect::<Vec<_>>().into_iter(), false)
                }
            };
        let one_snapshot = one_snapshot && rest.len() == jobs.len();
        let all = found.into_iter().map(|found| match found {
            Some(found) => Ok(found),
            None => items.next().unwrap_or(Err(ReadError::Aborted)),
        });
        (all.collect(), one_snapshot)
    }
}

/// How one of a batch goes on.
enum Course {
    Land(Box<Result<Landed, ReadError>>),
    Load(Start),
    /// By itself: another node is loading it, or a tier has to get somewhere first.
    Single,
}
