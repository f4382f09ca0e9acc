//! The state of a standby that answers reads.

use coherence::{Log, Lsn};

/// A standby.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Standby {
    /// Its snapshots show the commits up to here.
    pub(crate) shown: Lsn,
    /// The replay position that it reports, which moves after `shown`.
    pub(crate) replayed: Lsn,
    /// The log that it follows.
    pub(crate) log: Log,
    /// The generation of the database that it follows.
    pub(crate) generation: u8,
}

/// The database that a load asks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// The primary.
    Primary,
    /// The standby, with the position that it has reported, if any.
    Standby(Option<Lsn>),
}

impl Standby {
    /// Returns a standby that has replayed the whole log up to `position`.
    #[must_use]
    pub fn at(position: Lsn, log: Log, generation: u8) -> Self {
        Self { shown: position, replayed: position, log, generation }
    }

    /// Follows a primary that crashed, or another server that took its place, which has everything up to
    /// `recovered`. A standby that has replayed more can't follow it.
    pub fn follow(&mut self, log: Log, generation: u8, recovered: Lsn) {
        if self.shown <= recovered {
            (self.log, self.generation) = (log, generation);
        }
    }
}
