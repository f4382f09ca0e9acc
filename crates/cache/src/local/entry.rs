//! An entry of the in-process tier: the stored answer and the fields that a reader checks.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coherence::{EntryState, Lsn, Mono, SlidingTtl, SoftStale};
use contract::Class;
use once_cell::race::OnceBox;

use super::fast_path::{FastPath, FastPathCell};
use super::tag_cell::TagCell;
use super::tag_index::Links;
use crate::entry::Entry;
use crate::shared::Touch;

/// An entry of the in-process tier. All times are this process's own.
///
/// One allocation: the fields that a hit reads lie beside the counters of the `Arc` that every hit touches
/// anyway, and the store's slots stay as small as a pointer.
#[derive(Debug)]
#[repr(C)]
pub struct LocalEntry {
    /// Moves only where uses prolong the entry's life.
    fast_path: FastPathCell,
    /// The number of [raises](super::raised) at which it was stored, or last found current.
    stamp: AtomicU64,
    /// The time at which its load began, less the lag of its origin. For an entry from the shared tier: the
    /// latest time at which the load can have begun, by its wall time.
    pub(crate) loaded: Mono,
    /// Its links in the [tag index](super::tag_index). Changed only under the tier's mutex.
    links: AtomicU32,
    /// Whether this process loaded it from the origin, so that `loaded` is a proof: every commit
    /// acknowledged before the load began is in it.
    pub(crate) loaded_here: bool,
    pub(super) policy: EntryPolicy,
    entry: Entry,
    /// No plain hit reads them.
    rare: OnceBox<RareParts>,
}

/// The parts that most entries do not have.
#[derive(Debug, Default)]
pub(super) struct RareParts {
    /// The cells of the tags that other entries have too, once it is in the tier.
    cells: OnceLock<Box<[Arc<TagCell>]>>,
    extension: Option<Box<EntryExtension>>,
}

impl RareParts {
    fn of(extension: EntryExtension) -> OnceBox<Self> {
        let extension = Some(Box::new(extension));
        OnceBox::with_value(Box::new(Self { cells: OnceLock::new(), extension }))
    }

    pub(super) fn is_extended(&self) -> bool {
        self.extension.is_some()
    }
}

/// The state of a soft-stale entry, or of one with a sliding TTL.
#[derive(Debug)]
pub(super) enum EntryExtension {
    Soft(SoftExtension),
    Sliding(SlidingExtension),
}

/// The extension of a soft-stale entry ([`coherence::soft`]).
#[derive(Debug)]
pub(crate) struct SoftExtension {
    /// The proof that remains: the first missing position, and the time as of which the entry is proven.
    pub(crate) proof: SoftStale,
    /// A random number in `0..1`, drawn once per entry: the point of the refresh window at which its
    /// refresh is due.
    pub(crate) draw: f64,
    /// No refresh is tried before this time.
    next_refresh: AtomicU64,
    /// For the entry that replaces this one.
    touch: Option<Touch>,
}

impl SoftExtension {
    /// Claims the next refresh at `now`. Returns `false` if another reader has claimed it. `next`: the
    /// time from which the refresh can be claimed again.
    pub(crate) fn claim_refresh(&self, now: Mono, next: Mono) -> bool {
        let free = |from| (from <= now.0).then_some(next.0);
        self.next_refresh.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_ok()
    }
}

/// The extension of an entry with a sliding TTL.
#[derive(Debug)]
pub(super) struct SlidingExtension {
    ttl: SlidingTtl,
    touch: Touch,
    expires: AtomicU64,
    /// From this time on a use here is reported to the shared tier.
    report_from: AtomicU64,
}

/// How the in-process tier treats an entry, by its contract.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryPolicy {
    /// Whether a commit may leave it soft-stale instead of removing it: its contract has a budget to spend.
    pub(crate) soft_allowed: bool,
    /// Whether only the time of its load proves it: no events are received for its data.
    pub(crate) age_bound: bool,
    pub(crate) pool: Class,
}

impl Deref for LocalEntry {
    type Target = Entry;

    #[inline]
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl LocalEntry {
    /// Creates an entry that is not in the tier yet. Its life is `entry.ttl` from `loaded`; from
    /// `fast_until` on an early refresh may be due.
    pub(crate) fn new(
        entry: Entry,
        loaded: Mono,
        fast_until: Mono,
        loaded_here: bool,
        policy: EntryPolicy,
    ) -> Arc<Self> {
        Arc::new(Self::plain(entry, loaded, fast_until, loaded_here, policy))
    }

    /// As [`new`](Self::new), with a sliding TTL whose last touch was at `used`. The shared tier has
    /// recorded that touch.
    pub(crate) fn with_sliding_ttl(
        entry: Entry,
        (loaded, used): (Mono, Mono),
        fast_until: Mono,
        loaded_here: bool,
        (policy, touch, ttl): (EntryPolicy, Touch, SlidingTtl),
    ) -> Arc<Self> {
        let fast_until = ttl.next_touch(used).unwrap_or(fast_until);
        let mut entry = Self::plain(entry, loaded, fast_until, loaded_here, policy);
        let sliding = SlidingExtension {
            ttl,
            touch,
            expires: entry.expires().0.into(),
            report_from: ttl.next_report(used).0.into(),
        };
        entry.rare = RareParts::of(EntryExtension::Sliding(sliding));
        Arc::new(entry)
    }

    fn plain(
        entry: Entry,
        loaded: Mono,
        fast_until: Mono,
        loaded_here: bool,
        policy: EntryPolicy,
    ) -> Self {
        Self {
            fast_path: FastPathCell::new(FastPath::Until(fast_until)),
            stamp: AtomicU64::new(0),
            loaded,
            links: u32::from(Links::NONE).into(),
            loaded_here,
            policy,
            entry,
            rare: OnceBox::new(),
        }
    }

    /// Creates the entry that replaces this one at `now`, with as much time left for an early refresh.
    pub(super) fn renewed(&self, entry: Entry, now: Mono) -> Arc<Self> {
        let entry = Entry { cost_us: self.cost_us, ..entry };
        let expires = now + entry.ttl;
        // A soft-stale entry does not say any more when its refresh was due.
        let from = if self.is_soft() { self.expires() } else { self.fast_path().end() };
        let lead = self.expires().since(from).min(entry.ttl / 2);
        let fast_until = Mono(expires.0.saturating_sub(lead.as_nanos() as u64));
        match self.touch().filter(|_| entry.is_present()) {
            None => Self::new(entry, now, fast_until, false, self.policy),
            Some(touch) => {
                let ttl = touch.sliding_ttl(entry.ttl, Duration::ZERO, now);
                let sliding = (self.policy, touch, ttl);
                Self::with_sliding_ttl(entry, (now, now), fast_until, false, sliding)
            }
        }
    }

    /// Creates the soft-stale copy that replaces this entry. The fast path of the copy is closed, so that a
    /// reader on the fast path need not know of soft-stale entries.
    pub(super) fn soft_stale(&self, proof: SoftStale, draw: f64) -> Arc<Self> {
        let next_refresh = AtomicU64::new(0);
        let soft = SoftExtension { proof, draw, next_refresh, touch: self.touch() };
        Arc::new(Self {
            fast_path: FastPathCell::new(FastPath::Closed),
            stamp: AtomicU64::new(0),
            loaded: self.loaded,
            links: u32::from(Links::NONE).into(),
            loaded_here: self.loaded_here,
            policy: self.policy,
            // No use prolongs the life of a soft-stale entry.
            entry: Entry { ttl: self.expires().since(self.loaded), ..self.entry.clone() },
            rare: RareParts::of(EntryExtension::Soft(soft)),
        })
    }

    /// Returns whether it may be served on the fast path.
    #[inline]
    pub(crate) fn fast_path(&self) -> FastPath {
        self.fast_path.get()
    }

    /// Creates the copy of an entry without content that no event so far has made old.
    pub(super) fn with_tau(&self, tau: Lsn) -> Arc<Self> {
        let entry = Entry { tau, ..self.entry.clone() };
        let fast_until = self.fast_path().end();
        Self::new(entry, self.loaded, fast_until, self.loaded_here, self.policy)
    }

    #[inline]
    pub(super) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    pub(super) fn set_stamp(&self, stamp: u64) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// Returns the cells of its tags that other entries have too.
    pub(super) fn cells(&self) -> &[Arc<TagCell>] {
        self.rare.get().and_then(|rare| rare.cells.get()).map_or(&[], |cells| cells)
    }

    pub(super) fn links(&self) -> Links {
        self.links.load(Ordering::Relaxed).into()
    }

    /// Sets its links in the index, and the cells of its tags.
    pub(super) fn set_links(&self, links: Links, cells: Box<[Arc<TagCell>]>) {
        self.links.store(links.into(), Ordering::Relaxed);
        if !cells.is_empty() {
            // An entry is stored once.
            let _ = self.rare.get_or_init(Box::default).cells.set(cells);
        }
    }

    /// Takes its links, for the entry that replaces it.
    pub(super) fn take_links(&self) -> Links {
        self.links.swap(Links::NONE.into(), Ordering::Relaxed).into()
    }

    /// Returns its parts that most entries do not have.
    pub(super) fn rare_parts(&self) -> Option<&RareParts> {
        self.rare.get()
    }

    fn extension(&self) -> Option<&EntryExtension> {
        self.rare.get()?.extension.as_deref()
    }

    /// The present end of its life.
    pub(crate) fn expires(&self) -> Mono {
        match self.sliding() {
            Some(sliding) => Mono(sliding.expires.load(Ordering::Relaxed)),
            None => self.loaded + self.ttl,
        }
    }

    /// The time as of which it is proven: every commit acknowledged before is in it, given that its tier is
    /// `proven` as of that time.
    #[inline]
    pub(crate) fn as_of(&self, proven: Option<Mono>) -> Option<Mono> {
        let as_of = self.as_of_log(proven);
        // The log has no event for a change by the clock: past it the entry is proven as of then, at most.
        match self.changes_at {
            None => as_of,
            Some(_) => as_of.map(|as_of| as_of.min(self.expires())),
        }
    }

    #[inline]
    fn as_of_log(&self, proven: Option<Mono>) -> Option<Mono> {
        if let Some(soft) = self.soft() {
            return Some(soft.proof.as_of);
        }
        if self.policy.age_bound {
            return self.loaded_here.then_some(self.loaded);
        }
        if self.loaded_here { proven.max(Some(self.loaded)) } else { proven }
    }

    /// The position up to which it has every commit, in a tier that has applied `applied`.
    pub(super) fn reaches(&self, applied: Lsn) -> Lsn {
        match self.soft() {
            Some(soft) => soft.proof.reaches(),
            None => applied.max(self.tau),
        }
    }

    /// Its state as the invalidation rule sees it.
    pub(super) fn invalidation_state(&self) -> EntryState {
        EntryState {
            tau: self.tau,
            loaded: self.loaded_here.then_some(self.loaded),
            soft_stale: self.soft().map(|soft| soft.proof),
            lenient: self.policy.soft_allowed,
        }
    }

    /// The soft-stale state, if a commit has invalidated the entry.
    #[inline]
    pub(crate) fn soft(&self) -> Option<&SoftExtension> {
        // This field is in the cache line that a hit has loaded; the rare parts are not.
        if self.fast_path() != FastPath::Closed {
            return None;
        }
        match self.extension() {
            Some(EntryExtension::Soft(soft)) => Some(soft),
            Some(EntryExtension::Sliding(_)) | None => None,
        }
    }

    /// Whether its contract has a budget to spend once its value has changed by the clock.
    pub(crate) fn may_outlast_its_change(&self) -> bool {
        self.policy.soft_allowed && self.changes_at.is_some()
    }

    /// Whether a commit has invalidated the entry, and it is kept within its contract's budget.
    #[must_use]
    #[inline]
    pub fn is_soft(&self) -> bool {
        self.soft().is_some()
    }

    fn sliding(&self) -> Option<&SlidingExtension> {
        match self.extension() {
            Some(EntryExtension::Sliding(sliding)) => Some(sliding),
            Some(EntryExtension::Soft(_)) | None => None,
        }
    }

    /// Returns the touch that a use of it means for the tiers, if it has a sliding TTL.
    fn touch(&self) -> Option<Touch> {
        match self.extension()? {
            EntryExtension::Sliding(sliding) => Some(sliding.touch),
            EntryExtension::Soft(soft) => soft.touch,
        }
    }

    /// Whether no use can prolong its life any further, so that a refresh before its end makes sense.
    pub(crate) fn is_at_max_lifetime(&self) -> bool {
        self.sliding().is_none_or(|sliding| self.expires() >= sliding.ttl.cap)
    }

    /// Records an answer from it at `now` that is proven to be within its contract. Returns whether the use
    /// has to be reported to the shared tier. `refresh_from`: the time from which an early refresh is
    /// considered, for a life that ends at the given time.
    pub(crate) fn record_use(&self, now: Mono, refresh_from: impl FnOnce(Mono) -> Mono) -> bool {
        let Some(sliding) = self.sliding() else { return false };
        if self.fast_path().is_open(now) || now >= self.expires() {
            return false;
        }
        let mut is_last = false;
        if !self.is_at_max_lifetime() {
            sliding.expires.fetch_max(sliding.ttl.expires_at(now).0, Ordering::Relaxed);
            let next = sliding.ttl.next_touch(now);
            is_last = next.is_none();
            let fast_until = next.unwrap_or_else(|| refresh_from(self.expires()));
            self.fast_path.set(FastPath::Until(fast_until));
        }
        let due = |from| (from <= now.0 || is_last).then(|| sliding.ttl.next_report(now).0);
        sliding.report_from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}
