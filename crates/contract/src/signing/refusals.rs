//! Values and messages that were refused because of their MAC.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The time for which a refusal counts as present, and the least time between two lines of the log, in ms.
const PRESENT_MS: u64 = 60_000;

/// The refusals of a process, of one kind. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    report: RefusalReport,
    logged_ms: Option<u64>,
}

/// Counts of refusals, and the last one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefusalReport {
    /// Their number since the start.
    pub refused: u64,
    /// The last one: its name, and the reason.
    pub last: Option<String>,
    /// Its time, in ms since 1970.
    pub last_ms: Option<u64>,
}

impl Refusals {
    /// Counts a refusal at `now_ms`, in ms since 1970. Returns whether a line of the log is due.
    pub fn count(&self, text: String, now_ms: u64) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.report.refused += 1;
        state.report.last = Some(text);
        state.report.last_ms = Some(now_ms);
        let is_due = state.logged_ms.is_none_or(|logged| now_ms.abs_diff(logged) >= PRESENT_MS);
        if is_due {
            state.logged_ms = Some(now_ms);
        }
        is_due
    }

    /// Returns the counts.
    #[must_use]
    pub fn report(&self) -> RefusalReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).report.clone()
    }
}

impl RefusalReport {
    /// Whether something was refused within the last minute.
    #[must_use]
    pub fn is_present(&self, now_ms: u64) -> bool {
        self.last_ms.is_some_and(|last| now_ms.abs_diff(last) < PRESENT_MS)
    }

    /// Returns the refusals since an earlier report.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let refused = self.refused.saturating_sub(before.refused);
        if refused == 0 { Self::default() } else { Self { refused, ..self.clone() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_and_every_refusal_counted() {
        let refusals = Refusals::default();
        let due: Vec<bool> = [0, 1, 59_999, 60_000, 60_001]
            .map(|at| refusals.count(format!("entry {at}"), at))
            .to_vec();
        assert_eq!(due, [true, false, false, true, false]);
        let report = refusals.report();
        assert_eq!((report.refused, report.last.as_deref()), (5, Some("entry 60001")));
        assert!(report.is_present(120_000) && !report.is_present(120_001));
        assert_eq!(report.since(&report), RefusalReport::default());
    }
}
