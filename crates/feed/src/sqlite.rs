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
//! - **The log is complete as long as the triggers exist.** Each change of the schema may have dropped them
//!   for a while, so it counts as a change of every tracked table, and the end of the log is not known until
//!   the feed has checked the triggers under the new schema.
//! - **A file is one timeline.** A restored backup contains the same log, so the file's identity is part of
//!   the timeline. Content that is replaced in place makes the log go back, or gives a position to another
//!   change; then the log gets a new generation.
//!
//! Not detected: a change that leaves the tracked columns alone (unless every column counts), and a writer
//! that turns triggers off (`SQLITE_DBCONFIG_ENABLE_TRIGGER`). An older copy that is restored *into* the same
//! file while no node runs, and that then grows past the position that the tiers had applied, is taken for
//! the same log.
//! SQLite rejects `alter table … drop column` of a tracked column, since triggers use it: remove the
//! column from the contracts first.

mod adaptive_poll;
mod catalog;
mod connection;
mod feed;
mod install;
mod lineage;
mod log;
mod options;
mod prepare;
mod reader;
mod reads;
mod row;
mod schema;
mod session;
mod source;
mod survey;
mod text_forms;
mod triggers;
mod unique;

pub use feed::SqliteFeed;
pub use log::LOG_END_SQL;
pub use options::SqliteOptions;
pub use prepare::prepare;
pub use reads::unfollowed_reads;
pub use source::SqliteSource;
pub use survey::survey;
pub use text_forms::text_forms;
