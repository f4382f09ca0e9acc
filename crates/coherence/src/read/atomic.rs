//! Read-atomic batches: whether values that were loaded separately come from one snapshot of the
//! database.
//!
//! It is not enough that all of them stand in a tier that has applied A: each was loaded with a snapshot
//! of its own, and a snapshot may show commits that the tier has not received yet. So one value may be
//! newer than A while another still waits for the event of the same commit (race 16). Besides the
//! position up to which a value misses no commit, its check needs the position beyond which the value
//! holds no commit.

use crate::position::{Log, Lsn};

/// The positions between which a value is known to equal the database's: it holds no commit beyond
/// `seen`, and misses none up to `upto`. If `seen` is after `upto`, no such position is known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Span {
    /// The log that both are positions in.
    pub log: Log,
    /// No commit beyond this is in the value: the end of the log after its snapshot was taken.
    pub seen: Lsn,
    /// Every relevant commit up to here is in the value: its tier's applied position while the value
    /// stands there, or its τ.
    pub upto: Lsn,
}

/// Returns the position at which all of the values equal the database's, if one is known: a snapshot that
/// shows the commits up to there, and no other, shows all of them.
///
/// Positions of two logs can't be compared, so values of two logs never have a common snapshot.
#[must_use]
pub fn common_snapshot(spans: impl IntoIterator<Item = Span>) -> Option<Lsn> {
    let mut spans = spans.into_iter();
    let first = spans.next()?;
    let common = spans.try_fold(first, |common, span| {
        let (seen, upto) = (common.seen.max(span.seen), common.upto.min(span.upto));
        (span.log == common.log).then_some(Span { log: common.log, seen, upto })
    })?;
    (common.seen <= common.upto).then_some(common.upto)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: Log = Log { system: 1, timeline: 1, server: 1 };

    fn span(seen: u64, upto: u64) -> Span {
        Span { log: LOG, seen: Lsn(seen), upto: Lsn(upto) }
    }

    #[test]
    fn race_16_standing_values_may_be_torn() {
        // The tier has applied 10. The stock was loaded before commit 11, the price after it; the event
        // is in flight, so both stand.
        let (stock, price) = (span(10, 10), span(11, 10));
        assert_eq!(common_snapshot([stock, price]), None, "one new, one old");
        assert_eq!(common_snapshot([stock, stock]), Some(Lsn(10)));
        // The event has arrived: the stock is removed, or loaded again.
        let (stock, price) = (span(12, 12), span(11, 12));
        assert_eq!(common_snapshot([stock, price]), Some(Lsn(12)));
    }

    #[test]
    fn two_logs_have_no_common_snapshot() {
        let other = Span { log: Log { timeline: 2, ..LOG }, ..span(5, 10) };
        assert_eq!(common_snapshot([span(5, 10), other]), None);
        assert_eq!(common_snapshot([]), None);
    }

    #[test]
    fn unknown_log_end_has_no_common_snapshot() {
        assert_eq!(common_snapshot([Span { seen: Lsn::MAX, ..span(0, u64::MAX - 1) }]), None);
    }

    /// A load: its token, the further commits that its snapshot shows (one bit each, from the one after
    /// the token on), and the number of commits by which the log's end was read too late.
    type Load = (u64, u16, u64);

    proptest! {
        /// Commits 1 to 16 change keys by a mask. Loads see everything up to their token and, as
        /// PostgreSQL may make commits visible in another order than it logs them, any of the later
        /// ones. A tier has applied `applied`; the entries that this invalidates are gone.
        #[test]
        fn common_snapshot_is_one_snapshot(
            changes in proptest::collection::vec(0_u8..8, 16),
            loads in proptest::collection::vec((0_u64..17, any::<u16>(), 0_u64..3), 3),
            applied in 0_u64..17,
        ) {
            let touches = |lsn: u64, key: usize| changes[lsn as usize - 1] & (1 << key) != 0;
            let newest = |key: usize, shown: &dyn Fn(u64) -> bool| {
                (1..=16).rev().find(|lsn| touches(*lsn, key) && shown(*lsn)).unwrap_or(0)
            };
            let load = |(key, (tau, more, late)): (usize, Load)| {
                let shows = |lsn: u64| lsn <= tau || more >> (lsn - tau - 1) & 1 == 1;
                let last = (1..=16).rev().find(|lsn| shows(*lsn)).unwrap_or(0);
                let stands = !(tau + 1..=applied).any(|lsn| touches(lsn, key));
                let upto = if stands { applied.max(tau) } else { tau };
                (newest(key, &shows), span(last + late, upto))
            };
            let loaded: Vec<(u64, Span)> = loads.into_iter().enumerate().map(load).collect();
            if let Some(Lsn(at)) = common_snapshot(loaded.iter().map(|(_, span)| *span)) {
                for (key, (value, _)) in loaded.iter().enumerate() {
                    prop_assert_eq!(*value, newest(key, &|lsn| lsn <= at), "key {}", key);
                }
            }
        }
    }
}
