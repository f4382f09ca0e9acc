//! The tier itself: lookups, fills and the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coherence::{
    Batch, CausalToken, Coverage, Epoch, Fence, Followed, Log, Lsn, Mono, Offer, Reached, Refusal,
    Subject, Verdict,
};
use contract::{Key, Tag};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::entry::LocalEntry;
use super::invalidation::Invalidator;
use super::pools::{Assured, PoolStatus};
use super::store::Store;
use super::writer::Writer;
use crate::chance::Chance;
use crate::shared::TierPosition;

/// The status of the in-process tier.
#[derive(Clone, Debug)]
pub struct LocalStatus {
    /// The epoch that it follows. `None`: it has received none yet, or has missed messages.
    pub epoch: Option<Epoch>,
    /// A: every event up to here has been applied.
    pub applied: Lsn,
    /// W, as far as this node knows.
    pub watermark: Lsn,
    /// The bound of an answer given now. `None`: nothing is proven.
    pub bound: Option<Duration>,
    /// The number of entries that no invalidation has made old. While a wildcard or a drop is carried out in the
    /// background, entries that were not checked yet are not counted.
    pub entries: usize,
    /// The bytes that the entries take, overhead included; also those of old entries that are still to be removed.
    pub bytes: u64,
    /// The number of tombstones.
    pub tombstones: usize,
    /// Entries evicted so far for lack of memory.
    pub evictions: u64,
    /// Entries renewed so far from the log, without a load.
    pub renewals: u64,
    /// Entries that a commit has made soft-stale so far instead of removing them.
    pub soft_stale: u64,
    /// Invalidations so far that were merged with an earlier one, because the entry was soft-stale already.
    pub merged: u64,
    /// The status of each pool, in the order of [`POOLS`](crate::POOLS).
    pub pools: [PoolStatus; 3],
}

/// The settings of the in-process tier.
pub(crate) struct LocalOptions {
    /// The limit of its memory.
    pub(crate) bytes: u64,
    pub(crate) assured: Assured,
    /// The number of samples that it remembers.
    pub(crate) samples: usize,
    /// The number of entries that an invalidation settles before it counts as applied.
    pub(crate) at_once: usize,
    pub(crate) chance: Arc<dyn Chance>,
    /// The mappings of this node's contracts.
    pub(crate) contracts: Coverage,
}

/// The in-process tier.
pub(crate) struct Local {
    pub(super) store: Store,
    pub(super) writer: Mutex<Writer>,
    /// The time as of which every entry in the store is proven, plus one. Zero: nothing is proven.
    pub(super) proven: AtomicU64,
    /// Changes with each epoch reset.
    generation: AtomicU64,
    /// Notified when the applied position has moved.
    moved: Notify,
    /// Notified when an invalidation has left entries to the sweep.
    pub(super) lagging: Notify,
    /// The number of entries that an invalidation settles before it counts as applied.
    at_once: usize,
    pub(super) chance: Arc<dyn Chance>,
}

impl Local {
    /// Creates an empty tier.
    pub(crate) fn new(options: LocalOptions) -> Self {
        let LocalOptions { bytes, assured, samples, at_once, chance, contracts } = options;
        Self {
            store: Store::new(bytes, assured),
            writer: Mutex::new(Writer::new(samples, contracts)),
            proven: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            moved: Notify::new(),
            lagging: Notify::new(),
            at_once,
            chance,
        }
    }

    pub(super) fn invalidator<'a>(&'a self, writer: &'a mut Writer) -> Invalidator<'a> {
        Invalidator { store: &self.store, writer, chance: &*self.chance }
    }

    /// Returns the entry under `key`, with the time as of which the tier is proven. Does not check expiry:
    /// the caller reads the clock afterwards, so that no delay makes a bound look smaller.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<(LocalEntry, Option<Mono>)> {
        let generation = self.generation.load(Ordering::Acquire);
        let proven = self.proven();
        let entry = self.store.get(key)?;
        let entry = match self.store.raised.is_unchanged(&entry) {
            true => entry,
            false => self.check(entry)?,
        };
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        Some((entry, proven))
    }

    /// Checks an entry that was found after a raise, the first time without the tier's mutex. Returns its
    /// soft-stale copy if an invalidation has left that of it.
    #[cold]
    fn check(&self, entry: LocalEntry) -> Option<LocalEntry> {
        if self.store.raised.is_current(&entry) {
            return Some(entry);
        }
        let may_stay = entry.policy.soft_allowed && !self.store.raised.is_removed(&entry);
        if !may_stay {
            return None;
        }
        let mut writer = self.writer.lock();
        let stored = self.store.peek_like(&entry)?;
        self.invalidator(&mut writer).settle_stored(stored)
    }

    /// As [`get`](Self::get) without any proof, to measure the cost of the proof.
    #[cfg(any(test, feature = "bench-internals"))]
    #[inline]
    pub(crate) fn get_unproven(&self, key: &Key) -> Option<LocalEntry> {
        self.store.get(key)
    }

    /// As [`get`](Self::get), if the entry has every commit up to the token: its tier has applied the log so
    /// far, or the entry was read late enough. An entry that says "uncacheable" holds no data that could be
    /// old and is always returned.
    pub(crate) fn get_with_token(
        &self,
        key: &Key,
        token: CausalToken,
    ) -> Option<(LocalEntry, Option<Mono>)> {
        // All writes take this lock, so position and entry belong together.
        let mut writer = self.writer.lock();
        self.invalidator(&mut writer).settle(key)?;
        let (entry, proven) = self.get(key)?;
        let upto = entry.reaches(writer.fence.applied());
        let reached =
            entry.is_uncacheable() || token.reached(writer.fence.epoch(), upto) == Reached::Yes;
        reached.then_some((entry, proven))
    }

    /// Whether this tier has reached the token.
    pub(crate) fn reached(&self, token: CausalToken) -> Reached {
        let writer = self.writer.lock();
        token.reached(writer.fence.epoch(), writer.fence.applied())
    }

    /// Waits until this tier has reached the token, or never will.
    pub(crate) async fn wait_for(&self, token: CausalToken) -> Reached {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            // From here on no notification is missed.
            moved.as_mut().enable();
            match self.reached(token) {
                Reached::NotYet => moved.await,
                known => return known,
            }
        }
    }

    /// Returns the position that a tier of this one's epoch must have applied to be proven as of `as_of`.
    pub(crate) fn position_proven_from(&self, as_of: Mono) -> Option<Lsn> {
        let writer = self.writer.lock();
        writer.bound.needed_of(writer.fence.epoch()?.log().run(), as_of)
    }

    /// As [`get`](Self::get), without counting a use.
    pub(crate) fn peek(&self, key: &Key) -> Option<(LocalEntry, Option<Mono>)> {
        let generation = self.generation.load(Ordering::Acquire);
        let proven = self.proven();
        let entry = self.check(self.store.peek(key)?)?;
        let unchanged = self.generation.load(Ordering::Acquire) == generation;
        unchanged.then_some((entry, proven))
    }

    #[inline]
    fn proven(&self) -> Option<Mono> {
        self.proven.load(Ordering::Acquire).checked_sub(1).map(Mono)
    }

    /// Stores an entry by the fill rule. `epoch`: the tier's epoch as it was known before the load; `mappings`:
    /// those that the entry depends on. While the leader does not apply them, nothing is stored.
    pub(crate) fn fill(
        &self,
        key: &Key,
        entry: LocalEntry,
        epoch: Epoch,
        mappings: &[u64],
    ) -> Verdict {
        let mut writer = self.writer.lock();
        if !writer.covers(mappings) {
            return Verdict::Refuse(Refusal::Unproven);
        }
        let stored = self.invalidator(&mut writer).settle(key).map(|old| old.tau);
        let offer = Offer { key, tags: &entry.tag_list(), tau: entry.tau, epoch, stored };
        let verdict = writer.fence.admit(offer);
        if verdict == Verdict::Accept {
            self.store.insert(&mut writer.index, entry);
        }
        verdict
    }

    /// Stores that the answer under `key` may not be stored. Such an entry holds no data that could be old,
    /// so the fence is not asked. An invalidation removes it as any other.
    pub(crate) fn insert_uncacheable(&self, entry: LocalEntry) {
        let mut writer = self.writer.lock();
        // An event that was applied before does not concern it.
        let tau = entry.tau.max(writer.fence.applied()).max(writer.index.newest(entry.tags()));
        let entry = if tau == entry.tau { entry } else { entry.with_tau(tau) };
        self.store.insert(&mut writer.index, entry);
    }

    /// Stores, as soft-stale, an entry that [`fill`](Self::fill) has refused because of a commit during its
    /// load: it is younger than the stored one, and under a storm of commits no load brings a better one.
    /// Only entries that this process has loaded itself are accepted.
    pub(crate) fn fill_soft_stale(
        &self,
        key: &Key,
        entry: &LocalEntry,
        epoch: Epoch,
        mappings: &[u64],
    ) -> bool {
        if !entry.loaded_here || !entry.policy.soft_allowed {
            return false;
        }
        let mut writer = self.writer.lock();
        if !writer.covers(mappings) {
            return false;
        }
        let old = self.invalidator(&mut writer).settle(key);
        let stored = old.as_ref().map(|old| old.tau);
        let offer = Offer { key, tags: &entry.tag_list(), tau: entry.tau, epoch, stored };
        let Some(missed) = writer.fence.admit_late(offer) else { return false };
        let proof = coherence::SoftStale { missed, as_of: entry.loaded };
        let soft = old.as_ref().and_then(|old| old.soft());
        if soft.is_some_and(|old| proof.as_of <= old.proof.as_of) {
            return false;
        }
        let entry = entry.soft_stale(proof, self.chance.unit());
        self.store.insert(&mut writer.index, entry);
        true
    }

    /// Applies a batch of the log. `in_order`: it came by the node stream, so no later message fills a gap
    /// before it, and an epoch other than this tier's is a later one.
    pub(crate) fn apply(&self, batch: &Batch, now: Mono, in_order: bool) -> Followed {
        let mut writer = self.writer.lock();
        writer.time = writer.time.max(now);
        let covered_before = writer.known.covers_own(writer.fence.coverage());
        let followed = writer.fence.follow(batch, in_order);
        match followed {
            Followed::Applied => {
                let is_lagging = self.invalidator(&mut writer).apply(&batch.events, self.at_once);
                self.wake_sweep(is_lagging);
            }
            Followed::Repeated => {}
            Followed::Reset(_) => self.clear(&mut writer),
            Followed::Gap(_) => return followed,
        }
        writer.apply_to_filters(batch);
        self.drop_uncovered(&mut writer, covered_before);
        writer.high_water.note(batch.epoch.log(), batch.upto);
        let watermark = writer.fence.watermark();
        writer.watermarks.note(batch.epoch, watermark, now);
        self.publish(&writer);
        writer.collect_tombstones(now);
        self.moved.notify_waiters();
        followed
    }

    /// Drops everything, after messages may have been missed. The next batch begins a new epoch.
    pub(crate) fn reset(&self) {
        let mut writer = self.writer.lock();
        self.clear(&mut writer);
        writer.void_filters();
        writer.fence = Fence::default();
        writer.watermarks.forget();
    }

    /// Drops entries that the leader may not have invalidated, where it does not apply the mappings of all contracts of this
    /// node, or did not before the last batch.
    fn drop_uncovered(&self, writer: &mut Writer, covered_before: bool) {
        let covered = writer.known.covers_own(writer.fence.coverage());
        if !(covered && covered_before) {
            writer.void_filters();
        }
        if !covered && covered_before {
            self.clear(writer);
        }
    }

    /// Whether the tier follows a leader whose mappings this node does not know.
    pub(crate) fn lacks_coverage(&self) -> bool {
        let writer = self.writer.lock();
        writer.fence.epoch().is_some()
            && writer.known.with_digest(writer.fence.coverage()).is_none()
    }

    /// Records the mappings that a leader has stated.
    pub(crate) fn learn_coverage(&self, stated: Coverage) {
        self.writer.lock().known.learn(stated);
    }

    /// Whether the leader applies the mappings of all contracts of this node.
    pub(crate) fn is_covered(&self) -> bool {
        let writer = self.writer.lock();
        writer.known.covers_own(writer.fence.coverage())
    }

    /// Whether a shared tier at this position follows the log that this node samples, with a leader that applies
    /// the mappings.
    pub(crate) fn accepts(&self, position: TierPosition, mappings: &[u64]) -> bool {
        let writer = self.writer.lock();
        writer.follows(position.epoch) && writer.known.covers(position.coverage, mappings)
    }

    /// Whether this tier's epoch is of the log that this node samples; `None`: there is no epoch or no sample.
    pub(crate) fn is_of_sampled_log(&self) -> Option<bool> {
        let writer = self.writer.lock();
        let epoch = writer.fence.epoch()?;
        writer.bound.end()?;
        Some(writer.follows(epoch))
    }

    fn clear(&self, writer: &mut Writer) {
        self.proven.store(0, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        let mut invalidator = self.invalidator(writer);
        invalidator.drop_all(self.at_once);
        self.wake_sweep(invalidator.is_lagging());
    }

    fn wake_sweep(&self, is_lagging: bool) {
        if is_lagging {
            self.lagging.notify_one();
        }
    }

    /// Removes entries now, without a position: proves nothing and raises no tombstone.
    pub(crate) fn evict(&self, subjects: &[Subject]) {
        let mut writer = self.writer.lock();
        let is_lagging = self.invalidator(&mut writer).evict(subjects, self.at_once);
        self.wake_sweep(is_lagging);
    }

    /// Adds a sample: the primary was asked at `asked` and reported that its log ends at `end`.
    pub(crate) fn sample(&self, log: Log, asked: Mono, end: Lsn) {
        let mut writer = self.writer.lock();
        writer.bound.sample_of(log.run(), asked, end);
        self.publish(&writer);
    }

    fn publish(&self, writer: &Writer) {
        let proven = writer.proven(writer.fence.applied());
        let encoded = proven.map_or(0, |Mono(nanos)| nanos.saturating_add(1));
        self.proven.store(encoded, Ordering::Release);
    }

    /// Returns the epoch and W: the τ of a load that begins now.
    pub(crate) fn load_position(&self) -> Option<(Epoch, Lsn)> {
        let writer = self.writer.lock();
        let epoch = writer.fence.epoch().filter(|epoch| writer.follows(*epoch))?;
        Some((epoch, writer.fence.watermark()))
    }

    /// Returns the epoch and W for a load that shows the state of `as_of` or later.
    pub(crate) fn load_position_at(&self, as_of: Mono) -> Option<(Epoch, Lsn)> {
        let writer = self.writer.lock();
        writer.watermarks.token(as_of).filter(|(epoch, _)| writer.follows(*epoch))
    }

    /// Whether the database still writes the log of `epoch`, as far as this node knows.
    pub(crate) fn follows(&self, epoch: Epoch) -> bool {
        self.writer.lock().follows(epoch)
    }

    /// Returns the time at which this node learned that every commit up to `upto` is visible.
    pub(crate) fn visible_since(&self, upto: Lsn) -> Option<Mono> {
        self.writer.lock().watermarks.reached(upto)
    }

    /// Returns the time as of which a tier in `epoch` that has applied `applied` is proven, by this node's
    /// own samples.
    pub(crate) fn proven_at(&self, epoch: Epoch, applied: Lsn) -> Option<Mono> {
        let writer = self.writer.lock();
        // Samples belong to the database's history, of which this tier's is a part. A tier without an epoch
        // does not know to which log the samples belong.
        let own = writer.fence.epoch()?;
        let log = epoch.log();
        (own.log() == log).then(|| writer.bound.proven_of(log.run(), applied)).flatten()
    }

    /// Whether this tier has received an invalidation of an entry that another tier, which has applied
    /// `applied` in `epoch`, still stores: that tier came back with older data.
    pub(crate) fn outdates(&self, key: &Key, tags: &[Tag], epoch: Epoch, applied: Lsn) -> bool {
        self.writer.lock().fence.outdates(key, tags, epoch, applied)
    }

    /// Whether a tier that has applied `applied` in `epoch` is behind a position that this node has seen
    /// applied.
    pub(crate) fn is_behind(&self, epoch: Epoch, applied: Lsn) -> bool {
        self.writer.lock().high_water.is_past(epoch.log(), applied)
    }

    /// Returns A.
    pub(crate) fn applied(&self) -> Lsn {
        self.writer.lock().fence.applied()
    }

    /// Returns the last time at which the primary is known to have answered.
    pub(crate) fn sampled(&self) -> Option<Mono> {
        self.writer.lock().bound.proven(Lsn(u64::MAX))
    }

    /// Returns the status at `now`.
    pub(crate) fn status(&self, now: Mono) -> LocalStatus {
        let writer = self.writer.lock();
        let applied = writer.fence.applied();
        LocalStatus {
            epoch: writer.fence.epoch(),
            applied,
            watermark: writer.fence.watermark(),
            bound: writer.proven(applied).map(|proven| now.since(proven)),
            entries: self
                .store
                .len()
                .saturating_sub(writer.index.lagging() + writer.sweep.unvisited()),
            bytes: self.store.bytes(),
            tombstones: writer.fence.tombstones(),
            evictions: self.store.evictions(),
            renewals: writer.renewals,
            soft_stale: writer.soft_stale,
            merged: writer.merged,
            pools: self.store.pool_status(),
        }
    }
}
