//! PostgreSQL.

mod config;
mod connection;
mod error;
mod identity;
mod pool;
mod url;

pub use self::config::{Access, ConnectConfig, ServerRole};
pub use self::connection::Connection;
pub use self::error::driver_error;
pub use self::identity::{CurrentServer, DatabaseIdentity, IDENTITY_SQL, database_id};
pub use self::pool::{BorrowedConnection, IdentifiedClient, Pool, PooledConnection};
pub use self::url::{Address, PostgresUrl};
