//! The database: a log whose commits become visible later than they are written.

use coherence::resume::Start;
use coherence::{Cause, Event, Log, Lsn, Snapshot};

use crate::names::{KeyId, Touch};
use crate::standby::Standby;

/// Where the log begins.
pub const BEGINNING: Lsn = Lsn(10);

/// Commits by number, one bit each.
pub type Seen = u16;

/// One commit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Commit {
    /// Its end position.
    pub lsn: Lsn,
    /// What it touches.
    pub touch: Touch,
    /// It survives a crash, and may be sent to the feed.
    pub flushed: bool,
    /// Since when snapshots see it.
    pub visible: Option<u8>,
    /// In which log it was written.
    born: u8,
    /// Since when it is lost, with a crash.
    pub lost: Option<u8>,
}

/// The database.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Database {
    /// All that were ever written, in order.
    pub commits: Vec<Commit>,
    /// The end of the log.
    pub end: Lsn,
    /// Which log this is: counts crashes and failovers.
    pub life: u8,
    /// What tells that from outside.
    pub log: Log,
    /// Time passes when what snapshots see changes; nothing in between can tell two moments apart.
    pub now: u8,
    /// Where the feed's slot stands.
    pub slot: Lsn,
    /// How far the slot may have been moved by what was acknowledged.
    pub acked: Lsn,
    /// The slot was made after the tiers were.
    pub slot_is_new: bool,
    /// A standby that answers reads.
    pub standby: Option<Standby>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            commits: Vec::new(),
            end: BEGINNING,
            life: 1,
            log: Log { system: 1, timeline: 1, server: 1 },
            now: 1,
            slot: BEGINNING,
            acked: BEGINNING,
            slot_is_new: false,
            standby: None,
        }
    }
}

impl Database {
    /// A commit record is written. `lazy` (`synchronous_commit = off`): it is seen at once, and
    /// flushed later; otherwise the other way round.
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
            born: self.life,
            lost: None,
        });
        if !lazy {
            self.flush();
        }
    }

    /// The log reaches the disk, always from its beginning.
    pub fn flush(&mut self) {
        self.commits.iter_mut().filter(|c| c.lost.is_none()).for_each(|c| c.flushed = true);
    }

    /// Whether there is anything to flush.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.commits.iter().any(|c| c.lost.is_none() && !c.flushed)
    }

    /// Whether a transaction that touches this can commit: one that changed the same rows and is
    /// not seen yet still holds their locks.
    #[must_use]
    pub fn is_free(&self, touch: Touch) -> bool {
        let same = |c: &Commit| {
            c.touch == touch || c.touch == Touch::Everything || touch == Touch::Everything
        };
        !self.commits.iter().any(|c| is_hidden(c) && same(c))
    }

    /// The commits that may become visible now.
    pub fn hidden(&self) -> impl Iterator<Item = usize> {
        self.commits.iter().enumerate().filter(|(_, c)| is_hidden(c)).map(|(at, _)| at)
    }

    /// Snapshots see the commit from now on.
    pub fn show(&mut self, at: usize) {
        self.now += 1;
        self.commits[at].visible = Some(self.now);
    }

    /// The server crashes and recovers. What was not flushed is lost, and its positions are given
    /// out again; what was flushed is seen. Recovery itself writes a record.
    ///
    /// `restarted`: from outside it is seen to have restarted. `failover`: a standby takes over
    /// that had not received the last commit, and has no slot of ours.
    pub fn crash(&mut self, restarted: bool, failover: bool) {
        let last = self.commits.iter().rposition(|c| c.lost.is_none()).filter(|_| failover);
        for (at, commit) in self.commits.iter_mut().enumerate() {
            if commit.lost.is_none() && (!commit.flushed || Some(at) == last) {
                commit.lost = Some(self.now + 1);
            }
        }
        self.now += 1;
        self.life += 1;
        let left = || self.commits.iter().filter(|c| c.lost.is_none()).map(|c| c.lsn);
        let recovered = left().max().unwrap_or(BEGINNING);
        self.end = Lsn(recovered.0 + 1);
        let now = self.now;
        let alive = self.commits.iter_mut().filter(|c| c.lost.is_none());
        alive.for_each(|c| c.visible = c.visible.or(Some(now)));
        if restarted {
            self.log.server += 1;
        }
        if failover {
            self.log.timeline += 1;
            self.make_slot();
        }
        let (log, life) = (self.log, self.life);
        if let Some(standby) = &mut self.standby {
            standby.follow(log, life, recovered);
        }
    }

    /// The slot is lost, and made anew where the log ends.
    pub fn make_slot(&mut self) {
        self.slot = self.end;
        self.acked = self.end;
        self.slot_is_new = true;
    }

    /// Of key `id`'s commits, those that a snapshot taken now sees.
    #[must_use]
    pub fn snapshot_of(&self, id: KeyId) -> Seen {
        self.bits(|c| c.touch.concerns(id) && c.lost.is_none() && c.visible.is_some())
    }

    /// The commits that `which` holds for.
    fn bits(&self, which: impl Fn(&Commit) -> bool) -> Seen {
        let bit = |(at, c): (usize, &Commit)| if which(c) { 1_u16 << at } else { 0 };
        self.commits.iter().enumerate().map(bit).sum()
    }

    /// Of key `id`'s commits, those up to `upto` in the log of that `life` that still exist: nothing
    /// is old for the lack of a commit that was lost.
    #[must_use]
    pub fn upto(&self, id: KeyId, life: u8, upto: Lsn) -> Seen {
        let in_log = |c: &Commit| c.born <= life && c.lost.is_none();
        self.bits(|c| c.touch.concerns(id) && c.lsn <= upto && in_log(c))
    }

    /// Of key `id`'s commits, those up to `upto` that a standby in that `life` of the database has
    /// replayed, whatever became of them elsewhere.
    #[must_use]
    pub fn replayed(&self, id: KeyId, life: u8, upto: Lsn) -> Seen {
        let kept = |c: &Commit| c.born <= life && (c.lost.is_none() || life < self.life);
        self.bits(|c| c.touch.concerns(id) && c.lsn <= upto && kept(c))
    }

    /// Of key `id`'s commits, those that every answer as of `then` holds.
    #[must_use]
    pub fn owed(&self, id: KeyId, then: u8) -> Seen {
        let seen = |c: &Commit| c.lost.is_none() && c.visible.is_some_and(|since| since <= then);
        self.bits(|c| c.touch.concerns(id) && seen(c))
    }

    /// The commits that no answer as of `then` may hold: lost by then.
    #[must_use]
    pub fn gone(&self, then: u8) -> Seen {
        self.bits(|c| c.lost.is_some_and(|since| since <= then))
    }

    /// `pg_current_snapshot()`. A transaction's id is its number, from 1.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let hidden = self.commits.iter().enumerate().filter(|(_, c)| is_hidden(c));
        let in_progress: Vec<u64> = hidden.map(|(at, _)| at as u64 + 1).collect();
        let xmax = self.commits.len() as u64 + 1;
        Snapshot { xmin: in_progress.first().copied().unwrap_or(xmax), xmax, in_progress }
    }

    /// The next commit after `after` that may be sent.
    #[must_use]
    pub fn next(&self, after: Lsn) -> Option<(u32, &Commit)> {
        let sendable = |c: &&Commit| c.lost.is_none() && c.flushed && c.lsn > after;
        let next = self.commits.iter().filter(sendable).min_by_key(|c| c.lsn)?;
        let at = self.commits.iter().position(|c| c == next)?;
        Some((u32::try_from(at + 1).unwrap_or(u32::MAX), next))
    }

    /// What a feed learns when it connects. `unbroken`: see [`Start::unbroken`].
    #[must_use]
    pub fn start(&self, position: Lsn, unbroken: Option<bool>) -> Start {
        let Log { system, timeline, server } = self.log;
        Start { system, timeline, server, new_slot: self.slot_is_new, unbroken, position }
    }
}

fn is_hidden(commit: &Commit) -> bool {
    commit.lost.is_none() && commit.visible.is_none()
}

/// The commit as the log tells it.
#[must_use]
pub fn event(commit: &Commit) -> Event {
    let subjects = vec![commit.touch.subject()];
    Event { lsn: commit.lsn, cause: Cause::Commit, committed_us: 0, subjects, renewals: Vec::new() }
}
