//! The in-process tier.
//!
//! Reads take no lock of ours. All writing (fills, invalidations, new histories, samples) goes
//! through one mutex, which guards the fence, the index and the bound. What readers rely on:
//!
//! 1. An entry is inserted only while the fence admits it, under the mutex.
//! 2. Applying a batch raises the tombstones, removes or marks (`soft`) the entries they fell, and only *then*
//!    publishes the time as of which this tier is proven ([`Local::proven`]).
//! 3. A reader loads the proven time first and fetches the entry second. So whatever it fetches
//!    misses no commit that is covered by the time it has loaded.
//! 4. A new history withdraws the proof before it drops the entries, and changes the generation; a
//!    reader that saw two generations has found nothing.
//!
//! Lock order: the mutex, then a shard of the cache, then the list of what its hooks were told of.

mod absence;
mod bloom;
mod held;
mod index;
mod pools;
mod soft;
mod standby;
mod view;
mod weigh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coherence::absence::Place;
use coherence::fence::Gap;
use coherence::{
    After, Batch, Bound, Epoch, Event, Fence, Furthest, Log, Lsn, Mono, Offer, Reached, Subject,
    Trail, Verdict,
};
use contract::{Key, Tag};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use tokio::sync::Notify;

use self::absence::Filter;
pub(crate) use self::absence::{FilterId, Listed, Worth};
pub use self::absence::{FilterStanding, FilterState};
pub(crate) use self::bloom::{Bloom, When, most as most_keys};
pub use self::held::Held;
pub(crate) use self::held::Terms;
use self::index::Index;
use self::pools::Pools;
pub use self::pools::{Assured, MOST_ASSURED, POOLS, PoolStanding};
pub(crate) use self::soft::Soft;
pub(crate) use self::view::View;
use self::weigh::Weigh;
use crate::chance::Chance;
use crate::entry::{Content, Entry};

/// Tombstones live at least this long before the floor replaces them: longer than most loads, so
/// that collecting them refuses few fills.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(15);

/// More tombstones than this are collected at once.
const TOMBSTONES_MAX: usize = 200_000;

type Store = Cache<Key, Arc<Held>, Weigh, DefaultHashBuilder, Pools>;

/// What is behind the mutex.
struct Writer {
    fence: Fence,
    /// Stays when everything is dropped.
    furthest: Furthest,
    /// Where W stood when, for loads from services that lag.
    trail: Trail,
    bound: Bound,
    index: Index,
    filters: Vec<Filter>,
    /// What was heard of the log, for filters to come.
    place: Option<Place>,
    /// W as it was at a time, for [`TOMBSTONE_LIFE`].
    mark: (Mono, Lsn),
    renewals: u64,
    /// Entries that were marked, and invalidations that found them so, ever.
    marked: u64,
    merged: u64,
}

/// Where the in-process tier stands.
#[derive(Clone, Debug)]
pub struct LocalStanding {
    /// The history it follows; `None`: it has not heard of one yet, or has lost the thread.
    pub epoch: Option<Epoch>,
    /// A: every event up to here has been applied.
    pub applied: Lsn,
    /// W as far as this node knows.
    pub watermark: Lsn,
    /// The bound of an answer given now; `None`: nothing is proven.
    pub bound: Option<Duration>,
    /// Entries held.
    pub entries: usize,
    /// Bytes held, overhead included.
    pub bytes: u64,
    /// Tombstones kept.
    pub tombstones: usize,
    /// Entries evicted for want of room, ever.
    pub evictions: u64,
    /// Entries renewed from the log, without a load, ever.
    pub renewals: u64,
    /// Entries that a commit marked instead of removing them, ever.
    pub marked: u64,
    /// Invalidations that were merged with an earlier one, ever: they found the entry marked.
    pub merged: u64,
    /// What each pool holds, in the order of [`POOLS`].
    pub pools: [PoolStanding; 3],
}

/// What applying a batch did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Applied {
    /// Applied.
    Whole,
    /// Something was missing before it; nothing was done.
    Missed(Gap),
    /// Something was missing before it: everything was dropped, and the tier begins anew at its
    /// end.
    Restarted(Gap),
}

/// The in-process tier.
pub(crate) struct Local {
    store: Store,
    /// What the store may weigh; and from what weight on an entry is large for one of its parts.
    capacity: u64,
    large: u64,
    pools: Pools,
    writer: Mutex<Writer>,
    /// The time as of which everything in the store is proven, plus one; zero: nothing is proven.
    proven: AtomicU64,
    /// Changes with the history.
    generation: AtomicU64,
    /// Rings when the position has moved.
    moved: Notify,
    chance: Arc<dyn Chance>,
}

impl Local {
    /// An empty tier of at most `bytes`, remembering `samples` of the log's end.
    pub(crate) fn new(
        bytes: u64,
        assured: Assured,
        samples: usize,
        chance: Arc<dyn Chance>,
    ) -> Self {
        let layout = weigh::layout(bytes);
        let pools = Pools::new(assured);
        let options = OptionsBuilder::new()
            .shards(layout.shards)
            .estimated_items_capacity(layout.items)
            .weight_capacity(layout.weight)
            .build()
            .expect("both capacities are set");
        let writer = Writer {
            fence: Fence::default(),
            furthest: Furthest::default(),
            trail: Trail::default(),
            bound: Bound::new(samples),
            index: Index::default(),
            filters: Vec::new(),
            place: None,
            mark: (Mono(0), Lsn::ZERO),
            renewals: 0,
            marked: 0,
            merged: 0,
        };
        let store =
            Store::with_options(options, Weigh, DefaultHashBuilder::default(), pools.clone());
        Self {
            capacity: store.capacity(),
            large: store.shard_capacity() / 2,
            store,
            pools,
            writer: Mutex::new(writer),
            proven: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            moved: Notify::new(),
            chance,
        }
    }

    /// What is held under `key`, and the time as of which it is proven. Says nothing about
    /// expiry: the caller reads the clock, afterwards, so that no delay makes a bound look small.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<(Arc<Held>, Option<Mono>)> {
        self.fetch::<true>(key)
    }

    /// Without `PROVEN`, what a cache does that proves nothing (see
    /// [`measure_unproven`](crate::Engine::measure_unproven)).
    #[inline]
    pub(crate) fn fetch<const PROVEN: bool>(&self, key: &Key) -> Option<(Arc<Held>, Option<Mono>)> {
        if !PROVEN {
            return Some((self.store.get(key)?, None));
        }
        let generation = self.generation.load(Ordering::Acquire);
        let proven = self.proven.load(Ordering::Acquire);
        let held = self.store.get(key)?;
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        Some((held, proven.checked_sub(1).map(Mono)))
    }

    /// As [`get`](Self::get), if what is held misses nothing up to the token: its tier has applied
    /// the log so far, or it was read so late. That something may not be stored is no answer that
    /// could be old.
    pub(crate) fn get_after(&self, key: &Key, after: After) -> Option<(Arc<Held>, Option<Mono>)> {
        // All writing goes through this lock, so position and entry belong together.
        let writer = self.writer.lock();
        let (held, proven) = self.get(key)?;
        let upto = held.reaches(writer.fence.applied());
        let good = matches!(held.content, Content::Uncacheable)
            || after.reached(writer.fence.epoch(), upto) == Reached::Yes;
        good.then_some((held, proven))
    }

    /// How far this tier has got on its way to the token.
    pub(crate) fn reached(&self, after: After) -> Reached {
        let writer = self.writer.lock();
        after.reached(writer.fence.epoch(), writer.fence.applied())
    }

    /// Waits until it is known whether this tier reaches the token.
    pub(crate) async fn reach(&self, after: After) -> Reached {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            // From here on no ringing is missed.
            moved.as_mut().enable();
            match self.reached(after) {
                Reached::NotYet => moved.await,
                known => return known,
            }
        }
    }

    /// How far a tier of this one's history must have applied the log to be proven as of `as_of`.
    pub(crate) fn needed(&self, as_of: Mono) -> Option<Lsn> {
        let writer = self.writer.lock();
        writer.bound.needed_of(writer.fence.epoch()?.log().lineage(), as_of)
    }

    /// As [`get`](Self::get), without counting as a use.
    pub(crate) fn peek(&self, key: &Key) -> Option<(Arc<Held>, Option<Mono>)> {
        let generation = self.generation.load(Ordering::Acquire);
        let proven = self.proven.load(Ordering::Acquire);
        let held = self.store.peek(key)?;
        let same = self.generation.load(Ordering::Acquire) == generation;
        same.then_some((held, proven.checked_sub(1).map(Mono)))
    }

    /// The keys, at most `most`, whose copies would fall with `event`.
    pub(crate) fn would_fell(&self, event: &Event, most: usize) -> Vec<Key> {
        let mut found = Vec::new();
        for subject in &event.subjects {
            let left = most - found.len();
            let old = |key: &Key| {
                // What is marked was felled by an earlier one.
                self.store.peek(key).is_some_and(|h| h.entry.tau < event.lsn && !h.is_soft())
            };
            let keys = match subject {
                Subject::Everything => {
                    found.extend(self.store.iter().map(|(key, _)| key).filter(old).take(left));
                    continue;
                }
                named => self.keys_of(&self.writer.lock(), named),
            };
            found.extend(keys.into_iter().filter(old).take(left));
            if found.len() >= most {
                break;
            }
        }
        found
    }

    /// Stores by the fill rule. `epoch` is the tier's history as it was known before the load.
    pub(crate) fn fill(&self, key: &Key, held: Arc<Held>, epoch: Epoch) -> Verdict {
        let mut writer = self.writer.lock();
        let stored = self.store.peek(key).map(|old| old.tau);
        let offer = Offer { key, tags: &held.tags, tau: held.tau, epoch, stored };
        let verdict = writer.fence.admit(offer);
        if verdict == Verdict::Accept {
            self.place(&mut writer, key, held);
        }
        verdict
    }

    /// Remembers that the answer under `key` may not be stored. It holds no data that could be
    /// old, so the fence is not asked; an invalidation removes it like any entry.
    pub(crate) fn mark_uncacheable(&self, key: &Key, held: Arc<Held>) {
        let mut writer = self.writer.lock();
        self.place(&mut writer, key, held);
    }

    fn place(&self, writer: &mut Writer, key: &Key, held: Arc<Held>) {
        let links = writer.index.insert(key, &held.tags);
        held.links.store(links.into(), Ordering::Relaxed);
        self.put(writer, key, held);
    }

    /// Puts an entry that is in the index into the store.
    fn put(&self, writer: &mut Writer, key: &Key, held: Arc<Held>) {
        let pool = held.pool;
        let bytes = Weigh.weight(key, &held);
        self.pools.comes(key, &held);
        // A part of the store that holds nothing but what is kept would take anything, of any size.
        if bytes <= self.large {
            self.store.insert_with_lifecycle(key.clone(), held, &mut ());
        } else {
            self.pools.lifted(|| self.store.insert_with_lifecycle(key.clone(), held, &mut ()));
        }
        if self.pools.bytes() > self.capacity {
            // It has. The limit comes first.
            self.pools.lifted(|| self.store.set_capacity(self.capacity));
        }
        if self.pools.keeps(pool) {
            // A first use takes it out of the way of those that look for something to evict.
            drop(self.store.get(key));
        }
        // Replaced entries and entries that were too big to be taken come back here too.
        for (gone_key, gone) in self.pools.take_evicted() {
            writer.index.remove(gone.links());
            if gone_key != *key {
                self.pools.count_eviction(gone.pool);
            }
        }
    }

    /// An entry has been taken out of the store.
    fn forget(&self, writer: &mut Writer, key: &Key, gone: &Arc<Held>) {
        self.pools.goes(key, gone);
        writer.index.remove(gone.links());
    }

    /// Applies a piece of the log. `in_order`: it came by the node stream, so that a gap before it
    /// will not be filled by anything to come, and a history other than ours is a later one.
    pub(crate) fn apply(&self, batch: &Batch, now: Mono, in_order: bool) -> Applied {
        let mut writer = self.writer.lock();
        let outcome = match writer.fence.apply(batch) {
            Ok(()) => {
                for event in &batch.events {
                    self.strike(&mut writer, event, now);
                }
                Applied::Whole
            }
            Err(gap) if in_order => {
                self.drop_all(&mut writer);
                // Being empty, the tier misses nothing at the batch's end.
                writer.fence.restart(batch);
                Applied::Restarted(gap)
            }
            Err(gap) => return Applied::Missed(gap),
        };
        writer.tell_filters(batch);
        writer.furthest.note(batch.epoch.log(), batch.upto);
        let watermark = writer.fence.watermark();
        writer.trail.note(batch.epoch, watermark, now);
        self.publish(&writer);
        collect(&mut writer, now);
        self.moved.notify_waiters();
        outcome
    }

    /// Puts what the event itself tells anew into the place of an entry that it makes old, by the
    /// fill rule; whether it has.
    fn renew(&self, writer: &mut Writer, event: &Event, key: &Key, now: Mono) -> bool {
        let (Some(renewal), Some(epoch)) = (event.renewal(key), writer.fence.epoch()) else {
            return false;
        };
        let old = |held: &Arc<Held>| {
            held.tau < event.lsn && !matches!(held.content, Content::Uncacheable)
        };
        let Some(held) = self.store.peek(key).filter(old) else { return false };
        let held = held.renewed(Entry::renewed(event, renewal), now);
        let offer = Offer { key, tags: &renewal.tags, tau: held.tau, epoch, stored: None };
        if writer.fence.admit(offer) != Verdict::Accept {
            return false;
        }
        self.remove(writer, &Subject::Key(key.clone()), |_| true);
        self.place(writer, key, held);
        writer.renewals += 1;
        true
    }

    fn remove(&self, writer: &mut Writer, subject: &Subject, old: impl Fn(&Entry) -> bool) {
        for key in self.keys_of(writer, subject) {
            if let Some((key, gone)) = self.store.remove_if(&key, |held| old(held)) {
                self.forget(writer, &key, &gone);
            }
        }
    }

    /// Messages may be missing: drops everything; the next batch begins anew.
    pub(crate) fn lose(&self) {
        let mut writer = self.writer.lock();
        self.drop_all(&mut writer);
        writer.void_filters();
        writer.fence = Fence::default();
        writer.trail.forget();
    }

    fn drop_all(&self, writer: &mut Writer) {
        self.proven.store(0, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.store.clear();
        self.pools.clear();
        writer.index = Index::default();
    }

    /// Drops entries now, without a position: proves nothing, raises nothing.
    pub(crate) fn evict(&self, subjects: &[Subject]) {
        let mut writer = self.writer.lock();
        for subject in subjects {
            self.remove(&mut writer, subject, |_| true);
        }
    }

    /// The primary was asked at `asked` and said that its log ends at `end`.
    pub(crate) fn sample(&self, log: Log, asked: Mono, end: Lsn) {
        let mut writer = self.writer.lock();
        writer.bound.sample_of(log.lineage(), asked, end);
        self.publish(&writer);
    }

    fn publish(&self, writer: &Writer) {
        let proven = writer.proven(writer.fence.applied());
        let encoded = proven.map_or(0, |Mono(nanos)| nanos.saturating_add(1));
        self.proven.store(encoded, Ordering::Release);
    }

    /// The history, and W: what a load that begins now is offered with.
    pub(crate) fn token(&self) -> Option<(Epoch, Lsn)> {
        let writer = self.writer.lock();
        writer.fence.epoch().map(|epoch| (epoch, writer.fence.watermark()))
    }

    /// The same for a load that shows what was so at `as_of` or later.
    pub(crate) fn token_at(&self, as_of: Mono) -> Option<(Epoch, Lsn)> {
        self.writer.lock().trail.token(as_of)
    }

    /// Whether the database still writes the log of that history, as far as this node has heard.
    pub(crate) fn follows(&self, epoch: Epoch) -> bool {
        self.writer.lock().follows(epoch)
    }

    /// When this node heard that every commit up to `upto` is visible.
    pub(crate) fn shown(&self, upto: Lsn) -> Option<Mono> {
        self.writer.lock().trail.reached(upto)
    }

    /// The time as of which a tier of history `epoch` that has applied `applied` is proven, by
    /// this node's own samples.
    pub(crate) fn proven_at(&self, epoch: Epoch, applied: Lsn) -> Option<Mono> {
        let writer = self.writer.lock();
        // Samples belong to the database's history, of which this tier's is a part. While it has
        // none, nobody says which log the samples are of.
        let own = writer.fence.epoch()?;
        let log = epoch.log();
        (own.log() == log).then(|| writer.bound.proven_of(log.lineage(), applied)).flatten()
    }

    /// Whether this tier has seen an invalidation of what another one, which has applied `applied`
    /// under `epoch`, still holds: that tier came back with older data.
    pub(crate) fn outdates(&self, key: &Key, tags: &[Tag], epoch: Epoch, applied: Lsn) -> bool {
        self.writer.lock().fence.outdates(key, tags, epoch, applied)
    }

    /// Whether a tier that has applied `applied` under `epoch` has not got as far as this node has
    /// seen the log applied.
    pub(crate) fn is_past(&self, epoch: Epoch, applied: Lsn) -> bool {
        self.writer.lock().furthest.is_past(epoch.log(), applied)
    }

    /// A.
    pub(crate) fn applied(&self) -> Lsn {
        self.writer.lock().fence.applied()
    }

    /// When the primary was last known to answer.
    pub(crate) fn sampled(&self) -> Option<Mono> {
        self.writer.lock().bound.proven(Lsn(u64::MAX))
    }

    /// Where it stands.
    pub(crate) fn standing(&self, now: Mono) -> LocalStanding {
        let writer = self.writer.lock();
        let epoch = writer.fence.epoch();
        let applied = writer.fence.applied();
        LocalStanding {
            epoch,
            applied,
            watermark: writer.fence.watermark(),
            bound: epoch
                .and_then(|epoch| writer.bound.proven_of(epoch.log().lineage(), applied))
                .map(|proven| now.since(proven)),
            entries: self.store.len(),
            bytes: self.store.weight(),
            tombstones: writer.fence.tombstones(),
            evictions: self.pools.evictions(),
            renewals: writer.renewals,
            marked: writer.marked,
            merged: writer.merged,
            pools: POOLS.map(|(pool, _)| self.pools.standing(pool)),
        }
    }
}

/// Lets go of tombstones that no load in flight is likely to need.
fn collect(writer: &mut Writer, now: Mono) {
    if writer.fence.tombstones() > TOMBSTONES_MAX {
        let upto = writer.fence.watermark();
        writer.fence.collect(upto);
    }
    let (since, upto) = writer.mark;
    if now.since(since) >= TOMBSTONE_LIFE {
        writer.fence.collect(upto);
        writer.mark = (now, writer.fence.watermark());
    }
}

#[cfg(test)]
mod pools_tests;
#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
