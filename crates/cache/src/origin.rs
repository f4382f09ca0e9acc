//! Origins: the databases, services and functions that loads read.

mod database_error;
mod error;
pub mod function;
mod key_scan;
mod load;
pub mod mariadb;
mod party;
pub mod postgres;
mod row;
mod sql;
pub mod sqlite;

pub use self::error::{OriginError, OriginErrorKind};
pub use self::key_scan::{KeyPage, KeyScan, ScanEstimate};
pub(crate) use self::load::PublishEarly;
pub use self::load::{EarlyAnswer, LoadItem, Loaded, LoadedMany, Origin, TimedChange};
pub use self::party::Party;
pub use self::row::tags_of;
