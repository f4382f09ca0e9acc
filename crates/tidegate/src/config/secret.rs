//! Texts that are never printed.

use std::fmt;

use serde::Deserialize;

/// A secret as it is written.
#[derive(Deserialize)]
pub(super) struct SecretText(pub(super) String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
