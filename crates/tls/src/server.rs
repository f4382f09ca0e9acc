//! The certificates of a listener.

mod build;
mod expiry;
mod files;
mod reload;
mod resolver;
mod revocation;

pub use self::build::check_pair;
pub use self::expiry::renewal_is_due;
pub use self::files::{MinVersion, ServerFiles};
pub use self::reload::{ClientTrust, ServerTls};
pub use self::revocation::RevocationList;
