//! The parties that share an origin.

/// One of the parties that share an origin, such as a client by its address, as a number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Party(pub u64);
