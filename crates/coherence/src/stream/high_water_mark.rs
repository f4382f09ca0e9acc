//! The highest position that a node has seen applied.
//!
//! A tier at a lower position, or at a position of another log, was restored from older data (or is
//! briefly ahead of this node). Its entries are as old as its position shows. But they may include
//! data that was purged since, or commits that a crash has undone, and the rules about stale answers
//! cover neither.

use crate::position::{Log, Lsn};

/// The highest applied position of the log that is followed. It outlives the node's other state.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HighWaterMark(Option<(Log, Lsn)>);

impl HighWaterMark {
    /// Records that the log was applied up to `applied`. Another log replaces the previous one,
    /// because positions of two logs can't be compared.
    pub fn note(&mut self, log: Log, applied: Lsn) {
        self.0 = match self.0 {
            Some((known, at)) if known == log => Some((log, at.max(applied))),
            _ => Some((log, applied)),
        };
    }

    /// Returns whether the mark is past the position of a tier that has applied `applied` of `log`.
    /// True also for a tier of another log, for which no comparison is possible.
    #[must_use]
    pub fn is_past(self, log: Log, applied: Lsn) -> bool {
        self.0.is_some_and(|(known, at)| known != log || applied < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn race_21_restored_tier_detected() {
        let log = Log { system: 1, timeline: 1, server: 1 };
        let mut mark = HighWaterMark::default();
        assert!(!mark.is_past(log, Lsn(0)), "no position is known yet");
        mark.note(log, Lsn(11));
        mark.note(log, Lsn(10));
        assert!(mark.is_past(log, Lsn(10)));
        assert!(!mark.is_past(log, Lsn(11)));
        let next = Log { timeline: 2, ..log };
        assert!(mark.is_past(next, Lsn(99)), "positions of two logs can't be compared");
        mark.note(next, Lsn(5));
        assert!(mark.is_past(next, Lsn(4)));
        assert!(!mark.is_past(next, Lsn(5)));
    }
}
