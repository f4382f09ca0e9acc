//! PostgreSQL 14 and later, through `pgoutput` and a logical replication slot.
//!
//! The slot's exclusivity elects the leader: the slot's holder follows the log, the other nodes probe
//! about every 200 ms whether it is free. The database stores the acknowledged position, so nothing
//! has to be stored here.
//!
//! - **Events are not held back until they are visible.** A commit may be sent before new snapshots
//!   see it, with a synchronous standby long before. The watermark W follows: after commits have
//!   arrived, the primary is queried for `pg_current_snapshot()` until it shows them.
//! - **Nothing is acknowledged beyond W.** So a node that takes over the slot receives every commit
//!   again that was not yet visible, and may start its W at the slot's position. A slot that was just
//!   created has no such history: W stays zero until every transaction that was open then has ended.
//! - **Large transactions.** Beyond [`PostgresOptions::max_changes`] rows a transaction is delivered as
//!   a change of its whole tables, so that memory stays bounded.
//! - **A lost slot** (dropped by hand, or its log was removed) is created again, and the stream's start
//!   reports it.
//! - **Changes that the log does not contain** (a table dropped and created again, an `alter table`
//!   that rewrites values, a partition, a view, the publication) are part of a schema's digest, which each
//!   sample of the log's end contains and which a stream checks four times a second. A stream ends when its
//!   schema was altered; the next one starts under the new schema, and its consumer invalidates what
//!   depends on the difference.

mod assembler;
mod candidate;
mod catalog;
mod check;
mod check_rows;
mod check_server;
mod connection;
pub mod debezium;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod log_message;
mod options;
mod parser;
mod prepare;
mod primary;
mod schema;
mod schema_digest;
mod schema_reads;
mod schema_watch;
mod session;
mod slot;
mod source;
mod stream;
mod survey;
mod text_forms;
mod transport;
mod visibility;

pub use feed::{PostgresFeed, SlotFeed};
pub use options::PostgresOptions;
pub use prepare::{Prepared, check, prepare};
pub use schema::{SchemaScope, resolve_table};
pub use session::{AcquiredStream, Session};
pub use source::PostgresSource;
pub use survey::survey;
pub use text_forms::text_forms;
pub use transport::{LogEvent, LogStream, Primary};
