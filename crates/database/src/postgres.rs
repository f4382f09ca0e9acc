//! PostgreSQL.

mod attempts;
mod column_type;
mod config;
mod connection;
mod encryption;
mod error;
mod identity;
mod pool;
mod replication;
mod session;
mod stream;
mod text;
mod url;
mod url_options;
mod wire;

pub use self::column_type::ColumnType;
pub use self::config::{Access, ConnectConfig, ServerRole};
pub use self::connection::Connection;
pub use self::error::driver_error;
pub use self::identity::{CurrentServer, DatabaseIdentity, IDENTITY_SQL, database_id};
pub use self::pool::{BorrowedConnection, Pool, PooledConnection, Session};
pub use self::replication::{LogReader, LogWriter, ReplicationConnection};
pub use self::session::SessionId;
pub use self::text::{TEXT_SETTINGS, startup_options};
pub use self::url::{Address, PostgresUrl};
