//! Columns of carts, the same in both databases.

use crate::checkout_id::CheckoutId;
use crate::ledger::{CartRefused, LedgerError};
use crate::request::CartContent;
use crate::rules::{CartRefusal, CartStage, CartVersion};

/// Returns the wanted version as a number: 0 for none yet, -1 for any.
pub(crate) fn version_to_column(wanted: CartVersion) -> i64 {
    match wanted {
        CartVersion::Absent => 0,
        CartVersion::Any => -1,
        CartVersion::Exactly(version) => version,
    }
}

/// Reads a stored content.
pub(crate) fn content(customer: String, lines: &str) -> Result<CartContent, LedgerError> {
    let unreadable = || LedgerError::Unreadable("the lines of a cart".to_owned());
    CartContent::from_stored(customer, lines).ok_or_else(unreadable)
}

/// Reads a stage.
pub(crate) fn parse_stage(word: &str) -> Result<CartStage, LedgerError> {
    CartStage::parse(word).ok_or_else(|| LedgerError::Unreadable(format!("the stage {word:?}")))
}

/// Reads a refusal of PostgreSQL's functions; `None`: the outcome is none.
pub(crate) fn parse_refusal(
    word: &str,
    version: i64,
    checkout: Option<CheckoutId>,
) -> Option<CartRefused> {
    let refusal = match word {
        "cart-unknown" => CartRefusal::Unknown,
        "cart-changed" => CartRefusal::Changed(version),
        "cart-paying" => CartRefusal::Paying,
        "cart-ordered" => CartRefusal::Ordered,
        _ => return None,
    };
    Some(CartRefused { refusal, checkout })
}
