//! SQLite.

mod error;
mod file;
mod open;
mod pool;
mod value;

pub use self::error::driver_error;
pub use self::file::FileId;
pub use self::open::{FileConnection, OpenMode};
pub use self::pool::Pool;
pub use self::value::canonical_text;
