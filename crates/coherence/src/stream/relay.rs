//! Completeness of transactions that another process reads from the log and relays, message by message.
//!
//! The relay (Debezium) repeats messages that were not acknowledged, and sends a message only after the
//! acknowledgement of the one before. But it may be set up again at another position of the log, and
//! components in between may lose messages. So nothing is taken on trust:
//!
//! - a transaction is complete when its end has arrived and its events were counted from the first up
//!   to the number that the end states;
//! - it follows the transaction before it if its events name no later commit as their predecessor;
//! - each heartbeat that this follower writes into the log itself must come back, in sequence.
//!
//! Anything else is a [`RelayGap`], which requires an epoch reset.
//!
//! Not detected: the loss of a whole transaction, with all of its messages, between two heartbeats and
//! directly before a transaction without events. Only events name their predecessor.

use thiserror::Error;

use crate::position::Lsn;

/// One message of the relay, reduced to the parts that matter here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelayMessage {
    /// The begin of a transaction.
    Begin {
        /// The transaction's id.
        xid: u32,
    },
    /// One event of a transaction.
    Event {
        /// The transaction's id.
        xid: u32,
        /// The event's number within its transaction, from 1.
        ordinal: u64,
        /// The end of the commit that the relay handled before this transaction, if it knows.
        after: Option<Lsn>,
        /// The nonce and the number, from 0, of the heartbeat that this event is.
        heartbeat: Option<(u64, u64)>,
    },
    /// A message in the log outside of any transaction, which the relay reports as a commit.
    NonTransactional {
        /// Its position.
        at: Lsn,
    },
    /// The end of a transaction.
    End {
        /// The transaction's id.
        xid: u32,
        /// The end of its commit.
        end: Lsn,
        /// The number of its events.
        count: u64,
    },
    /// A row of a table snapshot: the relay was set up again.
    Snapshot,
}

/// The meaning of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelayStatus {
    /// The message changes nothing for the tiers.
    NoChange,
    /// The message is older than the start of this epoch.
    BeforeStart,
    /// The message belongs to a transaction that has not ended.
    Pending {
        /// Whether the tiers may not have received this change yet.
        is_new: bool,
    },
    /// The transaction was already delivered, complete.
    Repeated,
    /// The transaction is complete, and so is everything before its end.
    Complete,
}

/// Messages are missing, or may be: later messages can't be relied on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RelayGap {
    /// A commit before a transaction never arrived.
    #[error("a transaction follows {after}, but {last} was the last one delivered")]
    Commit {
        /// The commit that is missing.
        after: Lsn,
        /// The last commit that was delivered.
        last: Lsn,
    },
    /// The events of a transaction do not match the number that its end states.
    #[error("transaction {xid} has {count} events, but only {seen} of them arrived in sequence")]
    Events {
        /// The transaction.
        xid: u32,
        /// The number of events it has.
        count: u64,
        /// The number of events that arrived, from the first and without a hole.
        seen: u64,
    },
    /// A transaction began, and a later one ended before it.
    #[error("transaction {xid} began and never ended")]
    Unended {
        /// The transaction.
        xid: u32,
    },
    /// A heartbeat did not come back.
    #[error("heartbeat {came} came back from the log where {due} was due")]
    Heartbeat {
        /// The heartbeat that was due.
        due: u64,
        /// The heartbeat that came.
        came: u64,
    },
    /// The relay was set up again.
    #[error("the relay has read whole tables: it was set up again")]
    Snapshot,
}

/// The state of one relay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Relay {
    /// Identifies the heartbeats of this follower.
    nonce: u64,
    /// The number of the next heartbeat.
    due: u64,
    /// The end of the last transaction; `None` until the first heartbeat has come back.
    last: Option<Lsn>,
    open: Option<Open>,
    /// A transaction that had not ended when another one began. It may be repeated from its begin.
    unended: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Open {
    xid: u32,
    /// The number of events from the first on, without a hole.
    seen: u64,
    complete: bool,
    heartbeat: Option<u64>,
}

impl Open {
    fn starting(xid: u32) -> Self {
        Self { xid, seen: 0, complete: true, heartbeat: None }
    }
}

impl Relay {
    /// Returns the state for an epoch that begins after heartbeat 0 was written: messages before that
    /// heartbeat are irrelevant, and all messages after it will arrive.
    #[must_use]
    pub fn starting(nonce: u64) -> Self {
        Self { nonce, due: 0, last: None, open: None, unended: None }
    }

    /// Returns the state for an epoch that was followed up to `last`, by this or another follower.
    /// Heartbeat 0 was written since.
    #[must_use]
    pub fn resuming(nonce: u64, last: Lsn) -> Self {
        Self { last: Some(last), ..Self::starting(nonce) }
    }

    /// Returns whether a heartbeat has come back, which proves that the relay follows this log.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.due > 0
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`RelayGap`]; messages after it mean nothing.
    pub fn step(&mut self, message: RelayMessage) -> Result<RelayStatus, RelayGap> {
        match message {
            RelayMessage::Begin { xid } => {
                self.reopen(xid);
                Ok(RelayStatus::NoChange)
            }
            RelayMessage::Event { xid, ordinal, after, heartbeat } => {
                self.event(xid, ordinal, after, heartbeat)
            }
            RelayMessage::End { xid, end, count } => self.end(xid, end, count),
            RelayMessage::NonTransactional { at } => {
                self.last = self.last.map(|last| last.max(at));
                Ok(RelayStatus::NoChange)
            }
            RelayMessage::Snapshot if self.last.is_some() => Err(RelayGap::Snapshot),
            RelayMessage::Snapshot => Ok(RelayStatus::BeforeStart),
        }
    }

    /// Begins to count a transaction, possibly for the second time.
    fn reopen(&mut self, xid: u32) {
        self.leave(xid);
        if self.unended == Some(xid) {
            self.unended = None;
        }
        self.open = Some(Open::starting(xid));
    }

    /// Closes the open transaction if it is another one.
    fn leave(&mut self, xid: u32) {
        if let Some(open) = self.open.take_if(|open| open.xid != xid)
            && self.last.is_some()
        {
            // The first of several is the first one missing.
            self.unended.get_or_insert(open.xid);
        }
    }

    fn event(
        &mut self,
        xid: u32,
        ordinal: u64,
        after: Option<Lsn>,
        heartbeat: Option<(u64, u64)>,
    ) -> Result<RelayStatus, RelayGap> {
        if let (Some(after), Some(last)) = (after, self.last)
            && after > last
        {
            return Err(RelayGap::Commit { after, last });
        }
        let another = self.open.is_none_or(|open| open.xid != xid);
        if ordinal <= 1 && (another || self.open.is_some_and(|open| open.seen > 0)) {
            self.reopen(xid);
        } else if another {
            self.leave(xid);
            self.open = Some(Open { complete: false, ..Open::starting(xid) });
        }
        let open = self.open.as_mut().expect("a transaction was just opened");
        if ordinal == open.seen + 1 {
            open.seen = ordinal;
        } else if ordinal > open.seen {
            open.complete = false;
        }
        // A relay without stored state does not know the predecessor.
        open.complete &= after.is_some() || self.last.is_none();
        if let Some((nonce, number)) = heartbeat
            && nonce == self.nonce
        {
            open.heartbeat = Some(number);
        }
        match self.last {
            None => Ok(RelayStatus::BeforeStart),
            Some(last) => {
                Ok(RelayStatus::Pending { is_new: after.is_none_or(|after| after >= last) })
            }
        }
    }

    fn end(&mut self, xid: u32, end: Lsn, count: u64) -> Result<RelayStatus, RelayGap> {
        if self.last.is_some_and(|last| end <= last) {
            self.open.take_if(|open| open.xid == xid);
            return Ok(RelayStatus::Repeated);
        }
        self.leave(xid);
        let open = self.open.take().unwrap_or(Open::starting(xid));
        let Some(last) = &mut self.last else {
            return match open.heartbeat {
                None => Ok(RelayStatus::BeforeStart),
                Some(0) => {
                    (self.due, self.last) = (1, Some(end));
                    Ok(RelayStatus::Complete)
                }
                Some(came) => Err(RelayGap::Heartbeat { due: 0, came }),
            };
        };
        if let Some(xid) = self.unended.filter(|unended| *unended != xid) {
            return Err(RelayGap::Unended { xid });
        }
        if !open.complete || open.seen != count {
            return Err(RelayGap::Events { xid, count, seen: open.seen });
        }
        if let Some(came) = open.heartbeat {
            if came != self.due {
                return Err(RelayGap::Heartbeat { due: self.due, came });
            }
            self.due += 1;
        }
        self.unended = None;
        *last = end;
        Ok(RelayStatus::Complete)
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
