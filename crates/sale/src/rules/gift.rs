//! Gift cards: a balance that many checkouts reserve from at one instant. The rules are those of stock.
//!
//! ```text
//!             reserve           spend, with the order
//! available ──────────► reserved ──────────► spent
//!      ▲ ▲     release     │                   │
//!      │ └─────────────────┘      return       │
//!      └───────────────────────────────────────┘
//! ```

use super::checkout::CheckoutState;
use super::rule::{Rule, on};

/// The balance of a gift card, in minor units.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct GiftBalance {
    /// The amount that the card was issued with.
    pub issued: i64,
    /// The parts of checkouts that are under way.
    pub reserved: i64,
    /// The parts of orders, less those that were given back.
    pub spent: i64,
}

impl GiftBalance {
    /// Returns the amount that may be reserved.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.issued - self.reserved - self.spent
    }

    /// Returns the balance after a move.
    #[must_use]
    pub const fn moved(self, gift_move: GiftMove) -> Self {
        let (reserved, spent) = gift_move.changes();
        Self { reserved: self.reserved + reserved, spent: self.spent + spent, ..self }
    }

    /// Reserves a part.
    ///
    /// # Errors
    /// The amount that is available.
    pub fn reserve(self, amount: i64) -> Result<Self, i64> {
        if amount > self.available() && on(Rule::GiftWithinBalance) {
            return Err(self.available());
        }
        Ok(self.moved(GiftMove::Reserve(amount)))
    }
}

/// A move of a part of a balance.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GiftMove {
    /// A checkout begins.
    Reserve(i64),
    /// It ends without an order.
    Release(i64),
    /// The order is recorded.
    Spend(i64),
    /// A part of the order is given back.
    Return(i64),
}

impl GiftMove {
    /// Returns the word of the move in the ledgers.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reserve(_) => "reserve",
            Self::Release(_) => "release",
            Self::Spend(_) => "spend",
            Self::Return(_) => "return",
        }
    }

    /// Returns the changes of the reserved and of the spent amount.
    #[must_use]
    pub const fn changes(self) -> (i64, i64) {
        match self {
            Self::Reserve(amount) => (amount, 0),
            Self::Release(amount) => (-amount, 0),
            Self::Spend(amount) => (-amount, amount),
            Self::Return(amount) => (0, -amount),
        }
    }
}

/// Returns the moves that belong to a transition of a checkout. They are recorded in its transaction.
#[must_use]
pub fn gift_moves(before: &CheckoutState, after: &CheckoutState) -> Vec<GiftMove> {
    let mut moves = Vec::new();
    if after.gift == 0 {
        return moves;
    }
    let is_released = |state: &CheckoutState| state.phase.is_end() && !state.ordered;
    if after.ordered && !before.ordered && on(Rule::GiftSpentWithOrder) {
        moves.push(GiftMove::Spend(after.gift));
    }
    if is_released(after) && !is_released(before) && on(Rule::GiftReleasedAtEnd) {
        moves.push(GiftMove::Release(after.gift));
    }
    let returned = after.gift_returned - before.gift_returned;
    if returned > 0 {
        moves.push(GiftMove::Return(returned));
    }
    moves
}
