//! The shared tier of a single process: the pure rules under one lock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::coverage::has_caught_up;
use coherence::fence::Gap;
use coherence::leadership::CLAIM_LIFETIME;
use coherence::lease::Grant;
use coherence::{
    AppliedSchema, Batch, Claim, Clock, Coverage, CoverageDigest, Epoch, Event, Fence, LeaseToken,
    Leases, Lsn, Mono, Offer, Refusal, Renewal, Subject, Verdict,
};
use contract::Key;
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::mpsc;

use super::broadcast::Broadcast;
use super::error::TierError;
use super::eviction_stamps::EvictionStamps;
use super::tier::{
    Fill, LeadRequest, Leadership, Led, NodeMessage, Outcome, SharedRead, SharedTier, TierPosition,
    Touch,
};
use crate::entry::{Content, Entry};
use crate::survey::Survey;

/// The bytes that an entry takes beside its key and content: the slot, the entry's own fields, the headers of
/// the allocations.
const OVERHEAD_BYTES: u64 = 256;

/// The number of tombstones that are kept by default, at 100 bytes and more each beside the entries. The
/// floor replaces the oldest ones beyond it.
const TOMBSTONES_MAX: usize = 250_000;

/// Expired leases are removed after this many grants.
const SWEEP_EVERY: u64 = 1_024;

/// Entries that are dropped in place. More are dropped on another thread.
const DROPPED_IN_PLACE: usize = 1_000;

/// Entries that a survey looks at while it holds the lock.
const SURVEYED_AT_ONCE: usize = 256;

/// All changes are made under the lock of [`State`]. A survey walks the entries without it.
type Entries = Cache<Key, Stored, Weight>;

/// The embedded tier. No call visits more entries than it names: entries that a tag or a wildcard has made old are
/// removed when they are looked up, or evicted. Only entries are evicted to stay within its bytes; tombstones are stored apart, and
/// only [`SharedTier::collect`] and [`SharedTier::trim_tombstones`] drop them.
pub struct MemoryTier {
    clock: Arc<dyn Clock>,
    tombstones: usize,
    state: Mutex<State>,
}

struct State {
    fence: Fence,
    leases: Leases,
    grants: u64,
    entries: Arc<Entries>,
    stamps: EvictionStamps,
    subscribers: Broadcast,
    claim: Option<(Claim, Mono)>,
    coverage: Coverage,
    /// The schema that the log of the present epoch was applied under.
    schema: Option<AppliedSchema>,
}

#[derive(Clone)]
struct Stored {
    entry: Entry,
    expires: Mono,
    stamp: u64,
}

#[derive(Clone, Copy)]
struct Weight;

impl Weighter<Key, Stored> for Weight {
    fn weight(&self, key: &Key, stored: &Stored) -> u64 {
        let content = match &stored.entry.content {
            Content::Present(value) => value.head.len() + value.body.len(),
            Content::Absent | Content::Uncacheable => 0,
        };
        let tags: usize = stored.entry.tags.iter().map(|tag| tag.as_str().len() + 32).sum();
        OVERHEAD_BYTES + (key.as_bytes().len() + content + tags) as u64
    }
}

impl MemoryTier {
    /// Creates an empty tier without an epoch. Its entries take at most `capacity_bytes`; the least used
    /// ones are evicted.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, capacity_bytes: u64) -> Self {
        let state = State {
            fence: Fence::default(),
            leases: Leases::default(),
            grants: 0,
            entries: empty_cache(capacity_bytes),
            stamps: EvictionStamps::default(),
            subscribers: Broadcast::default(),
            claim: None,
            coverage: Coverage::default(),
            schema: None,
        };
        Self { clock, tombstones: TOMBSTONES_MAX, state: Mutex::new(state) }
    }

    /// Keeps at most `limit` tombstones instead of 250,000.
    #[must_use]
    pub fn with_tombstones(self, limit: usize) -> Self {
        Self { tombstones: limit, ..self }
    }

    /// Returns a copy of its state without its subscribers, as if it restarted from a backup of now. For
    /// simulations.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.state.lock();
        let entries = empty_cache(state.entries.capacity());
        // In a fixed order, so that later evictions do not depend on the hasher's seed.
        let stored: BTreeMap<_, _> = state.entries.iter().collect();
        for (key, stored) in stored {
            entries.insert(key, stored);
        }
        let copy = State {
            fence: state.fence.clone(),
            leases: state.leases.clone(),
            grants: state.grants,
            entries,
            stamps: state.stamps.clone(),
            subscribers: Broadcast::default(),
            claim: state.claim.clone(),
            coverage: state.coverage.clone(),
            schema: state.schema.clone(),
        };
        Self {
            clock: Arc::clone(&self.clock),
            tombstones: self.tombstones,
            state: Mutex::new(copy),
        }
    }

    /// Returns the number of entries and their bytes.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.entries.len(), state.entries.weight())
    }

    /// Returns the number of tombstones.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.state.lock().fence.tombstones()
    }

    /// Counts those of `part` that are valid and that the subjects concern. Returns `false` if `entries` were
    /// dropped.
    fn count_part(
        &self,
        subjects: &[Subject],
        entries: &Arc<Entries>,
        part: &[(Key, Stored)],
        now: Mono,
        survey: &mut Survey,
    ) -> bool {
        let state = self.state.lock();
        for (key, stored) in part {
            let tags = &stored.entry.tags;
            let meant = subjects.iter().any(|subject| subject.concerns(key, tags));
            if meant && state.fence.epoch().is_some() && state.is_valid(key, stored, now) {
                survey.count(key);
            }
        }
        Arc::ptr_eq(&state.entries, entries)
    }
}

fn empty_cache(capacity_bytes: u64) -> Arc<Entries> {
    // Only sets the length of the list of recently evicted keys; an estimate of 1 KiB per entry is enough.
    let entries = usize::try_from(capacity_bytes / 1_024).unwrap_or(usize::MAX);
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(entries.clamp(16, 1 << 20))
        .weight_capacity(capacity_bytes)
        .build()
        .expect("both capacities are set");
    let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
    Arc::new(Entries::with_options(options, Weight, hasher, lifecycle))
}

/// Drops entries that no call can find any more.
fn discard(entries: Arc<Entries>) {
    if entries.len() > DROPPED_IN_PLACE
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        drop(runtime.spawn_blocking(move || drop(entries)));
    }
}

impl State {
    fn position(&self) -> Option<TierPosition> {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        let coverage = self.fence.coverage();
        self.fence.epoch().map(|epoch| TierPosition { epoch, applied, watermark, coverage })
    }

    fn live_claim(&self, now: Mono) -> Option<&Claim> {
        let live = self.claim.as_ref().filter(|(_, renewed)| now.since(*renewed) < CLAIM_LIFETIME);
        live.map(|(claim, _)| claim)
    }

    fn lead(&mut self, request: &LeadRequest, now: Mono) -> Led {
        let LeadRequest { claim, history, from, coverage, upto } = request;
        let live = self.live_claim(now);
        let applied = self.fence.epoch().map(|_| self.fence.applied());
        if let Err(conflict) = claim.replaces(live, applied, history) {
            return Led::Refused(conflict, live.map(|live| live.label.clone()).unwrap_or_default());
        }
        if self.coverage.digest() != *from || !has_caught_up(*upto, applied) {
            return Led::Changed;
        }
        self.claim = Some((claim.clone(), now));
        self.coverage = coverage.clone();
        self.fence.state_coverage(coverage.digest());
        if let Some(TierPosition { epoch, applied, watermark, coverage }) = self.position() {
            let (prev, upto) = (applied, applied);
            let batch = Batch { epoch, prev, upto, watermark, coverage, events: Vec::new() };
            self.subscribers.publish(&NodeMessage::Batch(batch));
        }
        Led::Granted
    }

    fn is_valid(&self, key: &Key, stored: &Stored, now: Mono) -> bool {
        stored.expires > now
            && self.fence.stands(key, &stored.entry.tags, stored.entry.tau)
            && !self.stamps.is_evicted(stored.stamp, key, &stored.entry.tags)
    }

    /// Returns the entry if it is valid, and removes it if it is not.
    fn find(&mut self, key: &Key, now: Mono) -> Option<(Entry, Duration)> {
        let stored = self.entries.get(key)?;
        if self.is_valid(key, &stored, now) {
            return Some((stored.entry, stored.expires.since(now)));
        }
        self.entries.remove(key);
        None
    }

    /// Touches the entry if it is valid: prolongs its life and raises its τ to the applied position, since a
    /// valid entry misses no applied commit.
    fn touch(&mut self, key: &Key, touch: Touch, now: Mono, wall_ms: u64) {
        let Some(stored) = self.entries.peek(key) else { return };
        let Stored { entry, expires, .. } = &stored;
        let proven = self.fence.applied() >= touch.proven_from;
        if !proven || !entry.is_present() || !self.is_valid(key, &stored, now) {
            return;
        }
        let age = Duration::from_millis(wall_ms.saturating_sub(entry.loaded_wall_ms));
        let left = touch.sliding_ttl(entry.ttl, age, now).prolonged(now, expires.since(now));
        let tau = self.fence.confirm(key, &entry.tags, entry.tau);
        if let (Some(left), Some(tau)) = (left, tau) {
            let entry = Entry { tau, ..entry.clone() };
            let touched = Stored { entry, expires: now + left, ..stored };
            // Fails only where there is no entry.
            let _ = self.entries.replace(key.clone(), touched, false);
        }
    }

    fn read(&mut self, key: &Key, lease: Option<Duration>, now: Mono) -> SharedRead {
        let position = self.position();
        let outcome = if position.is_none() {
            Outcome::Miss
        } else if let Some((entry, remaining)) = self.find(key, now) {
            Outcome::Found { entry, remaining }
        } else if let Some(ttl) = lease {
            self.lease(key, now, ttl)
        } else {
            Outcome::Miss
        };
        SharedRead { position, outcome }
    }

    fn lease(&mut self, key: &Key, now: Mono, ttl: Duration) -> Outcome {
        self.grants += 1;
        if self.grants.is_multiple_of(SWEEP_EVERY) {
            self.leases.sweep(now);
        }
        match self.leases.acquire(key, LeaseToken(self.grants), now, ttl) {
            Grant::Granted(token) => Outcome::Lead(token),
            Grant::Held { until } => Outcome::Wait(until.since(now)),
        }
    }

    fn fill(&mut self, fill: &Fill, now: Mono) -> Verdict {
        let stored = self.entries.peek(&fill.key);
        let stored = stored.filter(|stored| self.is_valid(&fill.key, stored, now));
        let offer = Offer {
            key: &fill.key,
            tags: &fill.entry.tags,
            tau: fill.entry.tau,
            epoch: fill.epoch,
            stored: stored.map(|stored| stored.entry.tau),
        };
        let mut verdict = self.fence.admit(offer);
        if let Some(lease) = fill.lease {
            if verdict == Verdict::Accept && self.leases.is_reassigned(&fill.key, lease, now) {
                verdict = Verdict::Refuse(Refusal::Lease);
            }
            self.leases.release(&fill.key, lease);
        }
        if verdict == Verdict::Accept {
            let expires = now + fill.entry.ttl;
            let stamp = self.stamps.next();
            self.entries
                .insert(fill.key.clone(), Stored { entry: fill.entry.clone(), expires, stamp });
        }
        verdict
    }

    /// Stores the value that an event contains in place of the entry that it has removed, by the fill rule.
    fn renew(&mut self, event: &Event, renewal: &Renewal, epoch: Epoch, now: Mono) {
        let Renewal { key, tags, .. } = renewal;
        let offer = Offer { key, tags, tau: event.lsn, epoch, stored: None };
        if self.fence.admit(offer) == Verdict::Accept {
            let entry = Entry::renewed(event, renewal);
            let expires = now + entry.ttl;
            self.entries.insert(key.clone(), Stored { entry, expires, stamp: self.stamps.next() });
        }
    }

    fn apply(&mut self, batch: &Batch, now: Mono) -> Result<(), Gap> {
        let renewals = batch.events.iter().flat_map(|event| &event.renewals);
        let is_stored = |renewal: &Renewal| {
            self.entries.peek(&renewal.key).is_some_and(|stored| {
                stored.entry.definition == renewal.definition
                    && self.is_valid(&renewal.key, &stored, now)
            })
        };
        // Has to be read before the tombstones are raised, which make all of them invalid.
        let renewable = renewals.filter(|renewal| is_stored(renewal));
        let valid: HashSet<Key> = renewable.map(|renewal| renewal.key.clone()).collect();
        self.fence.apply(batch)?;
        if let Some((_, renewed)) = &mut self.claim {
            *renewed = now;
        }
        for event in &batch.events {
            for subject in &event.subjects {
                // Entries that a tag or a wildcard names are removed when they are looked up.
                if let Subject::Key(key) = subject {
                    let old = |stored: &Stored| stored.entry.tau < event.lsn;
                    let gone = self.entries.remove_if(key, old).is_some();
                    if let Some(renewal) =
                        event.renewal(key).filter(|_| gone && valid.contains(key))
                    {
                        self.renew(event, renewal, batch.epoch, now);
                    }
                }
            }
        }
        self.subscribers.publish(&NodeMessage::Batch(batch.clone()));
        Ok(())
    }

    fn evict(&mut self, subjects: &[Subject]) {
        if subjects.is_empty() {
            return;
        }
        let tags = || {
            subjects.iter().filter_map(|subject| match subject {
                Subject::Tag(tag) => Some(tag),
                _ => None,
            })
        };
        if tags().next().is_some() {
            self.stamps.evict(tags());
        }
        for subject in subjects {
            match subject {
                Subject::Key(key) => drop(self.entries.remove(key)),
                Subject::Tag(_) => {}
                Subject::KeysLike(_) | Subject::TagsLike(_) => self.stamps.evict_wildcard(subject),
                Subject::Everything => {
                    self.stamps.evict_everything();
                    self.drop_entries();
                }
            }
        }
        self.subscribers.publish(&NodeMessage::Evict(subjects.to_vec()));
    }

    fn drop_entries(&mut self) {
        let empty = empty_cache(self.entries.capacity());
        discard(std::mem::replace(&mut self.entries, empty));
    }

    fn reset_epoch(&mut self, epoch: Epoch, at: Lsn, watermark: Lsn) {
        self.fence.reset_epoch(epoch, at, watermark);
        self.leases.clear();
        self.drop_entries();
        self.schema = None;
        let start = Batch {
            epoch,
            prev: at,
            upto: at,
            watermark,
            coverage: CoverageDigest::NONE,
            events: Vec::new(),
        };
        self.subscribers.publish(&NodeMessage::Batch(start));
    }
}

#[async_trait]
impl SharedTier for MemoryTier {
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError> {
        let now = self.clock.mono();
        Ok(self.state.lock().read(key, lease, now))
    }

    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let now = self.clock.mono();
        let mut state = self.state.lock();
        Ok(keys.iter().map(|key| state.read(key, lease, now)).collect())
    }

    async fn read_and_touch(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let (now, wall_ms) = (self.clock.mono(), self.clock.wall_ms());
        let mut state = self.state.lock();
        let reads = keys.iter().enumerate().map(|(at, key)| {
            if let Some(touch) = touches.get(at).copied().flatten() {
                state.touch(key, touch, now, wall_ms);
            }
            state.read(key, lease, now)
        });
        Ok(reads.collect())
    }

    async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        let (now, wall_ms) = (self.clock.mono(), self.clock.wall_ms());
        let mut state = self.state.lock();
        uses.iter().for_each(|(key, touch)| state.touch(key, *touch, now, wall_ms));
        Ok(())
    }

    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        let now = self.clock.mono();
        let state = self.state.lock();
        let stored = state.entries.peek(key).filter(|stored| state.is_valid(key, stored, now));
        let outcome = stored.map_or(Outcome::Miss, |stored| Outcome::Found {
            remaining: stored.expires.since(now),
            entry: stored.entry,
        });
        Ok(SharedRead { position: state.position(), outcome })
    }

    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError> {
        Ok(self.state.lock().fill(fill, self.clock.mono()))
    }

    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError> {
        Ok(self.state.lock().leases.renew(key, lease, self.clock.mono(), ttl))
    }

    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError> {
        self.state.lock().leases.release(key, lease);
        Ok(())
    }

    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError> {
        Ok(self.state.lock().apply(batch, self.clock.mono()))
    }

    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError> {
        self.state.lock().evict(subjects);
        Ok(())
    }

    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError> {
        let now = self.clock.mono();
        let entries = Arc::clone(&self.state.lock().entries);
        let mut survey = Survey::default();
        let mut left = entries.iter();
        loop {
            let part: Vec<_> = left.by_ref().take(SURVEYED_AT_ONCE).collect();
            // Dropped meanwhile, as was the rest.
            if !self.count_part(subjects, &entries, &part, now, &mut survey) {
                return Ok(Survey::default());
            }
            if part.len() < SURVEYED_AT_ONCE {
                return Ok(survey);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn reset_epoch(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError> {
        self.state.lock().reset_epoch(epoch, at, watermark);
        Ok(())
    }

    async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError> {
        Ok(self.state.lock().lead(request, self.clock.mono()))
    }

    async fn leadership(&self) -> Result<Leadership, TierError> {
        let (state, now) = (self.state.lock(), self.clock.mono());
        let coverage = state.coverage.clone();
        Ok(Leadership {
            claim: state.live_claim(now).cloned(),
            stated: coverage.digest(),
            coverage,
        })
    }

    async fn position(&self) -> Result<Option<TierPosition>, TierError> {
        Ok(self.state.lock().position())
    }

    async fn applied_schema(&self) -> Result<Option<(Epoch, Option<AppliedSchema>)>, TierError> {
        let state = self.state.lock();
        Ok(state.fence.epoch().map(|epoch| (epoch, state.schema.clone())))
    }

    async fn record_schema(&self, epoch: Epoch, schema: &AppliedSchema) -> Result<bool, TierError> {
        let mut state = self.state.lock();
        let is_current = state.fence.epoch() == Some(epoch);
        if is_current {
            state.schema = Some(schema.clone());
        }
        Ok(is_current)
    }

    async fn collect(&self, upto: Lsn) -> Result<u64, TierError> {
        Ok(self.state.lock().fence.collect(upto) as u64)
    }

    async fn trim_tombstones(&self) -> Result<u64, TierError> {
        let fence = &mut self.state.lock().fence;
        let upto = fence.overflow(self.tombstones);
        Ok(upto.map_or(0, |upto| fence.collect(upto) as u64))
    }

    fn subscribe(&self) -> mpsc::Receiver<NodeMessage> {
        self.state.lock().subscribers.subscribe()
    }
}
