//! The virtual PostgreSQL: rows, transactions, a log, snapshots, a slot, crashes and failovers.
//!
//! Time is handed in, in nanoseconds since the world began. A commit is written, flushed and visible
//! at three different moments, as in the real one: with `synchronous_commit` it is flushed first and
//! visible later, without end if a standby keeps it waiting; without, it is visible first and may be
//! lost.

use std::collections::BTreeSet;

use coherence::{Log, Lsn, Snapshot};

use super::standby::Standby;

/// Something that has versions: a row, what a tag stands for, or everything at once.
pub(super) type Cell = usize;

/// Where the log begins.
const BEGINNING: u64 = 1_000;

/// A commit that was ever written.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) lsn: Lsn,
    pub(super) xid: u64,
    /// What it wrote, and whether the row is there afterwards.
    pub(super) cells: Vec<(Cell, bool)>,
    flushed: bool,
    /// Since when snapshots see it.
    pub(super) visible: Option<u64>,
    /// Since when it is lost.
    pub(super) lost: Option<u64>,
    /// In which of the server's lives it was written.
    pub(super) life: u64,
    /// Which of them ended when it was lost.
    pub(super) lost_with: Option<u64>,
}

/// A cell's state after a commit, by the commit's number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Version {
    pub(super) commit: usize,
    pub(super) present: bool,
}

/// The replication slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) confirmed: Lsn,
    /// What of that a crash leaves.
    persisted: Lsn,
    /// The session that holds it.
    pub(super) holder: Option<u64>,
}

/// The server, and everything that it ever did.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) commits: Vec<Commit>,
    /// By cell, in commit order.
    cells: Vec<Vec<Version>>,
    locks: Vec<Option<u64>>,
    open: BTreeSet<u64>,
    next_xid: u64,
    pub(super) end: Lsn,
    pub(super) flushed: Lsn,
    pub(super) log: Log,
    /// Counts starts; also what `log.server` says.
    pub(super) life: u64,
    pub(super) up: bool,
    pub(super) slot: Option<Slot>,
    /// A standby that answers reads.
    pub(super) standby: Option<Standby>,
    sessions: u64,
}

impl Database {
    /// Every cell has its first version.
    pub(super) fn new(cells: usize) -> Self {
        let first = Commit {
            lsn: Lsn(BEGINNING),
            xid: 2,
            cells: Vec::new(),
            flushed: true,
            visible: Some(0),
            lost: None,
            life: 1,
            lost_with: None,
        };
        Self {
            commits: vec![first],
            cells: vec![vec![Version { commit: 0, present: true }]; cells],
            locks: vec![None; cells],
            open: BTreeSet::new(),
            next_xid: 3,
            end: Lsn(BEGINNING),
            flushed: Lsn(BEGINNING),
            log: Log { system: 7, timeline: 1, server: 1 },
            life: 1,
            up: true,
            slot: None,
            standby: None,
            sessions: 0,
        }
    }

    /// A transaction begins and locks what it will write; `None`: something is locked.
    pub(super) fn begin(&mut self, cells: &[(Cell, bool)]) -> Option<u64> {
        if !self.up || cells.iter().any(|(cell, _)| self.locks[*cell].is_some()) {
            return None;
        }
        let xid = self.draw_xid();
        self.open.insert(xid);
        cells.iter().for_each(|(cell, _)| self.locks[*cell] = Some(xid));
        Some(xid)
    }

    /// An id above those of all open transactions.
    pub(super) fn draw_xid(&mut self) -> u64 {
        self.next_xid += 1;
        self.next_xid - 1
    }

    /// The commit record is written, `bytes` long. `lazy` (`synchronous_commit = off`): it is visible
    /// at once and flushed some time; otherwise the other way round.
    pub(super) fn commit(
        &mut self,
        now: u64,
        xid: u64,
        cells: Vec<(Cell, bool)>,
        bytes: u64,
        lazy: bool,
    ) -> usize {
        self.end.0 += bytes;
        let number = self.commits.len();
        for (cell, present) in &cells {
            self.cells[*cell].push(Version { commit: number, present: *present });
        }
        self.commits.push(Commit {
            lsn: self.end,
            xid,
            cells,
            flushed: false,
            visible: None,
            lost: None,
            life: self.life,
            lost_with: None,
        });
        if lazy {
            self.show(now, number);
        } else {
            self.flush();
        }
        number
    }

    /// A transaction ends without a commit.
    pub(super) fn roll_back(&mut self, xid: u64) {
        self.open.remove(&xid);
        self.locks.iter_mut().filter(|lock| **lock == Some(xid)).for_each(|lock| *lock = None);
    }

    /// Something else is written into the log.
    pub(super) fn scribble(&mut self, bytes: u64) {
        self.end.0 += bytes;
    }

    /// The log reaches the disk.
    pub(super) fn flush(&mut self) {
        self.flushed = self.end;
        for commit in self.commits.iter_mut().rev() {
            // Everything older was flushed with it, or is lost.
            if commit.flushed {
                break;
            }
            commit.flushed = commit.lost.is_none();
        }
    }

    /// Snapshots see the commit from now on.
    pub(super) fn show(&mut self, now: u64, number: usize) {
        let commit = &mut self.commits[number];
        if commit.lost.is_none() && commit.visible.is_none() {
            commit.visible = Some(now);
            let xid = commit.xid;
            self.roll_back(xid);
        }
    }

    /// The server stops, with everything that was not flushed. `failover`: another takes over that
    /// lacks the last commits too, as many as that says, and has no slot.
    ///
    /// [`recover`](Self::recover) brings it back.
    pub(super) fn crash(&mut self, now: u64, failover: Option<usize>) {
        let mut lacking = failover.unwrap_or(0);
        let mut kept = BEGINNING;
        let but_the_first = self.commits.iter_mut().skip(1);
        for commit in but_the_first.rev().filter(|commit| commit.lost.is_none()) {
            if commit.flushed && lacking == 0 {
                kept = commit.lsn.0;
                break;
            }
            lacking -= usize::from(commit.flushed);
            commit.lost = Some(now);
            commit.lost_with = Some(self.life);
        }
        if failover.is_none() {
            kept = self.flushed.0;
        }
        self.flushed = Lsn(kept);
        self.end = Lsn(kept);
        self.up = false;
        self.open.clear();
        self.locks.fill(None);
        self.life += 1;
        self.log.server = self.life;
        if failover.is_some() {
            self.log.timeline += 1;
            self.slot = None;
        }
        if let Some(slot) = &mut self.slot {
            slot.holder = None;
            slot.confirmed = slot.persisted;
        }
        if let Some(standby) = &mut self.standby {
            standby.follow(self.log, self.life, Lsn(kept));
        }
    }

    /// The server is there again: recovery has written a record, and all that is left is visible.
    pub(super) fn recover(&mut self, now: u64) {
        self.up = true;
        self.end.0 += 120;
        self.flush();
        for commit in self.commits.iter_mut().rev().take_while(|commit| commit.visible != Some(0)) {
            if commit.lost.is_none() && commit.visible.is_none() {
                commit.visible = Some(now);
            }
        }
    }

    /// `pg_current_snapshot()`.
    pub(super) fn snapshot(&self) -> Snapshot {
        let in_progress: Vec<u64> = self.open.iter().copied().collect();
        let xmin = in_progress.first().copied().unwrap_or(self.next_xid);
        Snapshot { xmin, xmax: self.next_xid, in_progress }
    }

    /// All versions of a cell, in commit order.
    pub(super) fn versions(&self, cell: Cell) -> &[Version] {
        &self.cells[cell]
    }

    /// What a statement that begins now reads.
    pub(super) fn read(&self, cell: Cell) -> Version {
        let seen = |version: &&Version| {
            let commit = &self.commits[version.commit];
            commit.lost.is_none() && commit.visible.is_some()
        };
        *self.cells[cell].iter().rev().find(seen).expect("the first version is always visible")
    }

    /// The commits after `after` that may be sent, at most so many; and whether that is all.
    pub(super) fn sendable(&self, after: Lsn, most: usize) -> (Vec<usize>, bool) {
        let mut found = Vec::new();
        for (number, commit) in self.commits.iter().enumerate().rev() {
            if commit.lost.is_some() || !commit.flushed {
                continue;
            }
            if commit.lsn <= after {
                break;
            }
            found.push(number);
        }
        found.reverse();
        let all = found.len() <= most;
        found.truncate(most);
        (found, all)
    }

    /// Takes the slot, making it if there is none: its position, and whether it is new. `None`:
    /// another session holds it.
    pub(super) fn take_slot(&mut self) -> Option<(u64, Lsn, bool)> {
        self.sessions += 1;
        let session = self.sessions;
        let at = self.flushed;
        let new = self.slot.is_none();
        let slot = self.slot.get_or_insert(Slot { confirmed: at, persisted: at, holder: None });
        if slot.holder.is_some() {
            return None;
        }
        slot.holder = Some(session);
        Some((session, slot.confirmed, new))
    }

    /// Whether the session still streams.
    pub(super) fn streams(&self, session: u64) -> bool {
        self.up && self.slot.as_ref().is_some_and(|slot| slot.holder == Some(session))
    }

    /// The session ends.
    pub(super) fn leave(&mut self, session: u64) {
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.holder == Some(session)) {
            slot.holder = None;
        }
    }

    /// The consumer is done up to there. `persist`: the server writes that down.
    pub(super) fn confirm(&mut self, session: u64, upto: Lsn, persist: bool) {
        let Some(slot) = self.slot.as_mut().filter(|slot| slot.holder == Some(session)) else {
            return;
        };
        slot.confirmed = slot.confirmed.max(upto);
        if persist {
            slot.persisted = slot.confirmed;
        }
    }

    /// The newest version of a cell that was visible before `then` and is not lost: what every
    /// answer as of then holds.
    pub(super) fn owed(&self, cell: Cell, then: u64) -> Version {
        let seen = |version: &&Version| {
            let commit = &self.commits[version.commit];
            let before = |since| since < then || since == 0;
            commit.lost.is_none() && commit.visible.is_some_and(before)
        };
        *self.cells[cell].iter().rev().find(seen).expect("the first version is always visible")
    }

    /// The newest version of a cell up to `upto` in the log of that life, if it still exists.
    pub(super) fn upto(&self, cell: Cell, life: u64, upto: Lsn) -> Version {
        let there = |version: &&Version| {
            let commit = &self.commits[version.commit];
            commit.lost.is_none() && commit.life <= life && commit.lsn <= upto
        };
        let first = Version { commit: 0, present: true };
        self.cells[cell].iter().rev().find(there).copied().unwrap_or(first)
    }

    /// Whether the row was gone by a commit no older than `since` that was not lost
    /// before `then`.
    pub(super) fn was_gone(&self, cell: Cell, since: Version, then: u64) -> bool {
        let versions = self.cells[cell].iter().rev();
        let mut later = versions.take_while(|version| version.commit >= since.commit);
        later.any(|version| {
            let commit = &self.commits[version.commit];
            // Seen or not: the log tells of a commit before snapshots see it.
            !version.present && commit.lost.is_none_or(|lost| lost >= then)
        })
    }
}
