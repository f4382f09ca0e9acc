//! The fast path: hits that need only a check of their proof.

use std::sync::atomic::{AtomicU64, Ordering};

use coherence::Mono;

/// Whether a reader may serve an entry after a check of its proof only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FastPath {
    /// Never. Every soft-stale entry is in this state.
    Closed,
    /// Before this time. From then on an early refresh, the end of the entry's life or the record of a
    /// use may be due.
    Until(Mono),
}

impl FastPath {
    /// Whether an entry may be served at `now` on the fast path.
    #[inline]
    pub(crate) fn is_open(self, now: Mono) -> bool {
        match self {
            Self::Closed => false,
            Self::Until(end) => now < end,
        }
    }

    /// The time at which it closes.
    pub(super) fn end(self) -> Mono {
        match self {
            Self::Closed => Mono(0),
            Self::Until(end) => end,
        }
    }
}

/// A [`FastPath`] in one word, so that the check of a hit compiles to one comparison. Zero is
/// [`Closed`](FastPath::Closed).
#[derive(Debug)]
pub(super) struct FastPathCell(AtomicU64);

impl FastPathCell {
    pub(super) fn new(path: FastPath) -> Self {
        Self(AtomicU64::new(path.end().0))
    }

    #[inline]
    pub(super) fn get(&self) -> FastPath {
        match self.0.load(Ordering::Relaxed) {
            0 => FastPath::Closed,
            nanos => FastPath::Until(Mono(nanos)),
        }
    }

    pub(super) fn set(&self, path: FastPath) {
        self.0.store(path.end().0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_returns_the_stored_state() {
        let cell = FastPathCell::new(FastPath::Until(Mono(9)));
        assert!(cell.get().is_open(Mono(8)) && !cell.get().is_open(Mono(9)));
        cell.set(FastPath::Closed);
        assert_eq!(cell.get(), FastPath::Closed);
        assert!(!cell.get().is_open(Mono(0)));
        cell.set(FastPath::Until(Mono(0)));
        assert!(!cell.get().is_open(Mono(0)), "never open");
    }
}
