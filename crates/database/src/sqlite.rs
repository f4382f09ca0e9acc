//! SQLite.

mod error;
mod open;
mod pool;

pub use self::error::driver_error;
pub use self::open::{OpenMode, open};
pub use self::pool::Pool;
