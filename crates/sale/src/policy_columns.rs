//! Policies as columns of both databases: a word and a number.

use crate::ledger::LedgerError;
use crate::rules::Policy;

pub(crate) fn policy_to_columns(policy: Policy) -> (&'static str, i64) {
    match policy {
        Policy::Strict => ("strict", 0),
        Policy::OversellUnits(units) => ("oversell-units", units.into()),
        Policy::OversellPercent(percent) => ("oversell-percent", percent.into()),
    }
}

/// # Errors
/// [`LedgerError::Unreadable`]: another version wrote it.
pub(crate) fn policy_from_columns(word: &str, oversell: i64) -> Result<Policy, LedgerError> {
    match (word, u32::try_from(oversell)) {
        ("strict", _) => Ok(Policy::Strict),
        ("oversell-units", Ok(units)) => Ok(Policy::OversellUnits(units)),
        ("oversell-percent", Ok(percent)) => Ok(Policy::OversellPercent(percent)),
        _ => Err(LedgerError::Unreadable(format!("the policy {word:?} {oversell}"))),
    }
}
