//! Commits, and the versions of cells that they write.

use coherence::Lsn;
use feed::LogMessage;

/// An item with versions: a row, the content of a tag, or everything.
pub(super) type Cell = usize;

/// A commit, lost or not.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) lsn: Lsn,
    /// The time at which it was written.
    pub(super) at: u64,
    pub(super) xid: u64,
    /// The cells that it wrote, and whether each row exists afterwards.
    pub(super) cells: Vec<(Cell, bool)>,
    /// Whether the log lacks its changes: a partition was attached, a table was swapped for another.
    pub(super) unlogged: bool,
    /// The request that it carries.
    pub(super) message: Option<LogMessage>,
    pub(super) flushed: bool,
    /// The time since which snapshots show it.
    pub(super) visible: Option<u64>,
    /// The time since which it is lost.
    pub(super) lost: Option<u64>,
    /// The generation of the server in which it was written.
    pub(super) generation: u64,
    /// The generation that ended when it was lost.
    pub(super) lost_with: Option<u64>,
}

/// The state of a cell after a commit, by the commit's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Version {
    pub(super) commit: usize,
    pub(super) present: bool,
}
