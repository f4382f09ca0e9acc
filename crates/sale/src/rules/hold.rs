//! The life of a hold: active, then one end.
//!
//! ```text
//!            confirm, before the deadline ┌─────────────┐
//!          ┌─────────────────────────────►│ confirmed   │ held → sold
//! ┌────────┴┐ cancel, before the deadline ├─────────────┤
//! │ active  ├────────────────────────────►│ cancelled   │ held → available
//! └─┬─────┬─┘ expire, at the deadline     ├─────────────┤
//!   │  ▲  └──────────────────────────────►│ expired     │ held → available
//!   └──┘ extend, once, before the deadline└─────────────┘
//! ```
//!
//! From its deadline on, an active hold counts as expired, whether or not that has been recorded: recording it
//! only frees the stock.

use super::rule::{Rule, on};

/// The state of a hold. Times are in ms since 1970 by the database's clock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HoldState {
    /// It reserves its units until the deadline.
    Active {
        /// The deadline.
        deadline_ms: i64,
        /// Whether the deadline was moved.
        extended: bool,
    },
    /// It has ended.
    Ended(HoldEnd),
}

/// The end of a hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HoldEnd {
    /// Its units are sold.
    Confirmed,
    /// Its customer or the shop gave it up.
    Cancelled,
    /// Its deadline passed.
    Expired,
}

impl HoldEnd {
    /// All ends.
    pub const ALL: [Self; 3] = [Self::Confirmed, Self::Cancelled, Self::Expired];

    /// Returns the word in the API and in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Returns the end that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.word() == word)
    }
}

/// A wish to change a hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HoldInput {
    /// Sell its units.
    Confirm,
    /// Give its units back.
    Cancel,
    /// Record that its deadline has passed.
    Expire,
    /// Move its deadline.
    Extend {
        /// By this many ms.
        by_ms: i64,
    },
}

/// The change of the counters of its stock, for each unit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Effect {
    /// The unit stays held.
    Keep,
    /// The unit is no longer held, and is sold.
    Sell,
    /// The unit is no longer held.
    Free,
}

/// Why a hold was not changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HoldRefusal {
    /// It has ended, or its deadline has passed.
    Ended(HoldEnd),
    /// Its deadline has not passed.
    NotDue,
    /// Its deadline was moved before.
    ExtendedBefore,
}

/// Returns the next state and its effect on the stock. `now_ms`: the database's clock, read under the lock of
/// the hold's stock.
///
/// # Errors
/// [`HoldRefusal`]; the hold stays as it is.
pub fn step(
    state: HoldState,
    input: HoldInput,
    now_ms: i64,
) -> Result<(HoldState, Effect), HoldRefusal> {
    let (deadline_ms, extended) = match state {
        HoldState::Active { deadline_ms, extended } => (deadline_ms, extended),
        HoldState::Ended(end) if on(Rule::OneEnd) => return Err(HoldRefusal::Ended(end)),
        HoldState::Ended(_) => (i64::MAX, false),
    };
    let is_due = now_ms >= deadline_ms;
    let too_late = Err(HoldRefusal::Ended(HoldEnd::Expired));
    match input {
        HoldInput::Confirm if is_due && on(Rule::ConfirmedInTime) => too_late,
        HoldInput::Confirm => Ok((HoldState::Ended(HoldEnd::Confirmed), Effect::Sell)),
        HoldInput::Cancel if is_due => too_late,
        HoldInput::Cancel => Ok((HoldState::Ended(HoldEnd::Cancelled), Effect::Free)),
        HoldInput::Expire if !is_due && on(Rule::ExpiredWhenDue) => Err(HoldRefusal::NotDue),
        HoldInput::Expire => Ok((HoldState::Ended(HoldEnd::Expired), Effect::Free)),
        HoldInput::Extend { .. } if is_due && on(Rule::ExtendedInTime) => too_late,
        HoldInput::Extend { .. } if extended && on(Rule::ExtendedOnce) => {
            Err(HoldRefusal::ExtendedBefore)
        }
        HoldInput::Extend { by_ms } => {
            let deadline_ms = deadline_ms.saturating_add(by_ms);
            Ok((HoldState::Active { deadline_ms, extended: true }, Effect::Keep))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: HoldState = HoldState::Active { deadline_ms: 100, extended: false };

    #[test]
    fn hold_ends_once() {
        for first in [HoldInput::Confirm, HoldInput::Cancel] {
            let (ended, _) = step(ACTIVE, first, 99).expect("active");
            let HoldState::Ended(end) = ended else { panic!("{ended:?} after {first:?}") };
            for second in [HoldInput::Confirm, HoldInput::Cancel, HoldInput::Expire] {
                for now in [0, 99, 100, 1_000] {
                    assert_eq!(step(ended, second, now), Err(HoldRefusal::Ended(end)));
                }
            }
        }
    }

    #[test]
    fn deadline_decides_between_ends() {
        assert_eq!(step(ACTIVE, HoldInput::Expire, 99), Err(HoldRefusal::NotDue));
        let expired = HoldState::Ended(HoldEnd::Expired);
        assert_eq!(step(ACTIVE, HoldInput::Expire, 100), Ok((expired, Effect::Free)));
        for late in [HoldInput::Confirm, HoldInput::Cancel, HoldInput::Extend { by_ms: 9 }] {
            assert_eq!(step(ACTIVE, late, 100), Err(HoldRefusal::Ended(HoldEnd::Expired)));
        }
    }

    #[test]
    fn deadline_moves_once() {
        let extend = HoldInput::Extend { by_ms: 50 };
        let extended = HoldState::Active { deadline_ms: 150, extended: true };
        assert_eq!(step(ACTIVE, extend, 99), Ok((extended, Effect::Keep)));
        assert_eq!(step(extended, extend, 99), Err(HoldRefusal::ExtendedBefore));
        assert!(step(extended, HoldInput::Confirm, 149).is_ok());
    }

    #[test]
    fn words_name_ends() {
        for end in HoldEnd::ALL {
            assert_eq!(HoldEnd::parse(end.word()), Some(end));
        }
        assert_eq!(HoldEnd::parse("active"), None);
    }
}
