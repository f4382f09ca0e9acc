//! MariaDB.

mod config;
mod connection;
mod error;
mod identity;
mod logged_text;
mod pool;
mod statements;
mod url;
mod url_options;

pub use self::config::{ConnectConfig, READ_ONLY};
pub use self::connection::{Connection, Rows};
pub use self::error::driver_error;
pub use self::identity::{CurrentServer, ServerIdentity};
pub use self::logged_text::{ColumnDefinition, LOGGED_TEXT_TYPES};
pub use self::pool::{Answer, Pool};
pub use self::statements::ResultSet;
pub use self::url::MariaDbUrl;
