//! Access tokens: secrets, the list of their hashes, its file, and the task that reads it again.

mod file;
mod list;
mod secret;
mod watch;

pub use file::{TokenFile, TokenFileError};
pub use list::{NewToken, TokenEntry, TokenList};
pub(crate) use list::{check_name, read_rights};
pub use secret::AccessToken;
pub use watch::TokenWatch;
