//! When a certificate should have been renewed.

use crate::certificate::Validity;

/// The longest time before the end in which a renewal is due, in seconds. Certificates of 90 days are renewed
/// 30 days before their end: two weeks before it, that has failed.
const LONGEST_S: u64 = 14 * 86_400;

/// Whether a certificate should have been renewed at `now_s`: in the last quarter of its time, at most two weeks.
#[must_use]
pub fn renewal_is_due(validity: Validity, now_s: u64) -> bool {
    let whole = validity.until_s.saturating_sub(validity.from_s);
    now_s.saturating_add(LONGEST_S.min(whole / 4)) >= validity.until_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_certificate_warned_about_later() {
        const DAY: u64 = 86_400;
        let lasting = |days: u64| Validity { from_s: 0, until_s: days * DAY };
        for (days, now, due) in [
            (90, 75, false),
            (90, 76, true),
            (90, 200, true),
            (365, 350, false),
            (365, 351, true),
            (8, 5, false),
            (8, 6, true),
            (0, 0, true),
        ] {
            assert_eq!(renewal_is_due(lasting(days), now * DAY), due, "{days} {now}");
        }
    }
}
