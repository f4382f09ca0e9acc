//! PostgreSQL 14 and later, through `pgoutput` and a logical replication slot.
//!
//! The slot's exclusivity is the leadership: whoever holds it follows the log, the others look
//! every 200 ms or so whether it is free. The database remembers what was acknowledged, so nothing
//! has to be stored here.
//!
//! - **Events are not held back until they are visible.** A commit may be sent before new snapshots
//!   see it, with a synchronous standby long before. The watermark W follows it: after commits
//!   arrived, the primary is asked for `pg_current_snapshot()` until it shows them.
//! - **Nothing is acknowledged beyond W.** So a node that takes over the slot is told again whatever
//!   was not yet visible, and may begin its W at the slot's position. A slot that was made just now
//!   has no such history: W stays zero until every transaction that was open then has ended.
//! - **Large transactions.** Beyond [`PostgresOptions::max_changes`] rows a transaction is told as
//!   "everything in its tables", so that memory stays bounded.
//! - **A slot that is lost** (dropped by hand, or its log was removed) is made anew, and said so.
//!
//! - **What the log does not tell** (a table dropped and made again, `alter table` that rewrites
//!   values, a publication that was changed) is looked for every two seconds and told as "everything
//!   changed". Until it is noticed, an answer may be old without its bound saying so.

mod catalog;
pub mod debezium;
mod feed;
mod lead;
mod options;
mod pgoutput;
mod prepare;
mod schema_watch;
mod server;
mod session;
mod slot;
mod source;
mod transaction;
mod visibility;

pub use feed::PostgresFeed;
pub use options::PostgresOptions;
pub use prepare::{Prepared, prepare};
pub use source::PostgresSource;
