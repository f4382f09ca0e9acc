//! The same database, read by Debezium, which delivers change events over HTTP.
//!
//! [`follow`] assembles commits from the events that an [`EventInbox`](crate::EventInbox) accepts. The end of the
//! log and the current snapshot come from the database itself.
//!
//! - **One node takes events**: the holder of an advisory lock. The others reject them, so that the
//!   sender tries the next node. The server ends the session of a node that is silent for ten seconds.
//! - **Gap detection** is done by [`coherence::Relay`]: with transaction metadata, which is required,
//!   and with beats, which the node appends to the log and which have to come back. A gap starts a new
//!   slot generation.
//! - **A transaction is delivered twice**: its events as they arrive, at the first position that the
//!   transaction may have ([`coherence::Advance::next_position`]), so that nothing is acknowledged before
//!   the tiers know of it; and as a whole, at its own position, when its end has arrived.
//! - **A commit's position** is the end of its record, which only the message `END` contains.
//!   `source.lsn` of an event lies before it, and before the ends of other transactions that were
//!   delivered earlier.
//! - **A row that can't be parsed** counts as a change of its whole table. A body that can't be parsed
//!   is rejected, so Debezium posts it again.

mod assembler;
mod beats;
mod candidate;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod options;
mod parser;
mod prepare;
mod row;
mod session;
mod time;
mod value;

pub use feed::follow;
pub use options::DebeziumOptions;
pub use prepare::prepare;
