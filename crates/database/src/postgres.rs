//! PostgreSQL.

mod config;
mod connection;
mod error;
mod pool;
mod url;

pub use self::config::{Access, ConnectConfig, ServerRole};
pub use self::connection::Connection;
pub use self::error::driver_error;
pub use self::pool::{BorrowedConnection, Pool, PooledConnection};
pub use self::url::{Address, PostgresUrl};
