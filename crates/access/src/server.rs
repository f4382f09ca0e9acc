//! The server of a private listener.

mod body;
mod listen;
mod socket;

pub use self::listen::serve;
pub use body::Body;
