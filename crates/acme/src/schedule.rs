//! When the authority is called: a pure state machine.

use serde::{Deserialize, Serialize};
use tls::Validity;

/// A certificate is renewed when this part of its life is left.
const RENEWED_PART: u64 = 3;

/// Renewals are spread over this part of the life before that, so that certificates of one day are not renewed at one
/// time.
const SPREAD_PART: u64 = 30;

/// The authority may suggest a later time, up to this part of the life before its end.
const LAST_PART: u64 = 10;

/// The pauses after failures, in seconds: the first, and the longest. Each is twice as long as the one before.
const UNREACHABLE_S: (u64, u64) = (5, 3_600);
/// Authorities count failed checks and refused orders: Let's Encrypt allows five an hour.
const REFUSED_S: (u64, u64) = (900, 43_200);
/// Where the authority limits without naming a time.
const LIMITED_S: (u64, u64) = (3_600, 86_400);

/// The longest pause that an authority can ask for.
const ASKED_PAUSE_MAX_S: u64 = 7 * 86_400;

/// Why an attempt has failed, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// The authority was not reached, had an error of its own, or takes longer. It has counted nothing.
    Unreachable,
    /// The authority has refused something.
    Refused,
    /// The authority limits the rate.
    Limited,
}

/// A time that the authority suggests for the renewal (RFC 9773), in seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SuggestedWindow {
    pub(crate) start_s: u64,
    pub(crate) end_s: u64,
}

/// The attempts for one domain, as all nodes know them: a restart does not begin again.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Attempts {
    /// The failures of the last kind, one after the other.
    pub(crate) failures: u32,
    /// The time before which there is no attempt, in seconds since 1970.
    pub(crate) not_before_s: u64,
    /// The last failure; `None`: the last attempt has succeeded.
    pub(crate) last: Option<LastFailure>,
}

/// The last failure of the attempts for one domain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct LastFailure {
    pub(crate) kind: FailureKind,
    /// The authority's name for the problem, or ours.
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Attempts {
    /// Returns the attempts after a failure at `now_s`. `asked_s`: the pause that the authority asks for.
    pub(crate) fn failed(&self, now_s: u64, failure: LastFailure, asked_s: Option<u64>) -> Self {
        let (first, longest) = match failure.kind {
            FailureKind::Unreachable => UNREACHABLE_S,
            FailureKind::Refused => REFUSED_S,
            FailureKind::Limited => LIMITED_S,
        };
        let is_again = self.last.as_ref().is_some_and(|last| last.kind == failure.kind);
        let failures = if is_again { self.failures.saturating_add(1) } else { 1 };
        let pause = first.saturating_mul(1 << (failures - 1).min(32)).min(longest);
        let asked = asked_s.unwrap_or(0).min(ASKED_PAUSE_MAX_S);
        let not_before_s = now_s.saturating_add(pause.max(asked));
        Self { failures, not_before_s, last: Some(failure) }
    }

    /// Returns the attempts after a certificate with this validity was issued at `now_s`. A part of its life passes before
    /// the next one, also if the authority suggests a time that has passed.
    pub(crate) fn succeeded(now_s: u64, validity: Validity) -> Self {
        let pause = validity.until_s.saturating_sub(now_s) / RENEWED_PART;
        Self { not_before_s: now_s.saturating_add(pause), ..Self::default() }
    }
}

/// Returns the time of the next attempt, in seconds since 1970. `present`: of the present certificate. `share`: the place
/// of this certificate among others, from 0 to 1.
pub(crate) fn next_attempt_s(
    present: Option<Validity>,
    suggested: Option<SuggestedWindow>,
    share: f64,
    attempts: &Attempts,
) -> u64 {
    let due = present.map_or(0, |validity| renewal_s(validity, suggested, share));
    due.max(attempts.not_before_s)
}

fn renewal_s(validity: Validity, suggested: Option<SuggestedWindow>, share: f64) -> u64 {
    let life = validity.until_s.saturating_sub(validity.from_s);
    let before_end = |part: u64| validity.until_s.saturating_sub(life / part);
    let part_of = |seconds: u64| (seconds as f64 * share.clamp(0.0, 1.0)) as u64;
    match suggested {
        None => before_end(RENEWED_PART).saturating_sub(part_of(life / SPREAD_PART)),
        Some(SuggestedWindow { start_s, end_s }) => {
            let time = start_s.saturating_add(part_of(end_s.saturating_sub(start_s)));
            time.min(before_end(LAST_PART))
        }
    }
}

/// Returns the place of a certificate among others, from 0 to 1. All nodes get the same.
pub(crate) fn share_of(domain: &str, validity: Option<Validity>) -> f64 {
    let until = validity.map_or(0, |validity| validity.until_s).to_be_bytes();
    let digest = contract::fnv1a(domain.bytes().chain(until));
    (digest >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const LIFE: Validity = Validity { from_s: 100 * DAY, until_s: 190 * DAY };

    fn due(suggested: Option<(u64, u64)>, share: f64) -> u64 {
        let suggested = suggested.map(|(start_s, end_s)| SuggestedWindow { start_s, end_s });
        next_attempt_s(Some(LIFE), suggested, share, &Attempts::default())
    }

    #[test]
    fn renewed_with_a_third_of_the_life_left() {
        assert_eq!(due(None, 0.0), 160 * DAY);
        assert_eq!(due(None, 1.0), 157 * DAY);
        assert_eq!(next_attempt_s(None, None, 0.5, &Attempts::default()), 0, "no certificate");
        let short = Validity { from_s: 0, until_s: 30 };
        assert_eq!(next_attempt_s(Some(short), None, 0.0, &Attempts::default()), 20);
    }

    #[test]
    fn suggested_window_decides_within_the_life() {
        assert_eq!(due(Some((110 * DAY, 120 * DAY)), 0.5), 115 * DAY);
        assert_eq!(due(Some((0, DAY)), 1.0), DAY, "a revocation is ahead: at once");
        assert_eq!(due(Some((500 * DAY, 600 * DAY)), 0.5), 181 * DAY, "before its end");
        assert_eq!(due(Some((120 * DAY, 110 * DAY)), 0.5), 120 * DAY, "a window without length");
        let issued = Attempts::succeeded(100 * DAY, LIFE);
        let window = SuggestedWindow { start_s: 0, end_s: DAY };
        assert_eq!(next_attempt_s(Some(LIFE), Some(window), 0.5, &issued), 130 * DAY);
    }

    fn failure(kind: FailureKind) -> LastFailure {
        LastFailure { kind, code: "a".to_owned(), text: "b".to_owned() }
    }

    #[test]
    fn pauses_grow_with_failures_of_one_kind() {
        let pauses = |kind, asked| {
            let (mut attempts, mut pauses) = (Attempts::default(), Vec::new());
            for _ in 0..20 {
                attempts = attempts.failed(1_000, failure(kind), asked);
                pauses.push(attempts.not_before_s - 1_000);
            }
            (pauses[0], pauses[1], pauses[19])
        };
        assert_eq!(pauses(FailureKind::Unreachable, None), (5, 10, 3_600));
        assert_eq!(pauses(FailureKind::Refused, None), (900, 1_800, 43_200));
        assert_eq!(pauses(FailureKind::Limited, Some(7_200)), (7_200, 7_200, 86_400));
        assert_eq!(pauses(FailureKind::Limited, Some(u64::MAX)).0, 7 * DAY);
        let refused = Attempts::default().failed(0, failure(FailureKind::Refused), None);
        let other = refused.failed(0, failure(FailureKind::Unreachable), None);
        assert_eq!((other.failures, other.not_before_s), (1, 5), "another kind begins again");
    }

    /// At most five failed checks an hour, which is the limit of Let's Encrypt.
    #[test]
    fn refusals_stay_below_limits_of_authorities() {
        let (mut attempts, mut now, mut times) = (Attempts::default(), 0, Vec::new());
        while now < 10 * DAY {
            times.push(now);
            attempts = attempts.failed(now, failure(FailureKind::Refused), None);
            now = attempts.not_before_s;
        }
        let in_an_hour =
            |at: &u64| times.iter().filter(|time| (*at..at + 3_600).contains(*time)).count();
        assert!(times.iter().all(|at| in_an_hour(at) <= 5), "{times:?}");
    }

    #[test]
    fn certificates_have_different_places() {
        let shares: Vec<f64> =
            (0..100).map(|number| share_of(&format!("{number}.example"), Some(LIFE))).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        let low = shares.iter().filter(|share| **share < 0.5).count();
        assert!((25..75).contains(&low), "{low}");
    }
}
