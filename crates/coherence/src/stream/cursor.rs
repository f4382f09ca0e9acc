//! The cursor of one stream of the commit log: the part that is published to the tiers, and the part
//! that the database may discard.
//!
//! Commits are published at once, visible or not; W follows later. The database may discard a commit
//! only when it is both applied *and* visible: the next holder of the stream must receive all other
//! commits again, or its W would pass over them.

use crate::position::Lsn;
use crate::stream::watermark::{Snapshot, Watermark};

/// The state of one stream.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct StreamCursor {
    watermark: Watermark,
    position: Lsn,
    /// A transaction id that was assigned after the stream's slot existed. W is unknown until this
    /// transaction and all older ones have ended.
    barrier: Option<u64>,
    /// Every commit up to here has arrived.
    received: Lsn,
    /// The position and the watermark that were published last.
    published: (Lsn, Lsn),
    acked: Lsn,
}

/// One step of the cursor: the tiers move from `prev` to `upto`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Advance {
    /// The position before the step.
    pub prev: Lsn,
    /// The position after the step.
    pub upto: Lsn,
    /// W.
    pub watermark: Lsn,
}

impl Advance {
    /// Returns the first position after this step.
    ///
    /// A commit that has arrived in part has no known end, but it ends at this position or later. A
    /// tombstone here therefore invalidates every entry that may miss the commit, and refuses fills
    /// until W has moved on; W moves on when the whole commit is published and visible.
    #[must_use]
    pub fn next_position(self) -> Lsn {
        Lsn(self.upto.0 + 1)
    }
}

impl StreamCursor {
    /// Returns the cursor of a stream that delivers every commit after `position`.
    ///
    /// `barrier` is a transaction id that was assigned after the slot existed. A commit before
    /// `position` may stay invisible until this transaction and all older ones have ended, or until
    /// the position is [known to be visible](Self::restore_watermark).
    #[must_use]
    pub fn starting(position: Lsn, barrier: u64) -> Self {
        Self {
            watermark: Watermark::starting(position),
            position,
            barrier: Some(barrier),
            received: position,
            published: (position, Lsn::ZERO),
            acked: Lsn::ZERO,
        }
    }

    /// Records the watermark that an earlier leader has published: every commit up to it is visible.
    pub fn restore_watermark(&mut self, watermark: Lsn) {
        if watermark >= self.position {
            self.barrier = None;
        }
    }

    /// Records a commit; commits arrive in commit order. `xid` is the top-level transaction id.
    pub fn commit(&mut self, end: Lsn, xid: u32) {
        self.watermark.commit(end, xid);
        self.progress(end);
    }

    /// Records that the log was received up to `upto`.
    pub fn progress(&mut self, upto: Lsn) {
        self.received = self.received.max(upto);
        self.watermark.progress(upto);
    }

    /// Records a snapshot of the primary. It may be older or newer than the arrival of the commits
    /// that it shows.
    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        self.watermark.snapshot(snapshot);
        if self.barrier.is_some_and(|xid| xid < snapshot.xmin) {
            self.barrier = None;
        }
    }

    /// Records that a snapshot of the database showed every commit up to `upto`.
    pub fn observe_visible(&mut self, upto: Lsn) {
        self.watermark.observe_visible(upto);
        if upto >= self.position {
            self.barrier = None;
        }
    }

    /// Returns whether W needs a snapshot in order to move.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.barrier.is_some() || self.watermark.is_waiting()
    }

    /// Returns W; zero while it is unknown.
    #[must_use]
    pub fn watermark(&self) -> Lsn {
        if self.barrier.is_some() { Lsn::ZERO } else { self.watermark.visible() }
    }

    /// Returns the step from the last published state to the present one, and counts it as published.
    /// `None` if nothing has changed.
    pub fn take_advance(&mut self) -> Option<Advance> {
        let now = (self.received, self.watermark());
        if now == self.published {
            return None;
        }
        let (prev, _) = std::mem::replace(&mut self.published, now);
        Some(Advance { prev, upto: now.0, watermark: now.1 })
    }

    /// Returns the published state as an empty step. A part of a commit whose end has not arrived may
    /// be published with it, at its [next position](Advance::next_position).
    #[must_use]
    pub fn published(&self) -> Advance {
        let (upto, watermark) = self.published;
        Advance { prev: upto, upto, watermark }
    }

    /// Records that the tiers have durably applied everything up to `upto`.
    pub fn ack(&mut self, upto: Lsn) {
        self.acked = self.acked.max(upto);
    }

    /// Returns the position up to which the database may discard the log: never beyond W.
    #[must_use]
    pub fn confirmable(&self) -> Lsn {
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
    fn new_slot_waits_for_older_transactions() {
        let mut cursor = StreamCursor::starting(Lsn(10), 7);
        assert_eq!(cursor.take_advance(), None);
        cursor.snapshot(&Snapshot { xmin: 5, xmax: 8, in_progress: vec![5] });
        assert_eq!(
            cursor.watermark(),
            Lsn::ZERO,
            "5 may have committed before the slot's position"
        );
        cursor.snapshot(&shows_below(8));
        let advance = Advance { prev: Lsn(10), upto: Lsn(10), watermark: Lsn(10) };
        assert_eq!((cursor.take_advance(), cursor.take_advance()), (Some(advance), None));
    }

    #[test]
    fn restored_watermark_ends_the_wait() {
        let mut cursor = StreamCursor::starting(Lsn(10), 7);
        cursor.restore_watermark(Lsn(9));
        assert_eq!(cursor.watermark(), Lsn::ZERO);
        cursor.restore_watermark(Lsn(10));
        assert_eq!(cursor.watermark(), Lsn(10));
    }

    #[test]
    fn visible_position_ends_the_wait() {
        let mut cursor = StreamCursor::starting(Lsn(10), u64::MAX);
        cursor.observe_visible(Lsn(9));
        assert_eq!(cursor.watermark(), Lsn::ZERO);
        cursor.observe_visible(Lsn(10));
        assert_eq!(cursor.watermark(), Lsn(10));
    }

    #[test]
    fn hidden_commit_published_not_confirmed() {
        let mut cursor = StreamCursor::starting(Lsn(10), 7);
        cursor.restore_watermark(Lsn(10));
        cursor.take_advance();
        cursor.commit(Lsn(20), 8);
        let hidden = Advance { prev: Lsn(10), upto: Lsn(20), watermark: Lsn(10) };
        assert_eq!(cursor.take_advance(), Some(hidden));
        cursor.ack(Lsn(20));
        assert_eq!(cursor.confirmable(), Lsn(10), "the next leader must receive it again");
        cursor.snapshot(&shows_below(9));
        let visible = Advance { prev: Lsn(20), upto: Lsn(20), watermark: Lsn(20) };
        assert_eq!(cursor.take_advance(), Some(visible));
        assert_eq!(cursor.confirmable(), Lsn(20));
    }
}
