//! Names of checkouts.

use std::fmt;
use std::str::FromStr;

use crate::hold_id::{HoldId, InvalidHoldId};

/// A checkout's name, and that of its order: 32 hexadecimal digits, with the same parts as a [`HoldId`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CheckoutId(pub HoldId);

impl fmt::Display for CheckoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CheckoutId {
    type Err = InvalidHoldId;

    fn from_str(text: &str) -> Result<Self, InvalidHoldId> {
        text.parse().map(Self)
    }
}
