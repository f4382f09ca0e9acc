//! SQLite, through a change log that triggers write inside the application's own transactions.
//!
//! Two tables (`_tidegate_changes`, `_tidegate_meta`) and a few triggers per tracked table are put
//! into the application's database; nothing else of it is touched. From then on following only
//! reads: the triggers shorten the log themselves, so no statement of the application ever waits
//! for, or fails because of, the feed. (In the rollback-journal modes any reader delays writers for
//! moments, the feed too; `pragma journal_mode = wal` is the usual setting of a server anyway.)
//!
//! The log keeps its last [`SqliteOptions::keep`] changes. Whoever was away longer, or meets a
//! single transaction larger than that, is told that everything changed.
//!
//! A position is a change's number. A change that was read is visible to every later snapshot, so
//! the watermark is the position read. Nothing is remembered about acknowledgements: a feed that
//! starts anew delivers what the log still has, which repeats some of it.
//!
//! Not seen: a change that leaves the tracked columns alone; writes made while somebody had dropped
//! the triggers (they are put back within a poll, and everything in the table is told as changed).
//! `alter table … drop column` of a tracked column is refused by SQLite, since triggers use it: take
//! it out of the contracts first.

mod feed;
mod follow;
mod options;
mod pace;
mod read;
mod record;
mod schema;
mod source;
mod triggers;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use feed::SqliteFeed;
pub use options::SqliteOptions;
pub use schema::LOG_END;
pub use source::SqliteSource;

use crate::error::FeedError;

/// How long to wait for another connection's lock.
const BUSY: Duration = Duration::from_secs(10);

fn open(path: &Path) -> Result<Connection, FeedError> {
    // Without `CREATE`: a misspelt path must not become an empty database.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(failed("opening the database"))?;
    connection.busy_timeout(BUSY).map_err(failed("opening the database"))?;
    Ok(connection)
}

fn failed(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> FeedError {
    move |err| FeedError::unavailable(doing, err)
}
