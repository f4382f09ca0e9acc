//! Completeness of transactions that another process relays from a binary log.
//!
//! Other than in the [relay] of a write-ahead log, each row names its position in the log and each transaction
//! its global id, so that the relay's messages can be checked without its own account of them:
//!
//! - a transaction is complete when its events were counted from the first up to the number that its end states;
//! - nothing is missing before it if the transaction with the number before its own is accounted for;
//! - each heartbeat that this follower writes into the log itself names the last transactions before it. They are
//!   accounted for when it comes back;
//! - the heartbeat's position has to lie between the ends of the log before and after it was written, or the positions
//!   are those of another server's log.
//!
//! Changes that are missing do not end the stream: the step says at which position everything counts as changed. All
//! missing changes lie before it, so that no entry that misses one of them has a token that large. A transaction that
//! began and has no end is one of them: it may be a statement that the relay does not report.
//!
//! With several sources of ids, a missing transaction of one of them may be noticed only after a transaction of another
//! one. Then the stream is complete only up to heartbeats.
//!
//! [relay]: crate::relay

use thiserror::Error;

use crate::position::Lsn;
use crate::stream::gtid::{Gtid, GtidSet};

/// One message of the relay, reduced to the parts that matter here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BinlogMessage {
    /// The begin of a transaction.
    Begin {
        /// Its id.
        id: Gtid,
    },
    /// A changed row.
    Row {
        /// The transaction.
        id: Gtid,
        /// The event's number within its transaction, from 1.
        ordinal: u64,
        /// Its position, behind the transaction's begin.
        at: Lsn,
        /// The heartbeat that this row is.
        heartbeat: Option<LogHeartbeat>,
    },
    /// A statement that the log contains in place of rows, and that the relay reports.
    Statement {
        /// The transaction.
        id: Gtid,
        /// Its position, behind the transaction's begin.
        at: Lsn,
    },
    /// The end of a transaction.
    End {
        /// The transaction.
        id: Gtid,
        /// The number of its rows.
        count: u64,
    },
}

/// A row that a follower writes into the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogHeartbeat {
    /// Identifies the follower.
    pub nonce: u64,
    /// The end of the log before it was written.
    pub after: Lsn,
    /// The last transaction of each source in the log then.
    pub last: Vec<Gtid>,
}

/// The meaning of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BinlogStep {
    /// Changes before this position are missing, so everything counts as changed there.
    pub missing: Option<(Lsn, MissingChanges)>,
    /// The message itself.
    pub status: BinlogStatus,
}

/// See [`BinlogStep`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BinlogStatus {
    /// The message changes nothing for the tiers.
    NoChange,
    /// The tiers have applied it before.
    Repeated,
    /// The tiers have to apply it.
    New,
    /// Every change up to this position has arrived.
    Complete(Lsn),
}

/// The reason why changes count as missing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum MissingChanges {
    /// A transaction was not delivered, or is a statement that is not reported.
    #[error("the transaction before {0} was not delivered, or its statement is not reported")]
    Before(Gtid),
    /// A transaction that the log contains was not delivered.
    #[error("transaction {0} was not delivered")]
    Transaction(Gtid),
    /// Rows of a transaction were not delivered.
    #[error("transaction {id} has {count} rows, of which {seen} were delivered in sequence")]
    Rows {
        /// The transaction.
        id: Gtid,
        /// The number of its rows.
        count: u64,
        /// The number of rows that arrived, from the first and without a hole.
        seen: u64,
    },
    /// Two transactions have one id, so their numbers prove nothing.
    #[error("two transactions have the id {0}")]
    Reused(Gtid),
}

/// The positions of the relay's messages are not those of the followed log.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OtherLog {
    /// A heartbeat came back from a position where it was not written.
    #[error(
        "a heartbeat was written behind {after} and came back from {at}: the relay reads another server, such as a \
         replica"
    )]
    Heartbeat {
        /// The end of the log before it was written.
        after: Lsn,
        /// The position that the relay names.
        at: Lsn,
    },
    /// A new transaction lies before transactions that were delivered earlier.
    #[error(
        "a new transaction is at {at}, before {last}: the log was reset, or a file of it has more than 4 GiB"
    )]
    Backwards {
        /// The transaction's position.
        at: Lsn,
        /// The last position before.
        last: Lsn,
    },
}

/// The state of one relay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BinlogRelay {
    /// Identifies the heartbeats of this follower.
    nonce: u64,
    /// Every change up to here has arrived.
    last: Lsn,
    /// The position of the last heartbeat; `None` until the first one has come back.
    heartbeat: Option<Lsn>,
    /// The transactions that are accounted for.
    known: GtidSet,
    open: Option<Open>,
    /// Changes are missing, and no later position is known yet.
    missing: Option<MissingChanges>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Open {
    id: Gtid,
    /// The number of rows from the first on, without a hole.
    rows: u64,
    whole: bool,
    /// The position of its last row.
    at: Option<Lsn>,
    /// Whether it is a statement that the relay has reported.
    stated: bool,
    /// Whether its id was compared with the ids before it.
    checked: bool,
    heartbeat: Option<LogHeartbeat>,
}

impl BinlogRelay {
    /// Returns the state of a follower to whom every change up to `last` was delivered, and these transactions among
    /// them. The first heartbeat is written after that.
    #[must_use]
    pub fn starting(nonce: u64, last: Lsn, known: GtidSet) -> Self {
        Self { nonce, last, heartbeat: None, known, open: None, missing: None }
    }

    /// Returns the state of a follower that was interrupted: the tiers have applied everything up to `last`, and
    /// messages that were not acknowledged will be repeated.
    #[must_use]
    pub fn resumed(&self, nonce: u64, last: Lsn, known: &GtidSet) -> Self {
        let mut state = Self { nonce, last, heartbeat: None, ..self.clone() };
        state.known.extend(known);
        state
    }

    /// Whether a heartbeat has come back. Only the database knows whether it is at the position that the relay names.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.heartbeat.is_some()
    }

    /// Returns the position of the last heartbeat that has come back, as the relay names it.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Lsn> {
        self.heartbeat
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`OtherLog`]; messages after it mean nothing.
    pub fn step(&mut self, message: BinlogMessage) -> Result<BinlogStep, OtherLog> {
        match message {
            BinlogMessage::Begin { id } => {
                // The relay may count anew from here, after a restart inside the transaction.
                self.leave();
                self.open = Some(Open::starting(id));
                Ok(self.at_no_position(BinlogStatus::NoChange))
            }
            BinlogMessage::Row { id, ordinal, at, heartbeat } => {
                self.row(id, ordinal, at, heartbeat)
            }
            BinlogMessage::Statement { id, at } => {
                if self.is_repeated(&id, at)? {
                    return Ok(self.at_no_position(BinlogStatus::Repeated));
                }
                self.enter(&id);
                self.check(at);
                if let Some(open) = &mut self.open {
                    open.stated = true;
                }
                Ok(self.at_position(at, BinlogStatus::New))
            }
            BinlogMessage::End { id, count } => self.end(id, count),
        }
    }

    /// Opens the transaction if another one is open.
    fn enter(&mut self, id: &Gtid) -> &mut Open {
        if self.open.as_ref().is_none_or(|open| open.id != *id) {
            self.leave();
        }
        self.open.get_or_insert_with(|| Open::starting(id.clone()))
    }

    /// Closes the open transaction. Without an end it stays unaccounted for, so that the next one of its source
    /// does not follow; the relay may repeat it from its begin.
    fn leave(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.stated) {
            self.known.insert(&open.id);
        }
        self.open = None;
    }

    /// Whether the tiers have applied a change at this position.
    fn is_repeated(&self, id: &Gtid, at: Lsn) -> Result<bool, OtherLog> {
        if at > self.last {
            return Ok(false);
        }
        // Before the first heartbeat has come back, the relay may be far behind.
        if self.is_confirmed() && !self.known.contains(id) {
            return Err(OtherLog::Backwards { at, last: self.last });
        }
        Ok(true)
    }

    /// Compares the open transaction, which is new, with those before it.
    fn check(&mut self, at: Lsn) {
        let Some(open) = self.open.as_mut() else { return };
        open.at = open.at.max(Some(at));
        if std::mem::replace(&mut open.checked, true) {
            return;
        }
        let id = open.id.clone();
        self.check_predecessor(&id);
        if self.known.contains(&id) {
            self.missing = Some(MissingChanges::Reused(id));
        }
    }

    fn check_predecessor(&mut self, id: &Gtid) {
        if !self.known.contains_predecessor(id) {
            self.missing = Some(MissingChanges::Before(id.clone()));
            self.known.insert_predecessor(id);
        }
    }

    fn row(
        &mut self,
        id: Gtid,
        ordinal: u64,
        at: Lsn,
        heartbeat: Option<LogHeartbeat>,
    ) -> Result<BinlogStep, OtherLog> {
        let repeated = self.is_repeated(&id, at)?;
        let own = heartbeat.filter(|heartbeat| heartbeat.nonce == self.nonce);
        let open = self.enter(&id);
        if ordinal == open.rows + 1 {
            open.rows = ordinal;
        } else if ordinal > open.rows {
            open.whole = false;
        }
        if repeated {
            open.at = open.at.max(Some(at));
            return Ok(self.at_no_position(BinlogStatus::Repeated));
        }
        open.heartbeat = own.or(open.heartbeat.take());
        self.check(at);
        Ok(self.at_position(at, BinlogStatus::New))
    }

    fn end(&mut self, id: Gtid, count: u64) -> Result<BinlogStep, OtherLog> {
        let is_open = self.open.as_ref().is_some_and(|open| open.id == id);
        if !is_open && self.known.contains(&id) {
            return Ok(self.at_no_position(BinlogStatus::Repeated));
        }
        self.enter(&id);
        let Some(open) = self.open.take() else {
            return Ok(self.at_no_position(BinlogStatus::NoChange));
        };
        if open.at.is_some_and(|at| at <= self.last) {
            // One that is unknown may be new after all, in a file with more than 4 GiB, where positions begin again.
            // So it stays unknown, and the transaction after it reports it.
            return Ok(self.at_no_position(BinlogStatus::Repeated));
        }
        if !open.checked && !self.known.contains(&id) {
            self.check_predecessor(&id);
        }
        if !open.whole || open.rows != count {
            let seen = open.rows;
            self.missing = Some(MissingChanges::Rows { id: id.clone(), count, seen });
        }
        self.known.insert(&id);
        let Some(at) = open.at else { return Ok(self.at_no_position(BinlogStatus::NoChange)) };
        let is_heartbeat = open.heartbeat.is_some();
        if let Some(heartbeat) = open.heartbeat {
            self.came_back(heartbeat, at)?;
        }
        // See the module's documentation.
        let ordered = is_heartbeat || self.known.sources() == 1;
        if !self.is_confirmed() || !ordered {
            return Ok(self.at_position(at, BinlogStatus::NoChange));
        }
        self.last = at;
        Ok(self.at_position(at, BinlogStatus::Complete(at)))
    }

    /// Checks a heartbeat that came back from `at`.
    fn came_back(&mut self, heartbeat: LogHeartbeat, at: Lsn) -> Result<(), OtherLog> {
        let LogHeartbeat { nonce: _, after, last } = heartbeat;
        // The one before it was in the log when the end of the log was read for this one.
        if let Some(at) = self.heartbeat.filter(|before| *before >= after) {
            return Err(OtherLog::Heartbeat { after, at });
        }
        if at <= after {
            return Err(OtherLog::Heartbeat { after, at });
        }
        self.heartbeat = Some(at);
        for id in last {
            if !self.known.contains(&id) {
                self.known.insert(&id);
                self.missing = Some(MissingChanges::Transaction(id));
            }
        }
        Ok(())
    }

    fn at_position(&mut self, at: Lsn, status: BinlogStatus) -> BinlogStep {
        BinlogStep { missing: self.missing.take().map(|missing| (at, missing)), status }
    }

    fn at_no_position(&self, status: BinlogStatus) -> BinlogStep {
        BinlogStep { missing: None, status }
    }
}

impl Open {
    fn starting(id: Gtid) -> Self {
        Self { id, rows: 0, whole: true, at: None, stated: false, checked: false, heartbeat: None }
    }
}

#[cfg(test)]
#[path = "binlog_relay_tests.rs"]
mod tests;
