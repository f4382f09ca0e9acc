//! SQLite, through a change log that triggers write inside the application's own transactions.
//!
//! Two tables (`_tidegate_changes`, `_tidegate_meta`) and a few triggers per tracked table are created
//! in the application's database; nothing else of it is altered. From then on, following only reads:
//! the triggers truncate the log themselves, so no statement of the application ever waits or fails
//! because of the feed. (In the rollback-journal modes any reader delays writers briefly, the feed
//! too; `pragma journal_mode = wal` is the usual setting of a server anyway.)
//!
//! The log keeps its last [`SqliteOptions::keep`] changes. A feed that was stopped for longer, or reads
//! a single transaction larger than that, delivers a change of everything.
//!
//! A position is a change's number. A change that was read is visible to every later snapshot, so the
//! watermark is the position read. Acknowledgements are not stored: a new feed delivers everything
//! that the log still contains, which repeats some changes.
//!
//! Not detected: a change that leaves the tracked columns alone, and writes while the triggers were
//! dropped (they are created again within a poll, and the whole table counts as changed).
//! SQLite rejects `alter table … drop column` of a tracked column, since triggers use it: remove the
//! column from the contracts first.

mod adaptive_poll;
mod catalog;
mod connection;
mod feed;
mod install;
mod log;
mod options;
mod prepare;
mod reader;
mod row;
mod session;
mod source;
mod triggers;

pub use feed::SqliteFeed;
pub use log::LOG_END_SQL;
pub use options::SqliteOptions;
pub use source::SqliteSource;
