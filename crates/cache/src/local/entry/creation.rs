//! Makes entries, and the copies that take their places.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use coherence::{Lsn, Mono, SlidingTtl, SoftStale};
use contract::{Class, Key};
use once_cell::race::OnceBox;
use triomphe::ThinArc;

use super::{EntryFields, EntryPolicy, LocalEntry};
use crate::entry::Entry;
use crate::local::extension::{EntryExtension, RareParts, SlidingExtension, SoftExtension};
use crate::local::fast_path::{FastPath, FastPathCell};
use crate::local::links::Links;
use crate::local::packed::{Layout, Packed};
use crate::shared::Touch;

impl LocalEntry {
    /// Creates an entry that is not in the tier yet. Its life is `entry.ttl` from `loaded`; from
    /// `fast_until` on an early refresh may be due.
    pub(crate) fn new(
        key: &Key,
        entry: &Entry,
        loaded: Mono,
        fast_until: Mono,
        loaded_here: bool,
        policy: EntryPolicy,
    ) -> Self {
        let packed = Packed::new(key, &entry.content, &entry.tags);
        let fields = EntryFields::new(entry, packed.layout, loaded, fast_until);
        let rare = RareParts::new(None, packed.outside, entry.changes_at);
        let fields = EntryFields { loaded_here, policy, rare, ..fields };
        Self(ThinArc::from_header_and_slice(fields, &packed.bytes))
    }

    /// As [`new`](Self::new), with a sliding TTL whose last touch was at `used`. The shared tier has
    /// recorded that touch.
    pub(crate) fn with_sliding_ttl(
        key: &Key,
        entry: &Entry,
        (loaded, used): (Mono, Mono),
        fast_until: Mono,
        loaded_here: bool,
        (policy, touch, ttl): (EntryPolicy, Touch, SlidingTtl),
    ) -> Self {
        let fast_until = ttl.next_touch(used).unwrap_or(fast_until);
        let packed = Packed::new(key, &entry.content, &entry.tags);
        let fields = EntryFields::new(entry, packed.layout, loaded, fast_until);
        let sliding = EntryExtension::Sliding(SlidingExtension {
            ttl,
            touch,
            expires: (loaded + entry.ttl).0.into(),
            report_from: ttl.next_report(used).0.into(),
        });
        let rare = RareParts::new(Some(sliding), packed.outside, entry.changes_at);
        let fields = EntryFields { loaded_here, policy, rare, ..fields };
        Self(ThinArc::from_header_and_slice(fields, &packed.bytes))
    }

    /// Creates the entry that replaces this one at `now`, with as much time left for an early refresh.
    pub(in crate::local) fn renewed(&self, key: &Key, entry: Entry, now: Mono) -> Self {
        let entry = Entry { cost_us: self.cost_us, ..entry };
        let expires = now + entry.ttl;
        // A soft-stale entry does not say any more when its refresh was due.
        let from = if self.is_soft() { self.expires() } else { self.fast_path().end() };
        let lead = self.expires().since(from).min(entry.ttl / 2);
        let fast_until = Mono(expires.0.saturating_sub(lead.as_nanos() as u64));
        match self.touch().filter(|_| entry.is_present()) {
            None => Self::new(key, &entry, now, fast_until, false, self.policy),
            Some(touch) => {
                let ttl = touch.sliding_ttl(entry.ttl, Duration::ZERO, now);
                let sliding = (self.policy, touch, ttl);
                Self::with_sliding_ttl(key, &entry, (now, now), fast_until, false, sliding)
            }
        }
    }

    /// Creates the soft-stale copy that replaces this entry. The fast path of the copy is closed, so that a
    /// reader on the fast path need not know of soft-stale entries.
    pub(in crate::local) fn soft_stale(&self, proof: SoftStale, draw: f64) -> Self {
        let soft = EntryExtension::Soft(SoftExtension::new(proof, draw, self.touch()));
        let fields = EntryFields {
            fast_path: FastPathCell::new(FastPath::Closed),
            // No use prolongs the life of a soft-stale entry.
            ttl_ns: nanos(self.expires().since(self.loaded)),
            ..self.fields_of_copy(Some(soft))
        };
        Self(ThinArc::from_header_and_slice(fields, &self.0.slice))
    }

    /// Creates the copy of an entry without content that no event so far has made old.
    pub(in crate::local) fn with_tau(&self, tau: Lsn) -> Self {
        let fields = EntryFields { tau, ..self.fields_of_copy(None) };
        Self(ThinArc::from_header_and_slice(fields, &self.0.slice))
    }

    /// Returns the fields of a copy that is not in the tier yet.
    fn fields_of_copy(&self, extension: Option<EntryExtension>) -> EntryFields {
        let outside = self.outside().cloned().map(Box::new);
        EntryFields {
            fast_path: FastPathCell::new(self.fast_path()),
            stamp: AtomicU64::new(0),
            links: u32::from(Links::NONE).into(),
            rare: RareParts::new(extension, outside, self.changes_at()),
            ..**self
        }
    }
}

impl EntryFields {
    /// The fields of an entry that is not in the tier yet.
    fn new(entry: &Entry, layout: Layout, loaded: Mono, fast_until: Mono) -> Self {
        Self {
            fast_path: FastPathCell::new(FastPath::Until(fast_until)),
            stamp: AtomicU64::new(0),
            loaded,
            tau: entry.tau,
            links: u32::from(Links::NONE).into(),
            cost_us: entry.cost_us,
            layout,
            loaded_here: false,
            changes_by_clock: entry.changes_at.is_some(),
            policy: EntryPolicy { soft_allowed: false, age_bound: false, pool: Class::Standard },
            rare: OnceBox::new(),
            ttl_ns: nanos(entry.ttl),
            loaded_wall_ms: entry.loaded_wall_ms,
            seen: entry.seen,
            definition: entry.definition,
        }
    }
}

/// Returns a duration in nanoseconds, at most some 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
