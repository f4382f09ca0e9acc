//! An SQL statement on a MariaDB server as origin.

mod key;
mod key_column;
mod origin;
mod pool;
mod value;

pub use self::origin::MariaDbOrigin;
pub use self::pool::MariaDbPool;
