//! Read-atomic batches: whether values that were found apart are what the database held at one
//! moment.
//!
//! That all of them stand in a tier which has applied A is not enough: each was loaded with a
//! snapshot of its own, and a snapshot may show commits that the tier has not heard of yet. So one
//! value may be newer than A, while another still waits for the event of the same commit
//! (race 16). What is needed beside the position up to which a value misses nothing is the one
//! beyond which it holds nothing.

use crate::position::{Log, Lsn};

/// The positions between which a value is known to be exactly what the database held: it holds no
/// commit beyond `seen`, and misses none up to `upto`. If `seen` lies after `upto`, there is no
/// position for which that is known.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Span {
    /// The log that both are positions in.
    pub log: Log,
    /// No commit beyond this is in the value: where the log ended after its snapshot was taken.
    pub seen: Lsn,
    /// Every relevant commit up to here is in the value: what its tier has applied while it stands
    /// there, or its τ.
    pub upto: Lsn,
}

/// The position at which all of the values are what the database held, if one is known: a snapshot
/// that shows the commits up to there, and no other, shows all of them.
///
/// Positions of two logs can't be compared, so values of two logs never have one.
#[must_use]
pub fn moment(spans: impl IntoIterator<Item = Span>) -> Option<Lsn> {
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
    fn race_16_two_values_that_stand_in_one_tier_may_be_of_two_moments() {
        // The tier has applied 10. The stock was loaded before commit 11, the price after it; its
        // event is on its way, so both stand.
        let (stock, price) = (span(10, 10), span(11, 10));
        assert_eq!(moment([stock, price]), None, "one new, one old");
        assert_eq!(moment([stock, stock]), Some(Lsn(10)));
        // The event has come: the stock is gone, or loaded anew.
        let (stock, price) = (span(12, 12), span(11, 12));
        assert_eq!(moment([stock, price]), Some(Lsn(12)));
    }

    #[test]
    fn positions_of_two_logs_are_of_no_one_moment() {
        let other = Span { log: Log { timeline: 2, ..LOG }, ..span(5, 10) };
        assert_eq!(moment([span(5, 10), other]), None);
        assert_eq!(moment([]), None);
    }

    #[test]
    fn what_nobody_has_looked_at_the_log_for_is_of_no_known_moment() {
        assert_eq!(moment([Span { seen: Lsn::MAX, ..span(0, u64::MAX - 1) }]), None);
    }

    /// A load: its token, which further commits its snapshot shows (one bit each, from the one
    /// after the token on), and by how much the log's end was read too late.
    type Load = (u64, u16, u64);

    proptest! {
        /// Commits 1 to 16 change keys by a mask; loads see everything up to their token and, as
        /// PostgreSQL may make commits visible in another order than it logs them, any of the
        /// later ones. A tier has applied `applied`, and what it fells is gone.
        #[test]
        fn values_of_one_moment_are_what_one_snapshot_shows(
            changes in proptest::collection::vec(0_u8..8, 16),
            loads in proptest::collection::vec((0_u64..17, any::<u16>(), 0_u64..3), 3),
            applied in 0_u64..17,
        ) {
            let touches = |lsn: u64, key: usize| changes[lsn as usize - 1] & (1 << key) != 0;
            let newest = |key: usize, shown: &dyn Fn(u64) -> bool| {
                (1..=16).rev().find(|lsn| touches(*lsn, key) && shown(*lsn)).unwrap_or(0)
            };
            let held = |(key, (tau, more, late)): (usize, Load)| {
                let shows = |lsn: u64| lsn <= tau || more >> (lsn - tau - 1) & 1 == 1;
                let last = (1..=16).rev().find(|lsn| shows(*lsn)).unwrap_or(0);
                let stands = !(tau + 1..=applied).any(|lsn| touches(lsn, key));
                let upto = if stands { applied.max(tau) } else { tau };
                (newest(key, &shows), span(last + late, upto))
            };
            let held: Vec<(u64, Span)> = loads.into_iter().enumerate().map(held).collect();
            if let Some(Lsn(at)) = moment(held.iter().map(|(_, span)| *span)) {
                for (key, (value, _)) in held.iter().enumerate() {
                    prop_assert_eq!(*value, newest(key, &|lsn| lsn <= at), "key {}", key);
                }
            }
        }
    }
}
