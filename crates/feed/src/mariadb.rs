//! MariaDB 10.5 and later, through its binary log of rows.
//!
//! A position is the log's file number and the offset of an event's end in that file. The server keeps
//! no account of who has read how far, so the consumer says where it stands
//! ([`Feed::resume`](crate::Feed::resume)); where the log does not reach back that far, or is another
//! one, the stream begins at its end and says so.
//!
//! - **One node follows.** It holds a lock (`get_lock`) on a connection that asks something every two
//!   seconds; the others look every 200 ms or so whether it is free. The server closes the connection of
//!   a node that is not heard of for ten seconds.
//! - **Events are not held back until they are visible.** With a semi-synchronous replica they arrive
//!   long before. The watermark W follows: the position that the server notes with `start transaction
//!   with consistent snapshot`, which stops at the last commit that new snapshots see.
//! - **Which log it is** is made of the server's identity, of when it started and of how many `reset`s it
//!   has run since: `reset master` gives positions out again.
//! - **What the log does not tell row by row** is told as "everything changed": a statement that a session
//!   logged in place of its rows, an event that can't be read, a transaction larger than
//!   [`MariaDbOptions::max_changes`]. So is a table that was emptied or altered; after the latter it is
//!   checked again whether it can be followed.
//! - **Requests** are written into the table `tidegate_orders` and taken out again in one transaction.
//!
//! Not seen: what is written with `sql_log_bin = 0`. Foreign keys that delete or change rows are refused,
//! since InnoDB does not log what they do.

mod catalog;
mod feed;
mod lead;
mod log;
mod options;
mod place;
mod prepare;
mod row;
mod server;
mod session;
mod source;
mod statement;
mod stream;
mod transaction;
mod visibility;

pub use feed::MariaDbFeed;
pub use options::MariaDbOptions;
pub use prepare::prepare;
pub use source::MariaDbSource;
