//! Names of holds.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::lane::Lane;

/// A hold's name: 32 hexadecimal digits.
///
/// The first 48 bits are the time at which a node chose it, so that new rows are neighbours in the database's
/// index. The next 32 bits are the [lane](Self::lane) of its SKUs, so that the ends of a SKU's holds can be
/// batched without a look at the database. The rest is random.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HoldId(pub u128);

/// A text that names no hold.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the name of a hold has 32 hexadecimal digits")]
pub struct InvalidHoldId;

impl HoldId {
    /// Composes a name. `wall_ms`: the node's wall time; only the place in the index depends on it.
    #[must_use]
    pub fn new(wall_ms: u64, lane: Lane, random: u64) -> Self {
        let time = u128::from(wall_ms & 0xffff_ffff_ffff);
        Self(time << 80 | u128::from(lane.number()) << 48 | u128::from(random >> 16))
    }

    /// Returns the lane: holds of the same SKUs have the same.
    #[must_use]
    pub fn lane(self) -> Lane {
        Lane::from_number((self.0 >> 48) as u32)
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for HoldId {
    type Err = InvalidHoldId;

    fn from_str(text: &str) -> Result<Self, InvalidHoldId> {
        let is_name = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            return Err(InvalidHoldId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidHoldId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_carries_time_and_lane() {
        let lanes = [0xbeef_cafe, 7].map(Lane::from_number);
        let early = HoldId::new(1_000, lanes[0], u64::MAX);
        let late = HoldId::new(1_001, lanes[1], 0);
        assert!(early < late);
        assert_eq!([early.lane(), late.lane()], lanes);
        assert_eq!(early.to_string().parse(), Ok(early));
    }

    #[test]
    fn other_texts_refused() {
        for text in ["", "1", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)]
        {
            assert_eq!(text.parse::<HoldId>(), Err(InvalidHoldId), "{text}");
        }
    }
}
