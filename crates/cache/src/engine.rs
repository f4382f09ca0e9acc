//! The engine: look up → collapse → admit → load → fill → answer with its proof.

mod absence;
mod after;
mod answer;
mod ask;
mod batch;
mod flight;
mod follow;
mod gate;
mod inspect;
mod load;
mod look;
pub mod metrics;
mod moment;
mod options;
mod policy;
mod port;
mod slide;
mod standby;
mod worth;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use coherence::{After, Clock, Log, Lsn, Mono};
use contract::{Key, Unproven};
use parking_lot::Mutex;

use self::after::Wish;
pub use self::answer::{Answer, Proof, ReadError, Sealed, Stale, Tier};
pub use self::batch::Item;
use self::flight::{Board, Passenger};
use self::gate::Gate;
pub use self::inspect::{Answers, Holding};
use self::load::{Job, Landed};
use self::look::Look;
use self::metrics::GaugeValues;
pub use self::metrics::Metrics;
pub use self::moment::OneMoment;
use self::moment::Sets;
pub use self::options::EngineOptions;
pub use self::policy::Policy;
use self::port::Port;
use self::slide::Reminders;
use self::standby::Standbys;
use crate::audit::Witness;
use crate::chance::Chance;
use crate::entry::Content;
pub use crate::local::{FilterStanding, FilterState, LocalStanding};
use crate::local::{Held, Local};
use crate::origin::{Origin, OriginErrorKind};
use crate::shared::SharedTier;

/// The read path of one node. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    options: EngineOptions,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    local: Local,
    port: Port,
    board: Board,
    sets: Sets,
    reminders: Reminders,
    gates: Mutex<HashMap<Box<str>, Arc<Gate>>>,
    standbys: Standbys,
    witness: OnceLock<Arc<dyn Witness>>,
}

impl Engine {
    /// An engine with an empty in-process tier, which proves nothing until [`follow`](Self::follow)
    /// runs and [samples](Self::sample) come in.
    #[must_use]
    pub fn new(
        options: EngineOptions,
        shared: Arc<dyn SharedTier>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let inner = Arc::new(Inner {
            local: Local::new(
                options.local_bytes,
                options.assured,
                options.samples,
                Arc::clone(&options.chance),
            ),
            port: Port::new(shared, options.shared_timeout, Arc::clone(&clock), metrics.clone()),
            board: Board::default(),
            sets: Sets::default(),
            reminders: Reminders::default(),
            gates: Mutex::default(),
            standbys: Standbys::default(),
            witness: OnceLock::new(),
            options,
            clock,
            metrics,
        });
        let gauges = Arc::downgrade(&inner);
        inner.metrics.gauges(move || gauges.upgrade().map(|inner| inner.gauges()));
        Self { inner }
    }

    /// The answer if this process has it, fresh and proven, with no refresh due; nothing waits,
    /// nothing is loaded.
    #[must_use]
    #[inline]
    pub fn peek(&self, key: &Key, policy: &Policy) -> Option<Answer> {
        let (held, proven) = self.inner.local.get(key)?;
        self.usable::<true>(policy, held, proven)
    }

    /// As [`peek`](Self::peek) with fence and bound compiled out, to measure what they cost. Nobody
    /// can be given what it finds.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn measure_unproven(&self, key: &Key, policy: &Policy) -> Option<Sealed> {
        let (held, proven) = self.inner.local.fetch::<false>(key)?;
        self.usable::<false>(policy, held, proven).map(Sealed)
    }

    #[inline]
    fn usable<const PROVEN: bool>(
        &self,
        policy: &Policy,
        held: Arc<Held>,
        proven: Option<Mono>,
    ) -> Option<Answer> {
        // Read after the entry was fetched: a delay in between makes the bound larger, not smaller.
        let now = self.inner.clock.mono();
        // Of the entry itself only this one field is touched. That it may be proven by its own load
        // where its tier is not is left to `get`; a marked one has that field behind it.
        let usable = now < held.look_from()
            && policy.tiers.local
            && (!PROVEN || load::within(policy, proven, now));
        if !usable {
            return None;
        }
        self.inner.count_hit(policy);
        Some(local_answer(held, proven, now, None))
    }

    /// Reads: in-process tier, shared tier, origin, by the policy.
    ///
    /// `id` is what the caller named; it is handed to `origin`. One load serves everybody who asks
    /// for the key, in this process and in the cluster, with one exception: what the origin calls
    /// [`Content::Uncacheable`] is for its own caller only. So everybody whose answer turns out to
    /// be uncacheable has *its own* `origin` called once; an origin that keeps what it got (as the
    /// edge's does, one per request) finds it there.
    ///
    /// A reader joins a load that is under way only if what it brings keeps the contract for that
    /// reader too: with a budget of zero, only a load that began after the question.
    ///
    /// The load runs in a task of its own: it goes on when this call is dropped.
    ///
    /// # Errors
    /// [`ReadError`], by the policy's rules.
    pub async fn get(
        &self,
        key: &Key,
        id: &str,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
    ) -> Result<Answer, ReadError> {
        self.read(key, id, policy, origin, None).await
    }

    async fn read(
        &self,
        key: &Key,
        id: &str,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
        wish: Option<Wish>,
    ) -> Result<Answer, ReadError> {
        let inner = &self.inner;
        let after = wish.map(|wish| wish.after);
        let asked = inner.clock.mono();
        let job = |refresh| Job {
            key: key.clone(),
            id: id.into(),
            policy: Arc::clone(policy),
            origin: Arc::clone(origin),
            refresh,
            wish: wish.filter(|_| !refresh),
        };
        match self.at_hand(key, policy, after, asked, &job) {
            Hand::Answer(answer) => return Ok(answer),
            Hand::Alone => return self.alone(&job(false)).await,
            Hand::Nothing => {}
        }
        match self.collapsed(&job(false), asked, None).await {
            Ok(answer) => Ok(answer),
            Err(err) => inner.instead(key, policy, after, err),
        }
    }

    /// What this process has to say; a refresh that is due begins.
    fn at_hand(
        &self,
        key: &Key,
        policy: &Policy,
        after: Option<After>,
        asked: Mono,
        job: &dyn Fn(bool) -> Job,
    ) -> Hand {
        let inner = &self.inner;
        match inner.look(key, policy, after) {
            Look::Fresh { held, as_of, refresh } => {
                if refresh {
                    self.refresh(job(true));
                }
                inner.count_hit(policy);
                Hand::Answer(local_answer(held, as_of, inner.clock.mono(), None))
            }
            Look::Soft { held, as_of, refresh } => {
                if refresh {
                    self.refresh(job(true));
                }
                inner.metrics.read(policy, Tier::Local.as_str(), "soft");
                Hand::Answer(local_answer(held, Some(as_of), inner.clock.mono(), None))
            }
            Look::Filtered { held, as_of } => {
                inner.metrics.read(policy, Tier::Local.as_str(), "filtered");
                Hand::Answer(local_answer(held, as_of, inner.clock.mono(), None))
            }
            Look::Uncacheable => Hand::Alone,
            Look::Expired { held, as_of, within: true }
                if asked < held.expires() + policy.stale_while_revalidate =>
            {
                self.refresh(job(true));
                Hand::Answer(inner.stale(policy, held, as_of, Stale::Revalidating))
            }
            // No tier can be proven while the log's end is not known: no need to ask one.
            Look::Unproven { held, as_of }
                if policy.unproven == Unproven::ServeStale
                    && !load::within(policy, inner.local.sampled(), asked) =>
            {
                Hand::Answer(inner.stale(policy, held, as_of, Stale::Unproven))
            }
            _ if policy.tiers.is_none() && !policy.collapses => Hand::Alone,
            Look::Expired { .. } | Look::Unproven { .. } | Look::Nothing => Hand::Nothing,
        }
    }

    /// Joins the key's flight or begins one; again while it brings nothing for this reader.
    /// `boarded`: it sits in one already, which may be its own.
    async fn collapsed(
        &self,
        job: &Job,
        asked: Mono,
        mut boarded: Option<Boarded>,
    ) -> Result<Answer, ReadError> {
        let inner = &self.inner;
        loop {
            let Boarded { passenger, joined } = boarded.take().unwrap_or_else(|| {
                let (passenger, pilot) = inner.board.join(&job.key, false);
                let joined = pilot.is_none();
                if let Some(pilot) = pilot {
                    self.take_off(job.clone(), pilot);
                }
                Boarded { passenger, joined }
            });
            let waited = inner.clock.mono().since(asked);
            let left = inner.options.wait_timeout.saturating_sub(waited);
            let Ok(landing) = tokio::time::timeout(left, passenger.landing()).await else {
                return Err(ReadError::Waited(inner.clock.mono().since(asked)));
            };
            let landed = match landing {
                // A refresh that was not made has nothing to do with those who joined it.
                Err(_) if joined && passenger.background => continue,
                landing => landing?,
            };
            if joined && landed.is_uncacheable() {
                return self.alone(job).await;
            }
            let in_time = landed.stale.is_some() || load::within(&job.policy, landed.as_of, asked);
            let good = in_time && landed.is_good_for(job.wish, asked);
            if !joined || good {
                return inner.own_answer(job, landed, joined);
            }
        }
    }

    /// Asks the caller's own origin on its behalf alone.
    async fn alone(&self, job: &Job) -> Result<Answer, ReadError> {
        let landed = self.inner.load_alone(job).await;
        match landed.and_then(|landed| self.inner.own_answer(job, landed, false)) {
            Ok(answer) => Ok(answer),
            Err(err) => {
                self.inner.metrics.read(&job.policy, "none", err.as_str());
                Err(err)
            }
        }
    }

    /// Renews in the background what is still good, unless somebody is at it.
    fn refresh(&self, job: Job) {
        if let (_, Some(pilot)) = self.inner.board.join(&job.key, true) {
            self.take_off(job, pilot);
        }
    }

    fn take_off(&self, job: Job, pilot: flight::Pilot) {
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let landing = inner.fly(&job).await;
            if job.refresh {
                inner.metrics.refresh(&job.policy, landing.as_ref().map(|_| ()));
            }
            if let (Err(err), true) = (&landing, job.refresh) {
                tracing::debug!(key = %job.key, error = %err, "an early refresh was not made");
            }
            pilot.land(landing);
        });
    }

    /// The primary was asked for the end of its log at `asked` (read before the question was sent)
    /// and answered `end` of `log`. A sample proves nothing to tiers that follow another lineage.
    pub fn sample(&self, log: Log, asked: Mono, end: Lsn) {
        self.inner.local.sample(log, asked, end);
    }

    /// Where the in-process tier stands.
    #[must_use]
    pub fn standing(&self) -> LocalStanding {
        self.inner.local.standing(self.inner.clock.mono())
    }

    /// How the filters of ids that exist do.
    #[must_use]
    pub fn filters(&self) -> Vec<FilterStanding> {
        self.inner.local.filters()
    }

    /// Where random numbers come from.
    pub(crate) fn chance(&self) -> &dyn Chance {
        &*self.inner.options.chance
    }

    /// The tier that all nodes share.
    #[must_use]
    pub fn shared(&self) -> &Arc<dyn SharedTier> {
        &self.inner.port.tier
    }
}

/// What this process has to say to a question.
enum Hand {
    Answer(Answer),
    /// It is for its own caller only.
    Alone,
    Nothing,
}

/// A reader in a flight.
struct Boarded {
    passenger: Passenger,
    /// Whether somebody else began it.
    joined: bool,
}

impl Inner {
    fn gate(&self, origin: &dyn Origin) -> Arc<Gate> {
        let name = origin.name();
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(name) {
            return Arc::clone(gate);
        }
        let clock = Arc::clone(&self.clock);
        let most = origin.concurrency().unwrap_or(self.options.origin_concurrency);
        let gate = Gate::new(name, most, &self.options, clock, self.metrics.clone());
        let gate = Arc::new(gate);
        gates.insert(name.into(), Arc::clone(&gate));
        gate
    }

    #[inline]
    fn count_hit(&self, policy: &Policy) {
        policy.local_hits.inc();
        if !policy.adopted.load(Ordering::Relaxed) {
            self.adopt(policy);
        }
    }

    #[cold]
    fn adopt(&self, policy: &Policy) {
        if !policy.adopted.swap(true, Ordering::Relaxed) {
            self.metrics.adopt(policy);
        }
    }

    fn answer(&self, policy: &Policy, landed: Landed, collapsed: bool) -> Answer {
        let now = self.clock.mono();
        let result = match (&landed.stale, &landed.entry.content) {
            (Some(stale), _) => stale.as_str(),
            (None, _) if landed.entry.is_soft() => "soft",
            (None, Content::Absent) => "absent",
            (None, _) if landed.tier == Tier::Origin => "miss",
            (None, _) => "hit",
        };
        self.metrics.read(policy, landed.tier.as_str(), result);
        if collapsed {
            self.metrics.collapsed(policy);
        }
        Answer {
            entry: landed.entry,
            tier: landed.tier,
            now,
            proven: landed.as_of,
            stale: landed.stale,
            collapsed,
            stored: landed.stored,
        }
    }

    /// The same, unless it may miss what its reader has written.
    fn own_answer(&self, job: &Job, landed: Landed, joined: bool) -> Result<Answer, ReadError> {
        if landed.undercuts(job) {
            return Err(self.unproven(&job.policy, landed.as_of));
        }
        Ok(self.answer(&job.policy, landed, joined))
    }

    fn stale(&self, policy: &Policy, held: Arc<Held>, as_of: Option<Mono>, why: Stale) -> Answer {
        self.metrics.read(policy, Tier::Local.as_str(), why.as_str());
        local_answer(held, as_of, self.clock.mono(), Some(why))
    }

    /// The origin has no answer. What is in the in-process tier *now* has not been invalidated
    /// meanwhile, so a contract that prefers old answers to none may have it.
    fn instead(
        &self,
        key: &Key,
        policy: &Policy,
        after: Option<After>,
        err: ReadError,
    ) -> Result<Answer, ReadError> {
        let mendable = !matches!(&err, ReadError::Unproven { .. })
            && !matches!(&err, ReadError::Origin(err) if err.kind == OriginErrorKind::BadRequest);
        let held = match after {
            _ if !mendable || !policy.tiers.local => None,
            None => self.local.get(key),
            // What is proven by its age says nothing about a log.
            Some(_) if policy.is_aged() => None,
            Some(after) => self.local.get_after(key, after),
        };
        if let Some((held, proven)) = held
            && !matches!(held.content, Content::Uncacheable)
            && policy.may_keep(&held, &*self.clock)
        {
            let (as_of, now) = (held.as_of(proven), self.clock.mono());
            if !held.is_soft() && policy.unproven == Unproven::ServeStale {
                return Ok(self.stale(policy, held, as_of, Stale::OriginFailed));
            }
            // What a commit has made old is within its contract as long as its budget lasts, and
            // then it is gone: by the contract of every reader.
            if held.is_soft() && now < held.expires() && load::within(policy, as_of, now) {
                self.metrics.read(policy, Tier::Local.as_str(), "soft");
                return Ok(local_answer(held, as_of, now, None));
            }
        }
        self.metrics.read(policy, "none", err.as_str());
        Err(err)
    }

    fn gauges(&self) -> GaugeValues {
        let now = self.clock.mono();
        let standing = self.local.standing(now);
        let gates = self.gates.lock();
        let spend = gates.iter().map(|(name, gate)| (name.clone(), gate.pressure.spend(now)));
        GaugeValues {
            bound_seconds: standing.bound.map_or(-1.0, |bound| bound.as_secs_f64()),
            bytes: standing.bytes,
            entries: standing.entries,
            evictions: standing.evictions,
            renewals: standing.renewals,
            tombstones: standing.tombstones,
            marked: standing.marked,
            merged: standing.merged,
            pools: standing.pools,
            spend: spend.collect(),
            filters: self.local.filters(),
        }
    }
}

#[inline]
fn local_answer(held: Arc<Held>, proven: Option<Mono>, now: Mono, stale: Option<Stale>) -> Answer {
    Answer { entry: held, tier: Tier::Local, now, proven, stale, collapsed: false, stored: None }
}

#[cfg(test)]
mod tests;
