//! MariaDB 10.5 and later, through its row-based binary log.
//!
//! A position consists of the log's file number and the offset of an event's end in that file. The
//! server does not store the position of its readers, so the consumer supplies a checkpoint
//! ([`Feed::resume`](crate::Feed::resume)). If the log no longer contains that position, or is
//! another log, the stream starts at the log's end and reports it.
//!
//! - **One node follows the log.** It holds a lock (`get_lock`) on a connection that runs a query at
//!   least every two seconds; the other nodes probe about every 200 ms whether the lock is free. The
//!   server closes the connection of a node that is silent for ten seconds.
//! - **Events are not held back until they are visible.** With a semi-synchronous replica they arrive
//!   long before. The watermark W follows: the position that the server records for `start transaction
//!   with consistent snapshot`, which is that of the last commit that new snapshots see.
//! - **The log's identity** derives from the server's identity, its start time and its count of `reset`
//!   statements since: `reset master` assigns positions again.
//! - **Changes that the log does not contain row by row** count as a change of everything: a statement
//!   that a session logged in place of its rows, an event that can't be parsed, an XA transaction that
//!   was prepared before the stream. A transaction beyond [`MariaDbOptions::max_changes`] rows of a
//!   table, and a truncated or altered table, count as a change of the whole table; an altered one is
//!   checked again.
//! - **Requests** are written to the table `tidegate_orders` and deleted in the same transaction.
//!
//! Not detected: writes with `sql_log_bin = 0`. Foreign keys that delete or change rows are rejected
//! by [`prepare`](prepare()), since InnoDB does not log their changes.

mod assembler;
mod candidate;
mod catalog;
mod connection;
pub mod debezium;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod layout;
mod lock;
mod log;
mod log_file;
mod options;
mod parser;
mod position;
mod prepare;
mod reads;
mod row;
mod session;
mod source;
mod statement;
mod stream;
mod survey;
mod text_forms;
mod visibility;

pub use feed::MariaDbFeed;
pub use options::MariaDbOptions;
pub use prepare::prepare;
pub use reads::unfollowed_reads;
pub use source::MariaDbSource;
pub use survey::survey;
pub use text_forms::text_forms;
