//! An SQL statement on a PostgreSQL primary, or on one of its standbys, as origin.

mod column;
mod key_scan;
mod origin;
mod pool;
mod query;
mod reader;
mod standby;
mod timed_changes;

pub use self::origin::PostgresOrigin;
pub use self::pool::PostgresPool;
pub use self::standby::Standby;
