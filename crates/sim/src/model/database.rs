//! The database: a log whose commits become visible later than they are written.

use coherence::resume::Start;
use coherence::{Cause, Event, Log, Lsn, Snapshot};

use crate::model::keys::{KeyId, Touch};
use crate::model::standby::Standby;

/// The start of the log.
pub const START: Lsn = Lsn(10);

/// A set of commits: bit n is commit n.
pub type CommitSet = u16;

/// One commit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Commit {
    /// Its end position.
    pub lsn: Lsn,
    /// Its subject.
    pub touch: Touch,
    /// Whether it survives a crash and may be sent to the feed.
    pub flushed: bool,
    /// The time since which snapshots show it.
    pub visible: Option<u8>,
    /// The generation of the database in which it was written.
    written_in: u8,
    /// The time since which it is lost, after a crash.
    pub lost: Option<u8>,
}

/// The database.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Database {
    /// All commits that were ever written, in commit order.
    pub commits: Vec<Commit>,
    /// The end of the log.
    pub end: Lsn,
    /// The generation of the log: counts crashes and failovers.
    pub generation: u8,
    /// The identity of the log, as seen from outside.
    pub log: Log,
    /// The present time, which advances when the snapshots' content changes: nothing else can tell two
    /// moments apart.
    pub now: u8,
    /// The position of the feed's slot.
    pub slot: Lsn,
    /// The position to which acknowledgements may have moved the slot.
    pub acked: Lsn,
    /// Whether the slot is newer than the tiers.
    pub slot_is_new: bool,
    /// A standby that answers reads.
    pub standby: Option<Standby>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            commits: Vec::new(),
            end: START,
            generation: 1,
            log: Log { system: 1, timeline: 1, server: 1 },
            now: 1,
            slot: START,
            acked: START,
            slot_is_new: false,
            standby: None,
        }
    }
}

impl Database {
    /// Writes a commit record. With `lazy` (`synchronous_commit = off`) it is visible at once and flushed
    /// later; otherwise the other way round.
    pub fn commit(&mut self, touch: Touch, lazy: bool) {
        self.end.0 += 1;
        let visible = lazy.then(|| {
            self.now += 1;
            self.now
        });
        self.commits.push(Commit {
            lsn: self.end,
            touch,
            flushed: !lazy,
            visible,
            written_in: self.generation,
            lost: None,
        });
        if !lazy {
            self.flush();
        }
    }

    /// Flushes the log, always from its start.
    pub fn flush(&mut self) {
        self.commits.iter_mut().filter(|c| c.lost.is_none()).for_each(|c| c.flushed = true);
    }

    /// Returns whether a commit is not flushed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.commits.iter().any(|c| c.lost.is_none() && !c.flushed)
    }

    /// Returns whether a transaction on this subject can commit: a transaction that changed the same rows
    /// and is not visible yet still holds their locks.
    #[must_use]
    pub fn is_free(&self, touch: Touch) -> bool {
        let same = |c: &Commit| {
            c.touch == touch || c.touch == Touch::Everything || touch == Touch::Everything
        };
        !self.commits.iter().any(|c| is_hidden(c) && same(c))
    }

    /// Returns the commits that may become visible now.
    pub fn hidden(&self) -> impl Iterator<Item = usize> {
        self.commits.iter().enumerate().filter(|(_, c)| is_hidden(c)).map(|(at, _)| at)
    }

    /// Makes the commit visible to snapshots from now on.
    pub fn show(&mut self, at: usize) {
        self.now += 1;
        self.commits[at].visible = Some(self.now);
    }

    /// Crashes and recovers the server. Unflushed commits are lost, and their positions are assigned again;
    /// flushed commits are visible. Recovery itself writes a record.
    ///
    /// `restarted`: the restart is visible from outside. `failover`: a standby takes over that had not
    /// received the last commit and has no slot for the feed.
    pub fn crash(&mut self, restarted: bool, failover: bool) {
        let last = self.commits.iter().rposition(|c| c.lost.is_none()).filter(|_| failover);
        for (at, commit) in self.commits.iter_mut().enumerate() {
            if commit.lost.is_none() && (!commit.flushed || Some(at) == last) {
                commit.lost = Some(self.now + 1);
            }
        }
        self.now += 1;
        self.generation += 1;
        let left = || self.commits.iter().filter(|c| c.lost.is_none()).map(|c| c.lsn);
        let recovered = left().max().unwrap_or(START);
        self.end = Lsn(recovered.0 + 1);
        let now = self.now;
        let alive = self.commits.iter_mut().filter(|c| c.lost.is_none());
        alive.for_each(|c| c.visible = c.visible.or(Some(now)));
        if restarted {
            self.log.server += 1;
        }
        if failover {
            self.log.timeline += 1;
            self.create_slot();
        }
        let (log, generation) = (self.log, self.generation);
        if let Some(standby) = &mut self.standby {
            standby.follow(log, generation, recovered);
        }
    }

    /// Replaces the lost slot by a new one at the end of the log.
    pub fn create_slot(&mut self) {
        self.slot = self.end;
        self.acked = self.end;
        self.slot_is_new = true;
    }

    /// Returns the commits of key `id` that a snapshot shows now.
    #[must_use]
    pub fn snapshot_of(&self, id: KeyId) -> CommitSet {
        self.bits(|c| c.touch.concerns(id) && c.lost.is_none() && c.visible.is_some())
    }

    /// Returns the commits that satisfy `which`.
    fn bits(&self, which: impl Fn(&Commit) -> bool) -> CommitSet {
        let bit = |(at, c): (usize, &Commit)| if which(c) { 1_u16 << at } else { 0 };
        self.commits.iter().enumerate().map(bit).sum()
    }

    /// Returns the commits of key `id` up to `upto` in the log of that `generation` that still exist: an
    /// entry is not stale because it misses a lost commit.
    #[must_use]
    pub fn upto(&self, id: KeyId, generation: u8, upto: Lsn) -> CommitSet {
        let in_log = |c: &Commit| c.written_in <= generation && c.lost.is_none();
        self.bits(|c| c.touch.concerns(id) && c.lsn <= upto && in_log(c))
    }

    /// Returns the commits of key `id` up to `upto` that a standby in that `generation` of the database has
    /// replayed, whether or not they are lost elsewhere.
    #[must_use]
    pub fn replayed(&self, id: KeyId, generation: u8, upto: Lsn) -> CommitSet {
        let kept = |c: &Commit| {
            c.written_in <= generation && (c.lost.is_none() || generation < self.generation)
        };
        self.bits(|c| c.touch.concerns(id) && c.lsn <= upto && kept(c))
    }

    /// Returns the commits of key `id` that every answer as of `then` must include.
    #[must_use]
    pub fn required(&self, id: KeyId, then: u8) -> CommitSet {
        let seen = |c: &Commit| c.lost.is_none() && c.visible.is_some_and(|since| since <= then);
        self.bits(|c| c.touch.concerns(id) && seen(c))
    }

    /// Returns the commits that no answer as of `then` may include, because they were lost by then.
    #[must_use]
    pub fn gone(&self, then: u8) -> CommitSet {
        self.bits(|c| c.lost.is_some_and(|since| since <= then))
    }

    /// Returns a new standby that has replayed everything.
    #[must_use]
    pub fn new_standby(&self) -> Standby {
        Standby::at(START, self.log, self.generation)
    }

    /// Returns the commits of key `id` that a snapshot of the standby shows now.
    #[must_use]
    pub fn standby_snapshot_of(&self, standby: &Standby, id: KeyId) -> CommitSet {
        self.replayed(id, standby.generation, standby.shown)
    }

    /// Returns `pg_current_snapshot()`. A transaction's id is its number, from 1.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let hidden = self.commits.iter().enumerate().filter(|(_, c)| is_hidden(c));
        let in_progress: Vec<u64> = hidden.map(|(at, _)| at as u64 + 1).collect();
        let xmax = self.commits.len() as u64 + 1;
        Snapshot { xmin: in_progress.first().copied().unwrap_or(xmax), xmax, in_progress }
    }

    /// Returns the next commit after `after` that may be sent.
    #[must_use]
    pub fn next(&self, after: Lsn) -> Option<(u32, &Commit)> {
        let sendable = |c: &&Commit| c.lost.is_none() && c.flushed && c.lsn > after;
        let next = self.commits.iter().filter(sendable).min_by_key(|c| c.lsn)?;
        let at = self.commits.iter().position(|c| c == next)?;
        Some((u32::try_from(at + 1).unwrap_or(u32::MAX), next))
    }

    /// Returns the state that a feed sees when it connects. `unbroken`: see [`Start::unbroken`].
    #[must_use]
    pub fn start(&self, position: Lsn, unbroken: Option<bool>) -> Start {
        let Log { system, timeline, server } = self.log;
        Start { system, timeline, server, new_slot: self.slot_is_new, unbroken, position }
    }
}

fn is_hidden(commit: &Commit) -> bool {
    commit.lost.is_none() && commit.visible.is_none()
}

/// Returns the event of a commit.
#[must_use]
pub fn event(commit: &Commit) -> Event {
    let subjects = vec![commit.touch.subject()];
    Event { lsn: commit.lsn, cause: Cause::Commit, committed_us: 0, subjects, renewals: Vec::new() }
}

/// Returns whether a set includes every required commit.
pub(crate) fn includes(seen: CommitSet, required: CommitSet) -> bool {
    required & !seen == 0
}
