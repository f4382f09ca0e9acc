//! The decision, made each time a feed (re)connects, whether the tier continues or its epoch is reset.
//!
//! The tier may continue only if nothing can have been lost: the same database, not restarted, and a
//! slot that begins no later than the tier's position.

use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// The state of the database and its slot when a feed connects.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Start {
    /// The database's identity.
    pub system: u64,
    /// Its timeline.
    pub timeline: u32,
    /// A digest of the server's start time. A restart may have been a crash, and a crash may have lost
    /// asynchronous commits that were read and cached, without an event.
    pub server: u64,
    /// The slot (or change log) was created just now; earlier commits are lost.
    pub new_slot: bool,
    /// For a reconnection: whether the server is known not to have crashed in between. A crash ends
    /// every session, so a session that survived proves it. `None` for a first connection.
    pub unbroken: Option<bool>,
    /// The feed delivers every event after this position.
    pub position: Lsn,
}

/// The decision.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Resume {
    /// Nothing is lost: the tier continues under its epoch.
    Continue(Epoch),
    /// Something may be lost: the tier is reset to this new epoch, which voids all older entries.
    Reset(Epoch),
}

/// Decides for a tier at `found` (its epoch and applied position; `None` if it has no epoch). `draw` is
/// a fresh random number for a new incarnation.
#[must_use]
pub fn resume(found: Option<(Epoch, Lsn)>, start: &Start, draw: u64) -> Resume {
    let reset = Resume::Reset(Epoch {
        system: start.system,
        timeline: start.timeline,
        server: start.server,
        incarnation: draw,
    });
    let Some((epoch, applied)) = found else {
        return reset;
    };
    let same_server = (epoch.system, epoch.timeline, epoch.server)
        == (start.system, start.timeline, start.server);
    let same_server = same_server || !on(Rule::ResumeSameServer);
    let unbroken = start.unbroken != Some(false) || !on(Rule::ResumeUnbroken);
    let no_gap = start.position <= applied || !on(Rule::ResumeWithoutGap);
    let nothing_lost = !start.new_slot && unbroken && no_gap;
    if same_server && nothing_lost { Resume::Continue(epoch) } else { reset }
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
    fn tier_without_a_gap_continues() {
        assert!(continues(START, 10));
        assert!(continues(START, 15), "a tier ahead of the slot receives repeats only");
        assert!(continues(Start { unbroken: Some(true), ..START }, 10));
    }

    #[test]
    fn possible_loss_resets_epoch() {
        assert!(!continues(START, 9), "the slot begins after the tier's position");
        assert!(!continues(Start { new_slot: true, ..START }, 10));
        assert!(!continues(Start { unbroken: Some(false), ..START }, 10));
        assert!(!continues(Start { server: 4, ..START }, 10), "race 22: the server was restarted");
        assert!(!continues(Start { timeline: 3, ..START }, 10), "failover");
        assert!(!continues(Start { system: 2, ..START }, 10));
        assert_eq!(resume(None, &START, 9), Resume::Reset(Epoch { incarnation: 9, ..EPOCH }));
    }
}
