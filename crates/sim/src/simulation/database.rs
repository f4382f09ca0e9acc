//! The virtual PostgreSQL: rows, transactions, a log, snapshots, a slot, crashes and failovers.
//!
//! Callers pass the time, in nanoseconds since the start of the run. A commit is written, flushed and
//! visible at three different times, as in PostgreSQL: with `synchronous_commit` it is flushed first
//! and visible later, after any delay if a standby has to confirm it; without, it is visible first and
//! may be lost.

use std::collections::BTreeSet;

use coherence::{Log, Lsn, Snapshot};

use super::commits::{Cell, Commit, Version};
use super::standby::Standby;

/// The start of the log.
const BEGINNING: u64 = 1_000;

/// The replication slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) confirmed: Lsn,
    /// The part of it that survives a crash.
    persisted: Lsn,
    /// The session that streams from it.
    pub(super) holder: Option<u64>,
}

/// Returns the start time of a generation of the server.
fn started(generation: u64) -> String {
    format!("start {generation}")
}

/// Returns the digest of a generation in the epochs of tiers, as the follower makes it.
fn server(generation: u64) -> u64 {
    coherence::server_digest(&started(generation))
}

/// The server, with its whole history.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) commits: Vec<Commit>,
    /// The versions of each cell, in commit order.
    cells: Vec<Vec<Version>>,
    locks: Vec<Option<u64>>,
    open: BTreeSet<u64>,
    next_xid: u64,
    pub(super) end: Lsn,
    pub(super) flushed: Lsn,
    pub(super) log: Log,
    /// The number of starts.
    pub(super) generation: u64,
    pub(super) up: bool,
    pub(super) slot: Option<Slot>,
    /// A standby that answers reads.
    pub(super) standby: Option<Standby>,
    sessions: u64,
}

impl Database {
    /// Returns a database of this system identifier in which every cell has its first version.
    pub(super) fn new(cells: usize, system: u64) -> Self {
        let first = Commit {
            lsn: Lsn(BEGINNING),
            at: 0,
            xid: 2,
            cells: Vec::new(),
            unlogged: false,
            message: None,
            flushed: true,
            visible: Some(0),
            lost: None,
            generation: 1,
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
            log: Log { system, timeline: 1, server: server(1) },
            generation: 1,
            up: true,
            slot: None,
            standby: None,
            sessions: 0,
        }
    }

    /// Begins a transaction and locks the cells that it will write; `None` if one of them is locked.
    pub(super) fn begin(&mut self, cells: &[(Cell, bool)]) -> Option<u64> {
        if !self.up || cells.iter().any(|(cell, _)| self.locks[*cell].is_some()) {
            return None;
        }
        let xid = self.draw_xid();
        self.open.insert(xid);
        cells.iter().for_each(|(cell, _)| self.locks[*cell] = Some(xid));
        Some(xid)
    }

    /// Returns an id above those of all open transactions.
    pub(super) fn draw_xid(&mut self) -> u64 {
        self.next_xid += 1;
        self.next_xid - 1
    }

    /// Writes a commit record of `bytes` bytes. With `lazy` (`synchronous_commit = off`) the commit is
    /// visible at once and flushed later; otherwise the other way round.
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
            at: now,
            xid,
            cells,
            unlogged: false,
            message: None,
            flushed: false,
            visible: None,
            lost: None,
            generation: self.generation,
            lost_with: None,
        });
        if lazy {
            self.show(now, number);
        } else {
            self.flush();
        }
        number
    }

    /// Rolls a transaction back.
    pub(super) fn roll_back(&mut self, xid: u64) {
        self.open.remove(&xid);
        self.locks.iter_mut().filter(|lock| **lock == Some(xid)).for_each(|lock| *lock = None);
    }

    /// Writes other records into the log.
    pub(super) fn write_filler(&mut self, bytes: u64) {
        self.end.0 += bytes;
    }

    /// Flushes the log.
    pub(super) fn flush(&mut self) {
        self.flushed = self.end;
        for commit in self.commits.iter_mut().rev() {
            // All older commits are flushed, or lost.
            if commit.flushed {
                break;
            }
            commit.flushed = commit.lost.is_none();
        }
    }

    /// Makes the commit visible to snapshots from now on.
    pub(super) fn show(&mut self, now: u64, number: usize) {
        let commit = &mut self.commits[number];
        if commit.lost.is_none() && commit.visible.is_none() {
            commit.visible = Some(now);
            let xid = commit.xid;
            self.roll_back(xid);
        }
    }

    /// Stops the server, which loses all unflushed commits. With `failover`, another server takes over
    /// that also lacks that many of the last commits and has no slot.
    ///
    /// [`recover`](Self::recover) starts it again.
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
            commit.lost_with = Some(self.generation);
        }
        if failover.is_none() {
            kept = self.flushed.0;
        }
        self.flushed = Lsn(kept);
        self.end = Lsn(kept);
        self.up = false;
        self.open.clear();
        self.locks.fill(None);
        self.generation += 1;
        self.log.server = server(self.generation);
        if failover.is_some() {
            self.log.timeline += 1;
            self.slot = None;
        }
        if let Some(slot) = &mut self.slot {
            slot.holder = None;
            slot.confirmed = slot.persisted;
        }
        if let Some(standby) = &mut self.standby {
            standby.follow(self.log, self.generation, Lsn(kept));
        }
    }

    /// Starts the server again: recovery writes a record, and all surviving commits are visible.
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

    /// Returns `pg_current_snapshot()`.
    pub(super) fn snapshot(&self) -> Snapshot {
        let in_progress: Vec<u64> = self.open.iter().copied().collect();
        let xmin = in_progress.first().copied().unwrap_or(self.next_xid);
        Snapshot { xmin, xmax: self.next_xid, in_progress }
    }

    /// Returns the start time of the server, in a format of its own.
    pub(super) fn server_started(&self) -> String {
        started(self.generation)
    }

    /// Returns the generation of the server with that digest; zero if there was none.
    pub(super) fn generation_of(&self, digest: u64) -> u64 {
        (1..=self.generation).rev().find(|of| server(*of) == digest).unwrap_or_default()
    }

    /// Returns whether the row existed before the commit.
    pub(super) fn was_present(&self, cell: Cell, commit: usize) -> bool {
        let mut before = self.cells[cell].iter().rev();
        let kept = |version: &&Version| {
            version.commit < commit && self.commits[version.commit].lost.is_none()
        };
        before.find(kept).is_none_or(|version| version.present)
    }

    /// Returns all versions of a cell, in commit order.
    pub(super) fn versions(&self, cell: Cell) -> &[Version] {
        &self.cells[cell]
    }

    /// Returns the version that a statement reads now.
    pub(super) fn read(&self, cell: Cell) -> Version {
        let seen = |version: &&Version| {
            let commit = &self.commits[version.commit];
            commit.lost.is_none() && commit.visible.is_some()
        };
        *self.cells[cell].iter().rev().find(seen).expect("the first version is always visible")
    }

    /// Returns at most `most` commits after `after` that may be sent, and whether these are all.
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

    /// Acquires the slot, creating it if necessary: returns the session, its position, and whether the
    /// slot is new. `None` if another session has it.
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

    /// Returns whether no session has the slot, or there is none.
    pub(super) fn slot_is_free(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.holder.is_none())
    }

    /// Returns whether the session still streams.
    pub(super) fn streams(&self, session: u64) -> bool {
        self.up && self.slot.as_ref().is_some_and(|slot| slot.holder == Some(session))
    }

    /// Ends the session.
    pub(super) fn leave(&mut self, session: u64) {
        if let Some(slot) = self.slot.as_mut().filter(|slot| slot.holder == Some(session)) {
            slot.holder = None;
        }
    }

    /// Confirms the log up to `upto`. With `persist` the server writes the position to disk.
    pub(super) fn confirm(&mut self, session: u64, upto: Lsn, persist: bool) {
        let Some(slot) = self.slot.as_mut().filter(|slot| slot.holder == Some(session)) else {
            return;
        };
        slot.confirmed = slot.confirmed.max(upto);
        if persist {
            slot.persisted = slot.confirmed;
        }
    }

    /// Returns the newest version of a cell that was visible before `then` and is not lost: every
    /// answer as of `then` must include it.
    pub(super) fn required(&self, cell: Cell, then: u64) -> Version {
        let seen = |version: &&Version| {
            let commit = &self.commits[version.commit];
            let before = |since| since < then || since == 0;
            commit.lost.is_none() && commit.visible.is_some_and(before)
        };
        *self.cells[cell].iter().rev().find(seen).expect("the first version is always visible")
    }

    /// Returns the newest version of a cell up to `upto` in the log of that generation, if it still
    /// exists. The log lacks the versions of altered tables.
    pub(super) fn upto(&self, cell: Cell, generation: u64, upto: Lsn) -> Version {
        let there = |version: &&Version| {
            let commit = &self.commits[version.commit];
            let there = commit.lost.is_none() && commit.generation <= generation;
            there && commit.lsn <= upto && !commit.unlogged
        };
        let first = Version { commit: 0, present: true };
        self.cells[cell].iter().rev().find(there).copied().unwrap_or(first)
    }

    /// Returns whether the row was deleted by a commit no older than `since` that was not lost before
    /// `then`.
    pub(super) fn was_gone(&self, cell: Cell, since: Version, then: u64) -> bool {
        let versions = self.cells[cell].iter().rev();
        let mut later = versions.take_while(|version| version.commit >= since.commit);
        later.any(|version| {
            let commit = &self.commits[version.commit];
            // Visible or not: the event of a commit may arrive before snapshots show it.
            !version.present && commit.lost.is_none_or(|lost| lost >= then)
        })
    }

    /// Lets the standby replay one step.
    pub(super) fn replay(&mut self) {
        let Some(mut standby) = self.standby.take() else { return };
        if standby.replayed < standby.shown {
            standby.replayed = standby.shown;
        } else if self.up && standby.generation == self.generation {
            let (next, _) = self.sendable(standby.shown, 1);
            let next = next.first().map(|number| self.commits[*number].lsn);
            standby.shown = standby.shown.max(next.unwrap_or(self.flushed));
        }
        self.standby = Some(standby);
    }

    /// Replaces a standby that can't follow any more.
    pub(super) fn rebuild(&mut self) {
        let Some(old) = self.standby.take_if(|standby| standby.generation != self.generation)
        else {
            return;
        };
        self.standby =
            Some(Standby { rebuilds: old.rebuilds + 1, up: old.up, ..self.new_standby() });
    }

    pub(super) fn read_standby(&self, standby: &Standby, cell: Cell) -> Version {
        let seen = |version: &&Version| standby.sees(&self.commits[version.commit]);
        let first = Version { commit: 0, present: true };
        self.versions(cell).iter().rev().find(seen).copied().unwrap_or(first)
    }

    /// Returns a standby that has replayed the whole flushed log.
    pub(super) fn new_standby(&self) -> Standby {
        Standby::at(self.flushed, self.log, self.generation)
    }
}
