//! May the tier go on from where it stands, or must it begin anew?
//!
//! Decided each time a feed (re)connects. Going on is right only if nothing can have been lost:
//! the same database, not restarted, a slot that begins no later than the tier stands.

use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// What a feed knows when it begins to follow the log.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Start {
    /// The database's identity.
    pub system: u64,
    /// Its timeline.
    pub timeline: u32,
    /// A digest of the server's start time: a restart may have been a crash, and a crash may have
    /// lost asynchronous commits that were read and cached, without an event.
    pub server: u64,
    /// The slot (or change log) was made just now: what came before it is lost.
    pub new_slot: bool,
    /// For a reconnection: whether the server is known not to have crashed in between (a crash
    /// ends every session, so one that survived proves it). `None` for a first connection.
    pub unbroken: Option<bool>,
    /// Every event after this position will be delivered.
    pub position: Lsn,
}

/// The verdict.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Resume {
    /// The chain holds: go on under this epoch.
    Continue(Epoch),
    /// Unproven: make this epoch, void everything older.
    Begin(Epoch),
}

/// Decides for a tier that stands at `found` (its epoch and applied position). `draw` is a fresh
/// random number for a new incarnation.
#[must_use]
pub fn resume(found: Option<(Epoch, Lsn)>, start: &Start, draw: u64) -> Resume {
    let begin = Resume::Begin(Epoch {
        system: start.system,
        timeline: start.timeline,
        server: start.server,
        incarnation: draw,
    });
    let Some((epoch, applied)) = found else {
        return begin;
    };
    let same_server = (epoch.system, epoch.timeline, epoch.server)
        == (start.system, start.timeline, start.server);
    let same_server = same_server || !on(Rule::ResumeSameServer);
    let unbroken = start.unbroken != Some(false) || !on(Rule::ResumeUnbroken);
    let no_gap = start.position <= applied || !on(Rule::ResumeWithoutGap);
    let nothing_lost = !start.new_slot && unbroken && no_gap;
    if same_server && nothing_lost { Resume::Continue(epoch) } else { begin }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { system: 1, timeline: 2, server: 3, incarnation: 4 };
    const START: Start = Start {
        system: 1,
        timeline: 2,
        server: 3,
        new_slot: false,
        unbroken: None,
        position: Lsn(10),
    };

    fn continues(start: Start, applied: u64) -> bool {
        resume(Some((EPOCH, Lsn(applied))), &start, 9) == Resume::Continue(EPOCH)
    }

    #[test]
    fn goes_on_where_nothing_can_be_missing() {
        assert!(continues(START, 10));
        assert!(continues(START, 15), "a tier ahead of the slot only sees repeats");
        assert!(continues(Start { unbroken: Some(true), ..START }, 10));
    }

    #[test]
    fn begins_anew_where_something_may_be_lost() {
        assert!(!continues(START, 9), "the slot begins after the tier's position");
        assert!(!continues(Start { new_slot: true, ..START }, 10));
        assert!(!continues(Start { unbroken: Some(false), ..START }, 10));
        assert!(!continues(Start { server: 4, ..START }, 10), "race 22: the server was restarted");
        assert!(!continues(Start { timeline: 3, ..START }, 10), "failover");
        assert!(!continues(Start { system: 2, ..START }, 10));
        assert_eq!(resume(None, &START, 9), Resume::Begin(Epoch { incarnation: 9, ..EPOCH }));
    }
}
