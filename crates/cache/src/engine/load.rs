//! What a flight does: shared tier → lease → origin → fill.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coherence::{Epoch, LeaseToken, Lsn, Mono, Reached, Refusal, Verdict};
use contract::{Key, Unproven, freshness};

use super::after::Wish;
use super::answer::{ReadError, Stale, Tier};
use super::gate::Question;
use super::look::Look;
use super::{Inner, Policy};
use crate::audit::{Filled, Named, Note};
use crate::entry::{Content, Entry, Value};
use crate::local::Held;
use crate::origin::{Loaded, Origin};
use crate::shared::{Fill, Outcome, SharedRead};

/// The first pause before another node is asked again whether it has finished, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

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
    fn named(&self) -> Named {
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

/// What the tiers said, if not the answer.
#[derive(Clone, Copy)]
struct Start {
    /// W and its epoch, for the fill; known before the load begins.
    token: Option<(Epoch, Lsn)>,
    lease: Option<LeaseToken>,
    /// Whether the shared tier can take the fill.
    shared: bool,
}

enum Asked {
    Answer(Landed),
    Load(Start),
}

impl Inner {
    /// Makes the flight.
    pub(super) async fn fly(&self, job: &Job) -> Result<Landed, ReadError> {
        let mut unproven = None;
        if !job.refresh {
            // Another flight may have landed between the reader's look and this one's start.
            match self.look(&job.key, &job.policy, job.wish.map(|wish| wish.after)) {
                Look::Fresh { held, as_of, .. } => return Ok(Landed::local(held, as_of, None)),
                Look::Soft { held, as_of, .. } => {
                    return Ok(Landed::local(held, Some(as_of), None));
                }
                Look::Unproven { held, as_of } => unproven = Some((held, as_of)),
                Look::Expired { .. } | Look::Uncacheable | Look::Nothing => {}
            }
        }
        let start = match self.ask_shared(job).await? {
            Asked::Answer(landed) => return Ok(landed),
            Asked::Load(start) => start,
        };
        match (unproven, job.policy.unproven) {
            (Some((held, as_of)), Unproven::ServeStale) => {
                self.give_back(job, start).await;
                Ok(Landed::local(held, as_of, Some(Stale::Unproven)))
            }
            (Some((_, as_of)), Unproven::Fail) => {
                self.give_back(job, start).await;
                Err(self.unproven(&job.policy, as_of))
            }
            _ => self.load(job, start).await,
        }
    }

    /// For one caller alone, with its own origin: nothing is shared with other readers.
    pub(super) async fn load_alone(&self, job: &Job) -> Result<Landed, ReadError> {
        let cached = !job.policy.tiers.is_none();
        let token = if cached { self.local.token() } else { None };
        self.load(job, Start { token, lease: None, shared: cached }).await
    }

    async fn ask_shared(&self, job: &Job) -> Result<Asked, ReadError> {
        let policy = &job.policy;
        let away = Start { token: self.local.token(), lease: None, shared: false };
        if !policy.tiers.shared {
            return Ok(Asked::Load(away));
        }
        let began = self.clock.mono();
        let mut pause = FIRST_PAUSE;
        let mut waited = false;
        let mut behind = false;
        loop {
            let lease = Some(self.options.lease_ttl);
            let Some(read) = self.port.call(self.port.tier.read(&job.key, lease)).await else {
                return Ok(Asked::Load(away));
            };
            let SharedRead { standing, outcome } = read;
            let token = standing.map(|standing| (standing.epoch, standing.watermark));
            let plain = Start { token, lease: None, shared: true };
            match outcome {
                Outcome::Found { entry, remaining } => {
                    let Some(standing) = standing else { return Ok(Asked::Load(plain)) };
                    let (epoch, applied) = (standing.epoch, standing.applied);
                    if self.local.outdates(&job.key, &entry.tags, epoch, applied) {
                        return Ok(Asked::Load(plain));
                    }
                    if let Some(wish) = job.wish
                        && wish.after.reached(Some(standing.epoch), standing.applied)
                            != Reached::Yes
                    {
                        // Our own tier comes last: once it is there, the shared tier is.
                        if !behind && self.caught_up(wish).await {
                            behind = true;
                            continue;
                        }
                        return Ok(Asked::Load(plain));
                    }
                    // An entry that still stands misses nothing that its tier has applied.
                    let entry = Entry { tau: standing.applied, ..compact(entry) };
                    let as_of = self.local.proven_at(standing.epoch, standing.applied);
                    return self.found(job, entry, remaining, standing.epoch, as_of, plain);
                }
                Outcome::Lead(lease) => {
                    if waited {
                        self.metrics.takeovers.inc();
                    }
                    return Ok(Asked::Load(Start { lease: Some(lease), ..plain }));
                }
                Outcome::Miss => return Ok(Asked::Load(plain)),
                Outcome::Wait(left) => {
                    let spent = self.clock.mono().since(began);
                    if spent >= self.options.wait_timeout {
                        return Err(ReadError::Waited(spent));
                    }
                    waited = true;
                    let jitter = 0.75 + 0.5 * self.options.chance.unit();
                    // Just after the lease's end rather than just before it.
                    let left = left + Duration::from_millis(1);
                    tokio::time::sleep(pause.mul_f64(jitter).min(left)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn found(
        &self,
        job: &Job,
        entry: Entry,
        remaining: Duration,
        epoch: Epoch,
        as_of: Option<Mono>,
        plain: Start,
    ) -> Result<Asked, ReadError> {
        let policy = &job.policy;
        let now = self.clock.mono();
        let proven = within(policy, as_of, now);
        if job.refresh {
            // Another node may have refreshed it already.
            let ours = self.local.get(&job.key).map(|(held, _)| held);
            // Whatever stands there is younger than what is marked here.
            let ours = ours.map(|held| if held.is_soft() { Mono(0) } else { held.expires() });
            if !proven || ours.is_none_or(|ours| now + remaining <= ours + self.options.lease_ttl) {
                return Ok(Asked::Load(plain));
            }
        }
        let stale = match policy.unproven {
            _ if proven => None,
            Unproven::ServeStale => Some(Stale::Unproven),
            Unproven::ReadOrigin => return Ok(Asked::Load(plain)),
            Unproven::Fail => return Err(self.unproven(policy, as_of)),
        };
        let age = self.clock.wall_ms().saturating_sub(entry.loaded_wall_ms);
        let loaded = Mono(now.0.saturating_sub(age.saturating_mul(1_000_000)));
        let ends = now + remaining;
        let entry = Entry { ttl: ends.since(loaded), ..entry };
        let refresh_from = refresh_from(policy, ends, remaining, entry.cost);
        let entry = Held::new(entry, loaded, refresh_from, false, self.marks(policy));
        if policy.tiers.local {
            let verdict = self.local.fill(&job.key, Arc::clone(&entry), epoch);
            self.filled(job, &entry, Tier::Local, Tier::Shared, verdict);
        }
        let tier = Tier::Shared;
        let epoch = Some(epoch);
        Ok(Asked::Answer(Landed { entry, tier, as_of, stale, stored: None, epoch }))
    }

    async fn load(&self, job: &Job, start: Start) -> Result<Landed, ReadError> {
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
        let outcome = match start.lease {
            Some(lease) => self.with_heartbeat(&job.key, lease, gate.load(question)).await,
            None => gate.load(question).await,
        };
        let took = self.clock.mono().since(asked).as_secs_f64();
        match outcome {
            Ok((loaded, began)) => {
                self.metrics.load(policy, kind(&loaded.content), took);
                Ok(self.store(job, loaded, began, start).await)
            }
            Err(err) => {
                self.metrics.load(policy, err.as_str(), took);
                self.give_back(job, start).await;
                Err(err)
            }
        }
    }

    /// Keeps the lease alive while the load is under way. A dead holder's lease runs out by
    /// itself; one that lost its lease finishes for its own readers.
    async fn with_heartbeat<T>(
        &self,
        key: &Key,
        lease: LeaseToken,
        load: impl Future<Output = T>,
    ) -> T {
        let ttl = self.options.lease_ttl;
        let beat = async {
            loop {
                tokio::time::sleep(ttl / 3).await;
                let renewed = self.port.call(self.port.tier.renew(key, lease, ttl)).await;
                if renewed == Some(false) {
                    self.metrics.leases_lost.inc();
                    return;
                }
            }
        };
        tokio::pin!(load);
        tokio::select! {
            biased;
            done = &mut load => done,
            () = beat => load.await,
        }
    }

    async fn give_back(&self, job: &Job, start: Start) {
        if let Some(lease) = start.lease {
            self.port.call(self.port.tier.release(&job.key, lease)).await;
        }
    }

    /// Offers what was loaded to the shared tier, then to the in-process tier.
    async fn store(&self, job: &Job, loaded: Loaded, began: Mono, start: Start) -> Landed {
        let policy = &job.policy;
        let now = self.clock.mono();
        let ttl = life(policy, &loaded, self.options.chance.unit());
        let (epoch, tau) = start.token.unzip();
        let entry = compact(Entry {
            content: loaded.content,
            tau: tau.unwrap_or_default(),
            tags: if loaded.tags.is_empty() { Arc::default() } else { loaded.tags.into() },
            loaded_wall_ms: self.clock.wall_ms(),
            cost: now.since(began),
            ttl,
        });
        let refresh_from = match entry.content {
            // Never handed out, so it needs a closer look from the beginning.
            Content::Uncacheable => Mono(0),
            _ => refresh_from(policy, began + ttl, ttl, entry.cost),
        };
        let mut landed = Landed {
            entry: Held::new(entry, began, refresh_from, true, self.marks(policy)),
            tier: Tier::Origin,
            as_of: Some(began),
            stale: None,
            stored: None,
            epoch,
        };
        if landed.is_uncacheable() {
            if !policy.tiers.is_none() {
                self.local.mark_uncacheable(&job.key, Arc::clone(&landed.entry));
            }
            self.give_back(job, start).await;
            return landed;
        }
        let fits = size(&landed.entry.content) <= policy.max_bytes;
        let Some(epoch) = epoch.filter(|_| fits && !ttl.is_zero() && !policy.tiers.is_none())
        else {
            self.give_back(job, start).await;
            return landed;
        };
        if policy.tiers.shared && start.shared {
            let entry = Entry::clone(&landed.entry);
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
    fn marks(&self, policy: &Policy) -> bool {
        self.options.governor && policy.is_lenient()
    }

    fn filled(&self, job: &Job, entry: &Entry, tier: Tier, from: Tier, verdict: Verdict) {
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
                ttl: entry.ttl,
                verdict,
            })
        });
    }

    fn unproven(&self, policy: &Policy, as_of: Option<Mono>) -> ReadError {
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
    match loaded.ttl {
        // What the origin allows is not exceeded.
        Some(allowed) => spread(allowed).min(allowed),
        None => spread(usual),
    }
}

/// From when on readers draw lots for an early refresh; at most the last half of its life.
fn refresh_from(policy: &Policy, expires: Mono, left: Duration, cost: Duration) -> Mono {
    if policy.refresh.beta <= 0.0 {
        return expires;
    }
    let lead = cost.mul_f64((policy.refresh.beta * LEADS).min(1e6)).min(left / 2);
    let nanos = u64::try_from(lead.as_nanos()).unwrap_or(u64::MAX);
    Mono(expires.0.saturating_sub(nanos))
}

/// The same entry in memory of its own: what an origin or a tier hands over may be a small slice of
/// something large, which the in-process tier's limit would not see.
fn compact(entry: Entry) -> Entry {
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

fn kind(content: &Content) -> &'static str {
    match content {
        Content::Present(_) => "present",
        Content::Absent => "absent",
        Content::Uncacheable => "uncacheable",
    }
}
