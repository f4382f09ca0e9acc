//! An SQL statement on a MariaDB server as origin.

mod key;
mod key_column;
mod key_scan;
mod origin;
mod pool;
mod replica_status;
mod standby;
mod statements;
mod table_facts;
mod value;

pub use self::origin::MariaDbOrigin;
pub use self::pool::MariaDbPool;
pub use self::standby::{MariaDbStandby, PrimaryLog};
