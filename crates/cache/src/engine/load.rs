//! What a flight does: shared tier (`ask`) → lease → origin → fill.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coherence::{Epoch, LeaseToken, Lsn, Mono, Refusal, Verdict};
use contract::{Key, Unproven, freshness};

use super::after::Wish;
use super::answer::{ReadError, Stale, Tier};
use super::ask::{Asked, Start};
use super::gate::Question;
use super::look::Look;
use super::worth::Worth;
use super::{Inner, Policy};
use crate::audit::{Filled, Named, Note};
use crate::entry::{Content, Entry, Value};
use crate::local::Held;
use crate::origin::{Loaded, Origin};
use crate::shared::Fill;
use crate::together::together;

/// An early refresh is considered from so many mean refresh leads before the end; that a reader
/// would draw an earlier one has a chance of e⁻¹⁰.
const LEADS: f64 = 10.0;

/// What a reader asked for.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) id: Arc<str>,
    pub(super) policy: Arc<Policy>,
    pub(super) origin: Arc<dyn Origin>,
    /// An early refresh: what is in the tiers is still good, but should be replaced.
    pub(super) refresh: bool,
    /// For somebody who has written.
    pub(super) wish: Option<Wish>,
}

impl Job {
    pub(super) fn named(&self) -> Named {
        let (key, id) = (self.key.clone(), Arc::clone(&self.id));
        Named { key, id, contract: Arc::clone(&self.policy.name) }
    }
}

/// What a flight brought.
#[derive(Clone, Debug)]
pub(super) struct Landed {
    pub(super) entry: Arc<Held>,
    pub(super) tier: Tier,
    /// Every commit acknowledged before this is in it.
    pub(super) as_of: Option<Mono>,
    pub(super) stale: Option<Stale>,
    pub(super) stored: Option<Verdict>,
    /// The history that the entry's τ belongs to; `None`: not known.
    pub(super) epoch: Option<Epoch>,
}

/// It stands, but is not proven to be within the budget.
pub(super) struct Unsure {
    held: Arc<Held>,
    as_of: Option<Mono>,
}

impl Inner {
    /// Makes the flight.
    pub(super) async fn fly(&self, job: &Job) -> Result<Landed, ReadError> {
        let unproven = match self.landed_already(job) {
            Ok(landed) => return Ok(landed),
            Err(unproven) => unproven,
        };
        let start = match self.ask_shared(job).await? {
            Asked::Answer(landed) => return Ok(landed),
            Asked::Load(start) => start,
        };
        match self.rather(job, unproven, start).await {
            Some(landing) => landing,
            None => self.load(job, start).await,
        }
    }

    /// Another flight may have landed between the reader's look and this one's start. Else: what
    /// stands here without being proven.
    pub(super) fn landed_already(&self, job: &Job) -> Result<Landed, Option<Unsure>> {
        if job.refresh {
            return Err(None);
        }
        match self.look(&job.key, &job.policy, job.wish.map(|wish| wish.after)) {
            Look::Fresh { held, as_of, .. } | Look::Filtered { held, as_of } => {
                Ok(Landed::local(held, as_of, None))
            }
            Look::Soft { held, as_of, .. } => Ok(Landed::local(held, Some(as_of), None)),
            Look::Unproven { held, as_of } => Err(Some(Unsure { held, as_of })),
            Look::Expired { .. } | Look::Uncacheable | Look::Nothing => Err(None),
        }
    }

    /// What the contract prefers to a load.
    pub(super) async fn rather(
        &self,
        job: &Job,
        unsure: Option<Unsure>,
        start: Start,
    ) -> Option<Result<Landed, ReadError>> {
        let Unsure { held, as_of } = unsure?;
        let landing = match job.policy.unproven {
            Unproven::ServeStale => Ok(Landed::local(held, as_of, Some(Stale::Unproven))),
            Unproven::Fail => Err(self.unproven(&job.policy, as_of)),
            Unproven::ReadOrigin => return None,
        };
        self.give_back(job, start).await;
        Some(landing)
    }

    /// For one caller alone, with its own origin: nothing is shared with other readers.
    pub(super) async fn load_alone(&self, job: &Job) -> Result<Landed, ReadError> {
        self.load(job, self.alone_start(&job.policy)).await
    }

    pub(super) fn alone_start(&self, policy: &Policy) -> Start {
        let cached = !policy.tiers.is_none();
        let token = if cached { self.local.token() } else { None };
        Start { token, lease: None, shared: cached }
    }

    pub(super) async fn load(&self, job: &Job, start: Start) -> Result<Landed, ReadError> {
        let policy = &job.policy;
        let gate = self.gate(&*job.origin);
        policy.pressure.get_or_init(|| Arc::clone(&gate.pressure));
        let question = Question {
            origin: &*job.origin,
            key: &job.key,
            id: &job.id,
            class: policy.priority,
            background: job.refresh,
        };
        self.tell(|| Note::Load(job.named()));
        let asked = self.clock.mono();
        let lease = start.lease.map(|lease| (&job.key, lease));
        let load = async {
            self.outlag(std::iter::once(job)).await;
            match self.ask_standby(job, start).await {
                Some(loaded) => Ok(loaded),
                None => gate.load(question).await,
            }
        };
        let outcome = self.with_heartbeat(lease.as_slice(), load).await;
        let took = self.clock.mono().since(asked).as_secs_f64();
        match outcome {
            Ok((loaded, began)) => {
                self.metrics.load(policy, kind(&loaded.content), took);
                self.take(job, loaded, began, start).await
            }
            Err(err) => {
                self.metrics.load(policy, err.as_str(), took);
                self.give_back(job, start).await;
                Err(err)
            }
        }
    }

    /// Keeps the leases alive while the load is under way. A dead holder's lease runs out by
    /// itself; one that lost its lease finishes for its own readers.
    pub(super) async fn with_heartbeat<T>(
        &self,
        leases: &[(&Key, LeaseToken)],
        load: impl Future<Output = T>,
    ) -> T {
        if leases.is_empty() {
            return load.await;
        }
        let ttl = self.options.lease_ttl;
        let beat = together(leases.iter().map(|(key, lease)| async move {
            loop {
                tokio::time::sleep(ttl / 3).await;
                let renewed = self.port.call(self.port.tier.renew(key, *lease, ttl)).await;
                if renewed == Some(false) {
                    self.metrics.leases_lost.inc();
                    return;
                }
            }
        }));
        tokio::pin!(load);
        tokio::select! {
            biased;
            done = &mut load => done,
            _ = beat => load.await,
        }
    }

    pub(super) async fn give_back(&self, job: &Job, start: Start) {
        if let Some(lease) = start.lease {
            self.port.call(self.port.tier.release(&job.key, lease)).await;
        }
    }

    /// Offers what was loaded to the shared tier, then to the in-process tier.
    pub(super) async fn store(
        &self,
        job: &Job,
        loaded: Loaded,
        began: Mono,
        start: Start,
    ) -> Landed {
        let policy = &job.policy;
        let now = self.clock.mono();
        let ttl = life(policy, &loaded, self.options.chance.unit());
        let Worth { from, own, as_of, token } = self.worth(policy, &loaded, began, start);
        let (epoch, tau) = token.unzip();
        let entry = compact(Entry {
            content: loaded.content,
            tau: tau.unwrap_or_default(),
            tags: if loaded.tags.is_empty() { Arc::default() } else { loaded.tags.into() },
            loaded_wall_ms: self.loaded_wall_ms(policy, from, now),
            cost: now.since(began),
            ttl,
            seen: loaded.seen.unwrap_or(Lsn::MAX),
        });
        let look_from = match entry.content {
            // Never handed out, so it needs a closer look from the beginning.
            Content::Uncacheable => Mono(0),
            // What its tier has proven says nothing about it.
            _ if policy.is_aged() => Mono(0),
            _ => refresh_from(policy, from + ttl, ttl, entry.cost),
        };
        let terms = policy.terms(self.options.governor);
        let entry = match policy.slide.filter(|_| entry.is_present()) {
            None => Held::new(entry, from, look_from, own, terms),
            Some(slide) => {
                let life = slide.life(ttl, Duration::ZERO, from);
                Held::sliding(entry, (from, from), look_from, own, (terms, slide, life))
            }
        };
        let mut landed =
            Landed { entry, tier: Tier::Origin, as_of, stale: None, stored: None, epoch };
        if landed.is_uncacheable() {
            if !policy.tiers.is_none() {
                self.local.mark_uncacheable(&job.key, Arc::clone(&landed.entry));
            }
            self.give_back(job, start).await;
            return landed;
        }
        let fits = size(&landed.entry.content) <= policy.max_bytes;
        let left = if policy.is_aged() { landed.entry.expires().since(now) } else { ttl };
        let keeps = fits && !left.is_zero() && !policy.tiers.is_none();
        let Some(epoch) = epoch.filter(|_| keeps) else {
            self.give_back(job, start).await;
            return landed;
        };
        if policy.tiers.shared && start.shared {
            let entry = Entry { ttl: left, ..Entry::clone(&landed.entry) };
            let fill = Fill { key: job.key.clone(), entry, epoch, lease: start.lease };
            landed.stored = self.port.call(self.port.tier.fill(&fill)).await;
            if let Some(verdict) = landed.stored {
                self.filled(job, &landed.entry, Tier::Shared, Tier::Origin, verdict);
            }
        }
        // A lost lease says nothing against the value, and a commit in between leaves something to be
        // marked; every other refusal speaks against it.
        let late = Verdict::Refuse(Refusal::Tombstone);
        let sound = match landed.stored {
            None | Some(Verdict::Accept | Verdict::Refuse(Refusal::Lease)) => true,
            Some(verdict) => verdict == late && self.marks(policy),
        };
        if policy.tiers.local && sound {
            let verdict = self.local.fill(&job.key, Arc::clone(&landed.entry), epoch);
            if verdict == late {
                self.local.fill_late(&job.key, &landed.entry, epoch);
            }
            // That it came late is told once.
            if verdict != late || landed.stored != Some(late) {
                self.filled(job, &landed.entry, Tier::Local, Tier::Origin, verdict);
            }
            landed.stored = landed.stored.or(Some(verdict));
        }
        landed
    }

    /// Whether commits mark the policy's entries instead of removing them.
    pub(super) fn marks(&self, policy: &Policy) -> bool {
        self.options.governor && policy.is_lenient()
    }

    pub(super) fn filled(
        &self,
        job: &Job,
        entry: &Entry,
        tier: Tier,
        from: Tier,
        verdict: Verdict,
    ) {
        if let Verdict::Refuse(refusal) = verdict {
            self.metrics.refused(tier.as_str(), refusal.as_str());
        }
        self.tell(|| {
            Note::Fill(Filled {
                named: job.named(),
                tier,
                from,
                tau: entry.tau,
                loaded_wall_ms: entry.loaded_wall_ms,
                ttl: job.policy.slide.map_or(entry.ttl, |slide| slide.longest),
                verdict,
            })
        });
    }

    pub(super) fn unproven(&self, policy: &Policy, as_of: Option<Mono>) -> ReadError {
        let now = self.clock.mono();
        let bound = as_of.map(|as_of| now.since(as_of));
        ReadError::Unproven { bound, budget: policy.budget }
    }
}

impl Landed {
    fn local(entry: Arc<Held>, as_of: Option<Mono>, stale: Option<Stale>) -> Self {
        Self { entry, tier: Tier::Local, as_of, stale, stored: None, epoch: None }
    }

    pub(super) fn is_uncacheable(&self) -> bool {
        matches!(self.entry.content, Content::Uncacheable)
    }
}

/// Whether an answer that is proven as of `as_of` keeps the contract at `now`.
pub(super) fn within(policy: &Policy, as_of: Option<Mono>, now: Mono) -> bool {
    policy.immutable || as_of.is_some_and(|as_of| now.since(as_of) <= policy.budget)
}

/// How long it may live, spread, so that entries stored together don't end together.
fn life(policy: &Policy, loaded: &Loaded, draw: f64) -> Duration {
    let usual = match loaded.content {
        Content::Uncacheable => return loaded.ttl.unwrap_or(policy.uncacheable_ttl),
        Content::Present(_) => policy.ttl,
        Content::Absent => policy.absent_ttl,
    };
    let spread = |ttl| freshness::jittered(ttl, draw, policy.refresh.jitter);
    let life = match loaded.ttl {
        // What the origin allows is not exceeded.
        Some(allowed) => spread(allowed).min(allowed),
        None => spread(usual),
    };
    life.min(policy.longest())
}

/// From when on readers draw lots for an early refresh; at most the last half of its life.
pub(super) fn refresh_from(policy: &Policy, expires: Mono, left: Duration, cost: Duration) -> Mono {
    if policy.refresh.beta <= 0.0 {
        return expires;
    }
    let lead = cost.mul_f64((policy.refresh.beta * LEADS).min(1e6)).min(left / 2);
    let nanos = u64::try_from(lead.as_nanos()).unwrap_or(u64::MAX);
    Mono(expires.0.saturating_sub(nanos))
}

/// The same entry in memory of its own: what an origin or a tier hands over may be a small slice of
/// something large, which the in-process tier's limit would not see.
pub(super) fn compact(entry: Entry) -> Entry {
    let Content::Present(value) = &entry.content else { return entry };
    let mut bytes = Vec::with_capacity(value.head.len() + value.body.len());
    // The body first, where the allocator aligns it: the kernel copies it to a socket with each hit,
    // half as fast again from an odd address.
    bytes.extend_from_slice(&value.body);
    bytes.extend_from_slice(&value.head);
    let body = value.body.len();
    let bytes = Bytes::from(bytes);
    let value = if value.head.is_empty() {
        Value { head: Bytes::new(), body: bytes }
    } else {
        Value { head: bytes.slice(body..), body: bytes.slice(..body) }
    };
    Entry { content: Content::Present(value), ..entry }
}

fn size(content: &Content) -> u64 {
    match content {
        Content::Present(value) => (value.head.len() + value.body.len()) as u64,
        Content::Absent | Content::Uncacheable => 0,
    }
}

pub(super) fn kind(content: &Content) -> &'static str {
    match content {
        Content::Present(_) => "present",
        Content::Absent => "absent",
        Content::Uncacheable => "uncacheable",
    }
}
