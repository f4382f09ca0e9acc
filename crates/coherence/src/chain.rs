//! A stream of the log from its start to its loss: what of it the tiers are told, and what of it
//! the database may forget.
//!
//! Tiers are told of commits at once, visible or not; W follows behind. The database may forget
//! only what has been applied *and* is visible: whoever takes over the stream has to be told of
//! the rest again, or W would pass over it unseen.

use crate::position::Lsn;
use crate::watermark::{Snapshot, Watermark};

/// The state of one stream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Chain {
    watermark: Watermark,
    position: Lsn,
    /// A transaction id given out after the stream's slot was there: until it and all older ones
    /// have ended, nothing is known to be visible.
    after: Option<u64>,
    /// Everything up to here has arrived.
    received: Lsn,
    /// Everything up to here was told, with that watermark.
    told: (Lsn, Lsn),
    acked: Lsn,
}

/// The next link: the tiers are to be moved from `prev` to `upto`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Link {
    /// Where the chain stood.
    pub prev: Lsn,
    /// Where it stands now.
    pub upto: Lsn,
    /// W.
    pub watermark: Lsn,
}

impl Link {
    /// The first position after the link. A commit of which nobody knows where it ends, only that it is
    /// none of those up to here, ends there or later. So a mark at this position fells everything that
    /// may miss it, and lets nothing be stored before W has moved on; which W does when that commit has
    /// been told as a whole and is visible.
    #[must_use]
    pub fn behind(self) -> Lsn {
        Lsn(self.upto.0 + 1)
    }
}

impl Chain {
    /// A stream that delivers every commit after `position`. `after`: a transaction id that was given
    /// out when the slot was there; a commit before the position may still be invisible until it and
    /// all older ones have ended, or somebody has [`seen`](Self::seen) the position.
    #[must_use]
    pub fn starting(position: Lsn, after: u64) -> Self {
        Self {
            watermark: Watermark::starting(position),
            position,
            after: Some(after),
            received: position,
            told: (position, Lsn::ZERO),
            acked: Lsn::ZERO,
        }
    }

    /// Everything up to `watermark` was visible when a leader of before said so.
    pub fn seen(&mut self, watermark: Lsn) {
        if watermark >= self.position {
            self.after = None;
        }
    }

    /// A commit arrived, in commit order. `xid` is the top-level transaction id.
    pub fn commit(&mut self, end: Lsn, xid: u32) {
        self.watermark.commit(end, xid);
        self.progress(end);
    }

    /// The log was received up to here.
    pub fn progress(&mut self, upto: Lsn) {
        self.received = self.received.max(upto);
        self.watermark.progress(upto);
    }

    /// A snapshot of the primary was taken, before or after the commits arrived that it shows.
    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        self.watermark.snapshot(snapshot);
        if self.after.is_some_and(|xid| xid < snapshot.xmin) {
            self.after = None;
        }
    }

    /// A snapshot of the database showed every commit up to here.
    pub fn shown(&mut self, upto: Lsn) {
        self.watermark.shown(upto);
        if upto >= self.position {
            self.after = None;
        }
    }

    /// Whether a snapshot is needed for W to move.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.after.is_some() || self.watermark.is_waiting()
    }

    /// W; zero while nothing is known.
    #[must_use]
    pub fn watermark(&self) -> Lsn {
        if self.after.is_some() { Lsn::ZERO } else { self.watermark.visible() }
    }

    /// What the tiers have not been told yet, if anything; it counts as told from now on.
    pub fn tell(&mut self) -> Option<Link> {
        let now = (self.received, self.watermark());
        if now == self.told {
            return None;
        }
        let (prev, _) = std::mem::replace(&mut self.told, now);
        Some(Link { prev, upto: now.0, watermark: now.1 })
    }

    /// What the tiers were told last, for a part of a commit whose end has not arrived: it may be told
    /// at once, at a position [behind](Link::behind) this link.
    #[must_use]
    pub fn told(&self) -> Link {
        let (upto, watermark) = self.told;
        Link { prev: upto, upto, watermark }
    }

    /// The tiers have durably applied everything up to here.
    pub fn ack(&mut self, upto: Lsn) {
        self.acked = self.acked.max(upto);
    }

    /// What the database may forget: never beyond W.
    #[must_use]
    pub fn forgettable(&self) -> Lsn {
        self.acked.min(self.watermark())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows_below(xid: u64) -> Snapshot {
        Snapshot { xmin: xid, xmax: xid, in_progress: Vec::new() }
    }

    #[test]
    fn a_new_slot_waits_for_those_before_it() {
        let mut chain = Chain::starting(Lsn(10), 7);
        assert_eq!(chain.tell(), None);
        chain.snapshot(&Snapshot { xmin: 5, xmax: 8, in_progress: vec![5] });
        assert_eq!(chain.watermark(), Lsn::ZERO, "5 may have committed before the slot's position");
        chain.snapshot(&shows_below(8));
        let link = Link { prev: Lsn(10), upto: Lsn(10), watermark: Lsn(10) };
        assert_eq!((chain.tell(), chain.tell()), (Some(link), None));
    }

    #[test]
    fn what_was_seen_before_need_not_be_waited_for() {
        let mut chain = Chain::starting(Lsn(10), 7);
        chain.seen(Lsn(9));
        assert_eq!(chain.watermark(), Lsn::ZERO);
        chain.seen(Lsn(10));
        assert_eq!(chain.watermark(), Lsn(10));
    }

    #[test]
    fn a_shown_position_ends_the_wait_for_those_before_it() {
        let mut chain = Chain::starting(Lsn(10), u64::MAX);
        chain.shown(Lsn(9));
        assert_eq!(chain.watermark(), Lsn::ZERO);
        chain.shown(Lsn(10));
        assert_eq!(chain.watermark(), Lsn(10));
    }

    #[test]
    fn a_commit_is_told_at_once_and_forgotten_once_it_is_visible() {
        let mut chain = Chain::starting(Lsn(10), 7);
        chain.seen(Lsn(10));
        chain.tell();
        chain.commit(Lsn(20), 8);
        let hidden = Link { prev: Lsn(10), upto: Lsn(20), watermark: Lsn(10) };
        assert_eq!(chain.tell(), Some(hidden));
        chain.ack(Lsn(20));
        assert_eq!(chain.forgettable(), Lsn(10), "whoever takes over has to be told of it");
        chain.snapshot(&shows_below(9));
        let seen = Link { prev: Lsn(20), upto: Lsn(20), watermark: Lsn(20) };
        assert_eq!(chain.tell(), Some(seen));
        assert_eq!(chain.forgettable(), Lsn(20));
    }
}
