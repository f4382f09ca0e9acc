//! Counters of units, and the policy that limits them.

/// How many units may be promised beyond those on hand, at each location of a SKU.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Policy {
    /// None.
    #[default]
    Strict,
    /// This number of units.
    OversellUnits(u32),
    /// This share of the units on hand, rounded down to a unit.
    OversellPercent(u32),
}

impl Policy {
    /// Returns the units that may be promised beyond `on_hand`.
    #[must_use]
    pub fn allowance(self, on_hand: i64) -> i64 {
        match self {
            Self::Strict => 0,
            Self::OversellUnits(units) => i64::from(units),
            Self::OversellPercent(percent) => on_hand.saturating_mul(percent.into()) / 100,
        }
    }
}

/// The units of one SKU at one location.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Stock {
    /// All units that were put in stock, also those sold since.
    pub on_hand: i64,
    /// Units of active holds.
    pub held: i64,
    /// Units of confirmed holds.
    pub sold: i64,
}

impl Stock {
    /// Returns the units that may still be held. Negative at no time.
    #[must_use]
    pub fn free(self, policy: Policy) -> i64 {
        self.on_hand + policy.allowance(self.on_hand) - self.held - self.sold
    }

    /// Returns the stock with another number of units on hand; `None`: holds and sales need more.
    #[must_use]
    pub fn with_on_hand(self, on_hand: i64, policy: Policy) -> Option<Self> {
        let changed = Self { on_hand, ..self };
        (on_hand >= 0 && changed.free(policy) >= 0).then_some(changed)
    }

    /// Returns the greatest number by which the units on hand may be lowered under any policy.
    #[must_use]
    pub fn uncommitted(self) -> i64 {
        (self.on_hand - self.held - self.sold).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowance_by_policy() {
        let stock = Stock { on_hand: 150, held: 30, sold: 120 };
        assert_eq!(stock.free(Policy::Strict), 0);
        assert_eq!(stock.free(Policy::OversellUnits(7)), 7);
        assert_eq!(stock.free(Policy::OversellPercent(1)), 1, "rounded down");
    }

    #[test]
    fn committed_units_stay_on_hand() {
        let stock = Stock { on_hand: 10, held: 2, sold: 3 };
        let on_hand = |wanted, policy| Some(stock.with_on_hand(wanted, policy)?.on_hand);
        assert_eq!(on_hand(5, Policy::Strict), Some(5));
        assert_eq!(on_hand(4, Policy::Strict), None);
        assert_eq!(on_hand(4, Policy::OversellUnits(1)), Some(4));
        assert_eq!(Stock::default().with_on_hand(-1, Policy::OversellUnits(1)), None);
        assert_eq!(stock.uncommitted(), 5);
    }
}
