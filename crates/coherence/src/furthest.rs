//! How far a node has known the log to be applied.
//!
//! A tier that shows an older position than that, or one of another log, has come back from older data
//! (or is a moment ahead of this node). What it holds is as old as it shows; but it may hold what a
//! person has asked to remove since, or what a crash has undone, and no rule about stale answers covers
//! that.

use crate::position::{Log, Lsn};

/// The furthest position of the log that is followed; outlives what a node forgets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Furthest(Option<(Log, Lsn)>);

impl Furthest {
    /// The log was applied up to here. Another log takes the place of the one before: positions of
    /// two can't be compared.
    pub fn note(&mut self, log: Log, applied: Lsn) {
        self.0 = match self.0 {
            Some((known, at)) if known == log => Some((log, at.max(applied))),
            _ => Some((log, applied)),
        };
    }

    /// Whether a tier that has applied `applied` of `log` stands before that, as far as can be said: of
    /// a tier that follows another log it can't.
    #[must_use]
    pub fn is_past(self, log: Log, applied: Lsn) -> bool {
        self.0.is_some_and(|(known, at)| known != log || applied < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn race_21_a_tier_that_came_back_older_is_known_by_its_position() {
        let log = Log { system: 1, timeline: 1, server: 1 };
        let mut furthest = Furthest::default();
        assert!(!furthest.is_past(log, Lsn(0)), "nothing is known yet");
        furthest.note(log, Lsn(11));
        furthest.note(log, Lsn(10));
        assert!(furthest.is_past(log, Lsn(10)));
        assert!(!furthest.is_past(log, Lsn(11)));
        let next = Log { timeline: 2, ..log };
        assert!(furthest.is_past(next, Lsn(99)), "nobody can say");
        furthest.note(next, Lsn(5));
        assert!(furthest.is_past(next, Lsn(4)));
        assert!(!furthest.is_past(next, Lsn(5)));
    }
}
