//! W: the position up to which every commit is visible to every new snapshot.
//!
//! PostgreSQL flushes a commit record, and may send it to us, *before* the transaction becomes
//! visible to new snapshots; with a synchronous standby that gap has no bound. So a received event
//! proves nothing about what a read sees. W does: it moves only over commits that a snapshot of the
//! primary has shown to be visible.

use std::collections::VecDeque;

use crate::position::Lsn;
use crate::rules::{Rule, on};

/// The result of `pg_current_snapshot()`, `xmin:xmax:xip,…`, in 64-bit transaction ids.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// Every id below this has ended.
    pub xmin: u64,
    /// No id from here on had been assigned and ended.
    pub xmax: u64,
    /// The ids between the two that are in progress, ascending.
    pub in_progress: Vec<u64>,
}

impl Snapshot {
    /// Parses PostgreSQL's text form; `None` if `text` is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let mut in_progress = Vec::new();
        for xid in list.split(',').filter(|xid| !xid.is_empty()) {
            in_progress.push(xid.parse().ok()?);
        }
        in_progress.sort_unstable();
        parts.next().is_none().then_some(Self { xmin, xmax, in_progress })
    }

    /// Returns whether a transaction that is known to have committed is visible to this snapshot.
    ///
    /// The log carries 32 bits of the id; it is widened to the 64-bit id nearest to `xmax`, which
    /// is right as long as the two are less than 2³¹ transactions apart (PostgreSQL stops itself
    /// before that).
    #[must_use]
    pub fn shows(&self, xid: u32) -> bool {
        let xid = widen(xid, self.xmax);
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }
}

fn widen(xid: u32, near: u64) -> u64 {
    let distance = xid.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(distance))
}

/// The commits that were received but that no snapshot has shown yet.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Watermark {
    waiting: VecDeque<(Lsn, u32)>,
    received: Lsn,
    visible: Lsn,
}

impl Watermark {
    /// Returns a watermark at a slot's consistent point. W may be `at` only once a transaction id that
    /// was assigned after the slot existed is below the primary's snapshot `xmin`.
    #[must_use]
    pub fn starting(at: Lsn) -> Self {
        Self { waiting: VecDeque::new(), received: at, visible: at }
    }

    /// Records a commit; commits arrive in commit order. `xid` is the top-level transaction id.
    pub fn commit(&mut self, end: Lsn, xid: u32) {
        if end > self.received {
            self.received = end;
            self.waiting.push_back((end, xid));
        }
    }

    /// Records that the log was received up to `upto` without further commits (keepalive).
    pub fn progress(&mut self, upto: Lsn) -> Lsn {
        self.received = self.received.max(upto);
        self.advance()
    }

    /// Records a snapshot of the primary. It may be older or newer than the arrival of the commits that
    /// it shows, because every later snapshot shows them too.
    pub fn snapshot(&mut self, snapshot: &Snapshot) -> Lsn {
        while let Some((end, xid)) = self.waiting.front() {
            let shown = |(_, xid): &(Lsn, u32)| snapshot.shows(*xid);
            let skip = !on(Rule::WatermarkInOrder) && self.waiting.iter().any(shown);
            if on(Rule::WatermarkNeedsSnapshot) && !snapshot.shows(*xid) && !skip {
                break;
            }
            self.visible = self.visible.max(*end);
            self.waiting.pop_front();
        }
        self.advance()
    }

    /// Records that a snapshot of the database showed every commit up to `upto` (MariaDB reports the
    /// position).
    pub fn observe_visible(&mut self, upto: Lsn) -> Lsn {
        while let Some((end, _)) = self.waiting.front() {
            if on(Rule::WatermarkNeedsSnapshot) && *end > upto {
                break;
            }
            self.visible = self.visible.max(*end);
            self.waiting.pop_front();
        }
        self.advance()
    }

    /// Everything received is visible if no commit waits.
    fn advance(&mut self) -> Lsn {
        if self.waiting.is_empty() || !on(Rule::WatermarkWaitsForCommits) {
            self.visible = self.visible.max(self.received);
        }
        self.visible
    }

    /// Returns W.
    #[must_use]
    pub fn visible(&self) -> Lsn {
        self.visible
    }

    /// Returns whether W needs a snapshot in order to move.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn snapshot_parses_postgres_text() {
        let snapshot = Snapshot::parse("10:20:12,14").expect("well formed");
        assert_eq!(snapshot, Snapshot { xmin: 10, xmax: 20, in_progress: vec![12, 14] });
        assert_eq!(
            Snapshot::parse("7:7:"),
            Some(Snapshot { xmin: 7, xmax: 7, in_progress: vec![] })
        );
        for invalid in ["", "1", "1:2", "a:2:", "1:2:x", "1:2:3:4"] {
            assert_eq!(Snapshot::parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn race_23_hidden_commit_holds_watermark() {
        let mut w = Watermark::starting(Lsn(100));
        w.commit(Lsn(110), 12);
        let too_early = Snapshot::parse("12:13:12").expect("well formed");
        assert_eq!(w.snapshot(&too_early), Lsn(100), "12 is still in progress for new snapshots");
        let later = Snapshot::parse("13:13:").expect("well formed");
        assert_eq!(w.snapshot(&later), Lsn(110));
    }

    #[test]
    fn snapshot_covers_later_arrivals() {
        let mut w = Watermark::starting(Lsn(100));
        let early = Snapshot::parse("12:14:12").expect("well formed");
        w.snapshot(&early);
        w.commit(Lsn(110), 13);
        assert_eq!(w.snapshot(&early), Lsn(110), "13 had ended by then");
        w.commit(Lsn(120), 12);
        assert_eq!(w.snapshot(&early), Lsn(110), "12 was in progress then");
        w.commit(Lsn(130), 14);
        assert_eq!(w.snapshot(&early), Lsn(110), "14 began later");
    }

    #[test]
    fn visible_commit_waits_for_hidden_one() {
        let mut w = Watermark::starting(Lsn(0));
        w.commit(Lsn(10), 5);
        w.commit(Lsn(20), 6);
        assert_eq!(w.snapshot(&Snapshot { xmin: 5, xmax: 9, in_progress: vec![5] }), Lsn(0));
        assert_eq!(w.progress(Lsn(30)), Lsn(0), "a keepalive proves nothing about 5");
        assert_eq!(w.snapshot(&Snapshot { xmin: 9, xmax: 9, in_progress: vec![] }), Lsn(30));
    }

    #[test]
    fn race_23_visible_position_moves_watermark() {
        let mut w = Watermark::starting(Lsn(100));
        w.commit(Lsn(110), 0);
        w.commit(Lsn(120), 0);
        assert_eq!(w.observe_visible(Lsn(109)), Lsn(100), "the server still waits for its replica");
        assert_eq!(w.observe_visible(Lsn(119)), Lsn(110));
        assert_eq!(w.progress(Lsn(130)), Lsn(110), "a heartbeat proves nothing about 120");
        assert_eq!(w.observe_visible(Lsn(900)), Lsn(130), "never beyond the received position");
    }

    #[test]
    fn xid_wrap_at_32_bits() {
        let snapshot =
            Snapshot { xmin: (1 << 32) - 2, xmax: (1 << 32) + 5, in_progress: vec![1 << 32] };
        assert!(snapshot.shows(u32::MAX - 5));
        assert!(snapshot.shows(u32::MAX));
        assert!(!snapshot.shows(0), "still in progress");
        assert!(snapshot.shows(3));
        assert!(!snapshot.shows(6), "not assigned yet");
    }

    proptest! {
        /// W never passes a commit that the latest snapshot does not show.
        #[test]
        fn never_passes_a_hidden_commit(
            xids in proptest::collection::vec(0_u32..30, 1..30),
            xmin in 0_u64..15, span in 0_u64..20,
            hidden in proptest::collection::btree_set(0_u64..30, 0..6),
        ) {
            let snapshot = Snapshot {
                xmin, xmax: xmin + span,
                in_progress: hidden.into_iter().filter(|x| (xmin..xmin + span).contains(x)).collect(),
            };
            let mut w = Watermark::starting(Lsn(0));
            for (i, xid) in xids.iter().enumerate() {
                w.commit(Lsn(i as u64 + 1), *xid);
            }
            let visible = w.snapshot(&snapshot).0 as usize;
            prop_assert!(xids[..visible].iter().all(|xid| snapshot.shows(*xid)));
            prop_assert!(visible == xids.len() || !snapshot.shows(xids[visible]));
        }

        #[test]
        fn parse_never_panics(text in ".{0,40}") {
            let _ = Snapshot::parse(&text);
        }
    }
}
