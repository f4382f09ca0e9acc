//! An entry as the in-process tier holds it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use coherence::{Life, Mono};
use contract::Class;

use super::index::Links;
use super::soft::Soft;
use crate::entry::Entry;
use crate::shared::Slide;

/// An entry with what a reader checks. The times are this process's own.
///
/// One allocation: what a hit reads lies beside the counters of the `Arc` that every hit touches
/// anyway, and the store's slots stay as small as a pointer.
#[derive(Debug)]
#[repr(C)]
pub struct Held {
    /// From here on it has to be looked at more closely: an early refresh may be due, or its end, or
    /// its next use is to be noted. Moves only where uses prolong the life.
    pub(super) look_from: AtomicU64,
    /// When its load began (or, for one that came from the shared tier, must have begun by its
    /// wall time); less what its origin may have been behind then.
    pub(crate) loaded: Mono,
    /// Only touched under the mutex.
    pub(super) links: AtomicU32,
    /// Whether this process loaded it from the origin itself, so that `loaded` is a proof: every
    /// commit acknowledged before the load began is in it.
    pub(crate) own: bool,
    /// Whether a commit may mark it instead of removing it: its contract has a budget to spend.
    pub(super) lenient: bool,
    /// Whether only `loaded` says how old it may be: nothing tells of changes.
    pub(super) aged: bool,
    pub(super) pool: Class,
    pub(super) entry: Entry,
    /// Last, since no plain hit reads it.
    pub(super) aside: Option<Box<Aside>>,
}

/// What few entries have beside the others.
#[derive(Debug)]
pub(super) enum Aside {
    Soft(Soft),
    Slides(Slides),
}

/// What an entry has whose uses prolong its life.
#[derive(Debug)]
pub(super) struct Slides {
    life: Life,
    slide: Slide,
    ends: AtomicU64,
    /// From then on the shared tier is to be told of uses here.
    remind_from: AtomicU64,
}

/// What the contract says of an entry's place in the tier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Whether a commit may mark it instead of removing it.
    pub(crate) lenient: bool,
    /// Whether only the time of its load proves it.
    pub(crate) aged: bool,
    pub(crate) pool: Class,
}

impl Deref for Held {
    type Target = Entry;

    #[inline]
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Held {
    /// An entry that is not (yet) in its place. Its life is `entry.ttl` from `loaded`; from
    /// `look_from` on an early refresh may be due.
    pub(crate) fn new(
        entry: Entry,
        loaded: Mono,
        look_from: Mono,
        own: bool,
        terms: Terms,
    ) -> Arc<Self> {
        Arc::new(Self::plain(entry, loaded, look_from, own, terms))
    }

    /// As [`new`](Self::new), with a `life` that uses prolong, counted from one at `used`. The shared
    /// tier knows of it.
    pub(crate) fn sliding(
        entry: Entry,
        (loaded, used): (Mono, Mono),
        look_from: Mono,
        own: bool,
        (terms, slide, life): (Terms, Slide, Life),
    ) -> Arc<Self> {
        let look_from = life.next_use(used).unwrap_or(look_from);
        let mut held = Self::plain(entry, loaded, look_from, own, terms);
        let slides = Slides {
            life,
            slide,
            ends: held.expires().0.into(),
            remind_from: life.next_reminder(used).0.into(),
        };
        held.aside = Some(Box::new(Aside::Slides(slides)));
        Arc::new(held)
    }

    fn plain(entry: Entry, loaded: Mono, look_from: Mono, own: bool, terms: Terms) -> Self {
        Self {
            look_from: look_from.0.into(),
            loaded,
            links: u32::from(Links::NONE).into(),
            own,
            lenient: terms.lenient,
            aged: terms.aged,
            pool: terms.pool,
            entry,
            aside: None,
        }
    }

    /// What takes this entry's place at `now`, with as much time left for an early refresh.
    pub(super) fn renewed(&self, entry: Entry, now: Mono) -> Arc<Self> {
        let entry = Entry { cost: self.cost, ..entry };
        let ends = now + entry.ttl;
        let slide = self.slide();
        let terms = Terms { lenient: self.lenient, aged: self.aged, pool: self.pool };
        // A marked one does not tell any more from when on it was to be refreshed.
        let from = if self.is_soft() { self.expires() } else { self.look_from() };
        let lead = self.expires().since(from).min(entry.ttl / 2);
        let look_from = Mono(ends.0.saturating_sub(lead.as_nanos() as u64));
        match slide.filter(|_| entry.is_present()) {
            None => Self::new(entry, now, look_from, false, terms),
            Some(slide) => {
                let life = slide.life(entry.ttl, Duration::ZERO, now);
                Self::sliding(entry, (now, now), look_from, false, (terms, slide, life))
            }
        }
    }

    /// From when on it has to be looked at more closely.
    #[inline]
    pub(crate) fn look_from(&self) -> Mono {
        Mono(self.look_from.load(Ordering::Relaxed))
    }

    pub(super) fn links(&self) -> Links {
        self.links.load(Ordering::Relaxed).into()
    }

    /// When its life ends, as it stands.
    pub(crate) fn expires(&self) -> Mono {
        match self.slides() {
            Some(slides) => Mono(slides.ends.load(Ordering::Relaxed)),
            None => self.loaded + self.ttl,
        }
    }

    /// Every commit acknowledged before this is in it, given what its tier has `proven`.
    #[inline]
    pub(crate) fn as_of(&self, proven: Option<Mono>) -> Option<Mono> {
        if let Some(soft) = self.soft() {
            return Some(soft.mark.as_of);
        }
        if self.aged {
            return self.own.then_some(self.loaded);
        }
        if self.own { proven.max(Some(self.loaded)) } else { proven }
    }

    fn slides(&self) -> Option<&Slides> {
        match self.aside.as_deref() {
            Some(Aside::Slides(slides)) => Some(slides),
            Some(Aside::Soft(_)) | None => None,
        }
    }

    /// What its contract's `sliding` asks of tiers.
    pub(super) fn slide(&self) -> Option<Slide> {
        match self.aside.as_deref()? {
            Aside::Slides(slides) => Some(slides.slide),
            Aside::Soft(soft) => soft.slide,
        }
    }

    /// Whether its end is as far away as uses can move it, so that a refresh before it makes sense.
    pub(crate) fn ends_for_good(&self) -> bool {
        self.slides().is_none_or(|slides| self.expires() >= slides.life.cap)
    }

    /// Notes an answer from it at `now` that is proven to be within its contract. `last`: from when on
    /// an early refresh is considered, should the life end at that time. Answers whether the shared
    /// tier is to be reminded.
    pub(crate) fn used(&self, now: Mono, last: impl FnOnce(Mono) -> Mono) -> bool {
        let Some(slides) = self.slides() else { return false };
        if now < self.look_from() || now >= self.expires() {
            return false;
        }
        let mut last_one = false;
        if !self.ends_for_good() {
            slides.ends.fetch_max(slides.life.ends(now).0, Ordering::Relaxed);
            let next = slides.life.next_use(now);
            last_one = next.is_none();
            let look_from = next.unwrap_or_else(|| last(self.expires()));
            self.look_from.store(look_from.0, Ordering::Relaxed);
        }
        let due = |from| (from <= now.0 || last_one).then(|| slides.life.next_reminder(now).0);
        slides.remind_from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }
}
