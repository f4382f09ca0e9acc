//! An SQL statement on a MariaDB server as origin.

mod error;
mod key;
mod origin;
mod pool;
mod sql;
mod value;

pub use self::origin::MariaDbOrigin;
pub use self::pool::MariaDbPool;
