//! Columns of checkouts, the same in both databases.

use crate::checkout_id::CheckoutId;
use crate::ledger::LedgerError;
use crate::rules::{Phase, Price};

/// Reads the name of a checkout.
pub(crate) fn checkout_id(text: &str) -> Result<CheckoutId, LedgerError> {
    text.parse().map_err(|_| LedgerError::Unreadable(format!("the checkout {text:?}")))
}

/// Reads a phase.
pub(crate) fn parse_phase(word: &str) -> Result<Phase, LedgerError> {
    Phase::parse(word).ok_or_else(|| LedgerError::Unreadable(format!("the phase {word:?}")))
}

/// Reads a price.
pub(crate) fn parse_price(amount: i64, currency: &str) -> Result<Price, LedgerError> {
    let unreadable = |()| LedgerError::Unreadable(format!("the currency {currency:?}"));
    Ok(Price { amount, currency: currency.parse().map_err(unreadable)? })
}
