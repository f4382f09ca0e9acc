//! How far a node may skip the log of a kind. A place is skipped when all before it were leased, and every transaction
//! that could still add one before it has ended.

use std::time::Duration;

use coherence::Mono;

use crate::ledger::{ReadUpTo, Reading};

/// After this time the whole log is read again.
const WHOLE_AGAIN: Duration = Duration::from_secs(30);

/// The knowledge of a node about the log of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogPosition {
    safe: ReadUpTo,
    reached: ReadUpTo,
    /// A place that is safe when the transactions below a number have ended, and a claim has read up to it after that.
    pending: Option<(ReadUpTo, i64)>,
    whole_at: Option<Mono>,
}

impl LogPosition {
    /// Returns the place from which the next claim reads.
    pub(super) fn next(&mut self, now: Mono) -> ReadUpTo {
        let is_recent = self.whole_at.is_some_and(|at| now.since(at) < WHOLE_AGAIN);
        if is_recent {
            return self.safe;
        }
        *self = Self { whole_at: Some(now), ..Self::default() };
        self.safe
    }

    /// Notes the answer to a claim. A claim reads from the lowest place on, so all that it saw up to the last place that it
    /// leased is leased now; `is_all`: so is all that it saw.
    pub(super) fn note(&mut self, reading: &Reading, is_all: bool) {
        let (place, due_ms) =
            (reading.place.unwrap_or_default(), reading.due_ms.unwrap_or_default());
        self.reached.place = self.reached.place.max(place);
        self.reached.due_ms = self.reached.due_ms.max(due_ms);
        if let Some((pending, next_open)) = self.pending {
            let is_read = is_all
                || ((place >= pending.place || pending.place == self.safe.place)
                    && (due_ms >= pending.due_ms || pending.due_ms == self.safe.due_ms));
            if reading.oldest_open < next_open || !is_read {
                return;
            }
            (self.safe, self.pending) = (pending, None);
        }
        if self.reached != self.safe {
            self.pending = Some((self.reached, reading.next_open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(place: Option<i64>, oldest_open: i64, next_open: i64) -> Reading {
        Reading { place, due_ms: None, read: 0, oldest_open, next_open }
    }

    #[test]
    fn open_transaction_keeps_the_place() {
        let mut position = LogPosition::default();
        assert_eq!(position.next(Mono(1)).place, 0);
        // Transaction 7 is open, and may have drawn place 9.
        position.note(&reading(Some(10), 7, 12), true);
        position.note(&reading(None, 7, 13), true);
        assert_eq!(position.next(Mono(2)).place, 0);
        // It has ended, and this claim has read its rows.
        position.note(&reading(Some(9), 13, 13), true);
        assert_eq!(position.next(Mono(3)).place, 10);
    }

    #[test]
    fn full_claim_proves_the_places_before_its_last() {
        let mut position = LogPosition::default();
        position.next(Mono(1));
        position.note(&reading(Some(10), 12, 12), false);
        position.note(&reading(Some(9), 13, 13), false);
        assert_eq!(position.next(Mono(2)).place, 0);
        position.note(&reading(Some(20), 13, 13), false);
        assert_eq!(position.next(Mono(3)).place, 10);
    }

    #[test]
    fn whole_log_is_read_now_and_then() {
        let mut position = LogPosition::default();
        position.next(Mono(1));
        position.note(&reading(Some(10), 12, 12), true);
        position.note(&reading(None, 13, 13), true);
        assert_eq!(position.next(Mono(2)).place, 10);
        assert_eq!(position.next(Mono(2 + WHOLE_AGAIN.as_nanos() as u64)).place, 0);
    }
}
