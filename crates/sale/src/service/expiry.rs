//! Recording the ends of holds whose deadlines have passed.

use std::sync::Arc;

use super::ledger_access::LedgerAccess;
use crate::ledger::{EndHold, LedgerError, Outcome};
use crate::rules::HoldEnd;

/// The most holds in a pass.
pub(super) const PASS_MAX: u32 = 1_024;

/// The most holds in a call, which locks all of their SKUs.
const CALL_MAX: usize = 64;

/// Records the ends of at most [`PASS_MAX`] due holds. Returns the number of holds that were due.
///
/// # Errors
/// The ledger's.
pub(super) async fn expire_due(
    LedgerAccess { ledger, metrics, early }: &LedgerAccess,
) -> Result<usize, LedgerError> {
    let mut due = ledger.due(PASS_MAX).await?;
    // Holds of the same SKUs go into one call.
    due.sort_by_key(|hold| hold.lane());
    for holds in due.chunks(CALL_MAX) {
        let end = |hold: &_| EndHold { hold: *hold, end: HoldEnd::Expired, key: None };
        let batch: Arc<[EndHold]> = holds.iter().map(end).collect();
        let outcomes = ledger.end(batch).await;
        // Also if there is no answer: the units may have come back.
        holds.iter().for_each(|hold| early.freed(hold.lane()));
        let outcomes = outcomes?;
        let expired = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done(_)));
        metrics.expired(expired.count());
    }
    Ok(due.len())
}
