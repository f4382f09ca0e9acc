//! An SQL statement on a PostgreSQL primary, or on one of its standbys, as origin.

mod key_scan;
mod origin;
mod pool;
mod query;
mod standby;

pub use self::origin::PostgresOrigin;
pub use self::pool::PostgresPool;
pub use self::standby::Standby;
