//! The state of a standby server that answers reads.

use coherence::{Log, Lsn, Replayed};

use super::commits::Commit;

/// A standby server.
#[derive(Clone, Debug)]
pub(super) struct Standby {
    /// Its snapshots show the commits up to here.
    pub(super) shown: Lsn,
    /// The replay position that it reports, which moves after `shown`.
    pub(super) replayed: Lsn,
    /// The log that it follows.
    pub(super) log: Log,
    /// The generation of the primary that it follows.
    pub(super) generation: u64,
    /// The number of times that it was rebuilt.
    pub(super) rebuilds: u64,
    pub(super) up: bool,
}

impl Standby {
    /// Returns a copy of a primary whose log is flushed up to `shown`.
    pub(super) fn at(shown: Lsn, log: Log, generation: u64) -> Self {
        Self { shown, replayed: shown, log, generation, rebuilds: 0, up: true }
    }

    /// Follows the primary, or the server that replaced it, which continues from `kept` in another
    /// generation. A standby that has replayed more can't follow.
    pub(super) fn follow(&mut self, log: Log, generation: u64, kept: Lsn) {
        if self.shown <= kept {
            (self.log, self.generation) = (log, generation);
        }
    }

    /// Returns whether its snapshots show the commit: the commit is in the log that it follows.
    pub(super) fn sees(&self, commit: &Commit) -> bool {
        let written = commit.lsn <= self.shown && commit.generation <= self.generation;
        written && commit.lost_with.is_none_or(|generation| generation >= self.generation)
    }

    pub(super) fn reported(&self) -> Replayed {
        Replayed { log: Log { server: 0, ..self.log }, upto: self.replayed }
    }
}
