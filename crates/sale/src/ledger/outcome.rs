//! Requests in a batch, and their outcomes.

use crate::hold_id::HoldId;
use crate::request::{HoldRequest, RequestKey};
use crate::rules::{Cell, GrantRefusal, HoldEnd, HoldRefusal};

/// A hold to be granted.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// Its name.
    pub id: HoldId,
    /// The key of the request.
    pub key: RequestKey,
    /// The request.
    pub request: HoldRequest,
}

/// An end of a hold.
#[derive(Clone, Debug)]
pub struct EndHold {
    /// The hold.
    pub hold: HoldId,
    /// Its end.
    pub end: HoldEnd,
    /// The key of the request; `None`: a repeat needs none, since it finds the hold ended.
    pub key: Option<RequestKey>,
}

/// The outcome of a request that has a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<T, R> {
    /// It had its effect now.
    Done(T),
    /// It had its effect when it came before with this key.
    Repeated(T),
    /// It had no effect.
    Refused(R),
    /// Another request had its effect under this key.
    KeyReused,
    /// A request with this key is being executed.
    KeyInFlight,
}

/// A hold that was granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Granted {
    /// The hold: the first one that was granted under the key.
    pub hold: HoldId,
    /// When, in ms since 1970 by the database's clock.
    pub at_ms: i64,
}

/// Why a hold did not end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndRefusal {
    /// There is no hold of that name.
    Unknown,
    /// The rules refuse it.
    Hold(HoldRefusal),
}

/// Why stock was not changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StockRefusal {
    /// There is no stock record of this cell.
    UnknownCell(Cell),
    /// Holds and sales need more units than would be on hand.
    Committed {
        /// The greatest number by which the units on hand may be lowered now.
        free: i64,
    },
}

/// The stock of a cell after it was adjusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Adjusted {
    /// Units on hand.
    pub on_hand: i64,
    /// Units of active holds.
    pub held: i64,
    /// Units of confirmed holds.
    pub sold: i64,
}

/// The outcome of a request for a hold.
pub type HoldOutcome = Outcome<Granted, GrantRefusal>;
/// The outcome of the end of a hold: when it ended, in ms since 1970 by the database's clock.
pub type EndOutcome = Outcome<i64, EndRefusal>;
/// The outcome of an extension: the new deadline, in ms since 1970 by the database's clock.
pub type ExtendOutcome = Outcome<i64, EndRefusal>;
/// The outcome of an adjustment.
pub type AdjustOutcome = Outcome<Adjusted, StockRefusal>;
