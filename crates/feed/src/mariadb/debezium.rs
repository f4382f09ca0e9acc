//! The same database, read by Debezium, which delivers change events over HTTP.
//!
//! Debezium's connector for MariaDB, or the one for MySQL where it reads a MariaDB, passes on the rows of the binary
//! log, each with its position in it. The end of the log and the visible position come from the database itself, as
//! for a feed that reads the log.
//!
//! - **One node takes events**: the holder of the lock by which a feed of the log elects its reader.
//! - **Gap detection** is done by [`coherence::BinlogRelay`]: with global transaction ids, the counts of transaction
//!   metadata, and beats, which the node writes into the table for requests and which have to come back. After a
//!   gap everything counts as changed.
//! - **A row is delivered when it arrives**, at its own position, which lies behind the begin of its transaction:
//!   no snapshot without the transaction has a position that large. The stream advances when the transaction is
//!   complete.
//! - **Statements** that Debezium reports (`include.schema.changes`) count as in the log. Those that it leaves out
//!   count as a change of everything.
//! - **A row that can't be parsed** counts as a change of its whole table. A body that can't be parsed is rejected,
//!   so Debezium posts it again.

mod beats;
mod candidate;
mod changes;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod options;
mod parser;
mod prepare;
mod session;
mod tables;
mod value;

pub use feed::follow;
pub use options::DebeziumOptions;
pub use prepare::prepare;
