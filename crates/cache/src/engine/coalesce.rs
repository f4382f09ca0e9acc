//! Single flight: one load for all readers of a key, or of a set of keys, in this process.

mod coalescer;
mod single_flight;

pub(crate) use self::coalescer::{Coalescer, KeySet, SetOutcome};
pub(crate) use self::single_flight::{FlightGuard, Waiter};
