//! An SQL statement on an SQLite file as origin.

mod key_scan;
mod origin;
mod pool;

pub use self::origin::SqliteOrigin;
pub use self::pool::SqlitePool;
