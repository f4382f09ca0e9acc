//! Transactions that somebody else reads from the log and passes on, message by message: which are
//! whole, and whether anything is missing between them.
//!
//! The relay (Debezium) repeats what was not acknowledged, and sends the next message only when the
//! one before was. But it may be set up anew at another place of the log, and things in between may
//! lose messages. So nothing is taken on trust: a transaction counts as whole when its end was told
//! and its events were counted from the first to as many as the end says; it follows on the one
//! before if its events name no later commit as their predecessor; and beats that this follower
//! writes into the log itself have to come back in turn, each of them. Whatever does not fit is a
//! [`Break`]: then a new history has to begin.
//!
//! Not noticed: the loss of a whole transaction, all of its messages, between two beats and right
//! before a transaction without events. Only the events name their predecessor.

use thiserror::Error;

use crate::position::Lsn;

/// One message of the relay, as far as it matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Told {
    /// A transaction begins.
    Begin {
        /// Its id.
        xid: u32,
    },
    /// One of its events.
    Event {
        /// The transaction's id.
        xid: u32,
        /// The how manieth event of the transaction, from 1.
        order: u64,
        /// Where the commit ended that the relay handled before this transaction, if it knows.
        after: Option<Lsn>,
        /// The beat that the event is: whose, and its number from 0.
        beat: Option<(u64, u64)>,
    },
    /// A message in the log outside of any transaction; the relay calls it a commit.
    Loose {
        /// Where it stands.
        at: Lsn,
    },
    /// A transaction has ended.
    End {
        /// Its id.
        xid: u32,
        /// The end of its commit.
        end: Lsn,
        /// How many events it had.
        count: u64,
    },
    /// The relay reads whole tables: it has begun anew.
    Snapshot,
}

/// What a message means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// Nothing that anybody has to be told of.
    Nothing,
    /// It is from before this history began.
    Before,
    /// It belongs to a transaction that has not ended. `news`: not one that was told before.
    Held {
        /// Whether what it changed may be unknown to the tiers.
        news: bool,
    },
    /// The transaction was told before, as a whole.
    Repeated,
    /// The transaction is whole, and so is everything before its end.
    Whole,
}

/// Something is missing, or may be: nothing that comes later can be relied on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Break {
    /// A commit before a transaction was never told.
    #[error("a transaction follows on {after}, and {last} was the last that was told")]
    Commit {
        /// The commit that is missing.
        after: Lsn,
        /// The last that was told.
        last: Lsn,
    },
    /// A transaction ended with other events than it was told to have.
    #[error("transaction {xid} had {count} events, and {seen} of them came in turn")]
    Events {
        /// Which.
        xid: u32,
        /// How many it had.
        count: u64,
        /// How many came, from the first and without a hole.
        seen: u64,
    },
    /// A transaction began, and a later one has ended before it.
    #[error("transaction {xid} was begun and never ended")]
    Unended {
        /// Which.
        xid: u32,
    },
    /// A beat did not come back.
    #[error("beat {came} came back from the log where {due} was due")]
    Beat {
        /// Which should have come.
        due: u64,
        /// Which came.
        came: u64,
    },
    /// The relay has begun anew.
    #[error("the relay has read whole tables: it was set up anew")]
    Snapshot,
}

/// What has been heard of a relay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Relay {
    /// Names the beats that are ours.
    nonce: u64,
    /// The number of the beat that has to come next.
    due: u64,
    /// The end of the last transaction; `None` until the first beat has come back.
    last: Option<Lsn>,
    open: Option<Open>,
    /// Left without an end when another one began. It may come again from its beginning.
    unended: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Open {
    xid: u32,
    /// Events from the first on, without a hole.
    seen: u64,
    whole: bool,
    beat: Option<u64>,
}

impl Open {
    fn begin(xid: u32) -> Self {
        Self { xid, seen: 0, whole: true, beat: None }
    }
}

impl Relay {
    /// For a history that begins after beat 0 was written: what comes before that beat is of no
    /// consequence, and everything after it will be told.
    #[must_use]
    pub fn beginning(nonce: u64) -> Self {
        Self { nonce, due: 0, last: None, open: None, unended: None }
    }

    /// For a history that has been followed up to `last`, by anybody. Beat 0 was written since.
    #[must_use]
    pub fn continuing(nonce: u64, last: Lsn) -> Self {
        Self { last: Some(last), ..Self::beginning(nonce) }
    }

    /// Whether the relay has been heard to follow this very log.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.due > 0
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`Break`]; what is told after that means nothing.
    pub fn step(&mut self, told: Told) -> Result<Heard, Break> {
        match told {
            Told::Begin { xid } => {
                self.reopen(xid);
                Ok(Heard::Nothing)
            }
            Told::Event { xid, order, after, beat } => self.event(xid, order, after, beat),
            Told::End { xid, end, count } => self.end(xid, end, count),
            Told::Loose { at } => {
                self.last = self.last.map(|last| last.max(at));
                Ok(Heard::Nothing)
            }
            Told::Snapshot if self.last.is_some() => Err(Break::Snapshot),
            Told::Snapshot => Ok(Heard::Before),
        }
    }

    /// Begins to count a transaction, perhaps again.
    fn reopen(&mut self, xid: u32) {
        self.leave(xid);
        if self.unended == Some(xid) {
            self.unended = None;
        }
        self.open = Some(Open::begin(xid));
    }

    /// Another transaction is open no more.
    fn leave(&mut self, xid: u32) {
        if let Some(open) = self.open.take_if(|open| open.xid != xid)
            && self.last.is_some()
        {
            // Of several, the first is the one that is missed first.
            self.unended.get_or_insert(open.xid);
        }
    }

    fn event(
        &mut self,
        xid: u32,
        order: u64,
        after: Option<Lsn>,
        beat: Option<(u64, u64)>,
    ) -> Result<Heard, Break> {
        if let (Some(after), Some(last)) = (after, self.last)
            && after > last
        {
            return Err(Break::Commit { after, last });
        }
        let another = self.open.is_none_or(|open| open.xid != xid);
        if order <= 1 && (another || self.open.is_some_and(|open| open.seen > 0)) {
            self.reopen(xid);
        } else if another {
            self.leave(xid);
            self.open = Some(Open { whole: false, ..Open::begin(xid) });
        }
        let open = self.open.as_mut().expect("it was just opened");
        if order == open.seen + 1 {
            open.seen = order;
        } else if order > open.seen {
            open.whole = false;
        }
        // A relay without a memory can't say what came before.
        open.whole &= after.is_some() || self.last.is_none();
        if let Some((nonce, number)) = beat
            && nonce == self.nonce
        {
            open.beat = Some(number);
        }
        match self.last {
            None => Ok(Heard::Before),
            Some(last) => Ok(Heard::Held { news: after.is_none_or(|after| after >= last) }),
        }
    }

    fn end(&mut self, xid: u32, end: Lsn, count: u64) -> Result<Heard, Break> {
        if self.last.is_some_and(|last| end <= last) {
            self.open.take_if(|open| open.xid == xid);
            return Ok(Heard::Repeated);
        }
        self.leave(xid);
        let open = self.open.take().unwrap_or(Open::begin(xid));
        let Some(last) = &mut self.last else {
            return match open.beat {
                None => Ok(Heard::Before),
                Some(0) => {
                    (self.due, self.last) = (1, Some(end));
                    Ok(Heard::Whole)
                }
                Some(came) => Err(Break::Beat { due: 0, came }),
            };
        };
        if let Some(xid) = self.unended.filter(|unended| *unended != xid) {
            return Err(Break::Unended { xid });
        }
        if !open.whole || open.seen != count {
            return Err(Break::Events { xid, count, seen: open.seen });
        }
        if let Some(came) = open.beat {
            if came != self.due {
                return Err(Break::Beat { due: self.due, came });
            }
            self.due += 1;
        }
        self.unended = None;
        *last = end;
        Ok(Heard::Whole)
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
