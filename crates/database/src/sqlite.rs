//! SQLite.

mod error;
mod file;
mod open;
mod pool;
mod value;

/// The time in µs since 1970. SQLite reads this process's wall clock, once per statement, and cuts it to whole ms: this is the
/// latest time that the clock may have shown.
pub const CLOCK_SQL: &str = "select (cast(strftime('%s', 'now') as integer) * 1000 \
                             + cast(substr(strftime('%f', 'now'), 4) as integer)) * 1000 + 999";

pub use self::error::driver_error;
pub use self::file::FileId;
pub use self::open::{FileConnection, OpenMode};
pub use self::pool::Pool;
pub use self::value::canonical_text;
