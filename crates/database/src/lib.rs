//! Connections to PostgreSQL, MariaDB and SQLite, alone or in pools.
//!
//! | module | server |
//! |---|---|
//! | [`postgres`] | PostgreSQL; one of the URL's hosts is the primary |
//! | [`mariadb`] | MariaDB |
//! | [`sqlite`] | a file |
//!
//! A [`DatabaseUrl`] is parsed once, where the configuration is read. The user of this crate decides what its
//! sessions may do (role of the server, read-only or not, time limits, name); each module's `ConnectConfig`
//! or `OpenMode` has these parameters. A [`DatabaseError`] says why a database did not answer, and the user
//! of this crate decides what follows from that.
//!
//! This crate knows neither contracts nor logs. Its URLs and errors are printed without secrets.

mod current_server;
mod error;
pub mod mariadb;
mod password_file;
pub mod postgres;
pub mod quoting;
pub mod sqlite;
mod url;
mod url_error;

pub use self::current_server::CurrentServer;
pub use self::error::{DatabaseError, Failure, ServerCode};
pub use self::url::DatabaseUrl;
pub use self::url_error::{UrlError, check_login, redacted};
