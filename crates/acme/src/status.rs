//! The state of a domain's certificate, for `/readyz`.

use tls::{Validity, renewal_is_due};

use crate::schedule::Attempts;

/// The state of a domain's certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DomainStatus {
    pub(crate) is_ok: bool,
    pub(crate) text: String,
}

impl DomainStatus {
    /// Describes a domain with this certificate and these attempts. A failed renewal is a fault when the certificate
    /// should have been renewed for some time.
    pub(crate) fn of(
        domain: &str,
        present: Option<Validity>,
        attempts: &Attempts,
        next_s: u64,
        now_s: u64,
    ) -> Self {
        let is_ok = present.is_some_and(|validity| !renewal_is_due(validity, now_s));
        let state = match present {
            None => "no certificate yet".to_owned(),
            Some(validity) if validity.until_s <= now_s => "expired".to_owned(),
            Some(validity) => format!("valid for {}", span(validity.until_s - now_s)),
        };
        let last =
            attempts.last.as_ref().map(|last| format!(", the last attempt failed: {}", last.text));
        let last = last.unwrap_or_default();
        let next = span(next_s.saturating_sub(now_s));
        Self { is_ok, text: format!("{domain}: {state}{last} (next attempt in {next})") }
    }

    pub(crate) fn unreadable(domain: &str, problem: &str) -> Self {
        Self { is_ok: false, text: format!("{domain}: {problem}") }
    }

    pub(crate) fn busy(domain: &str, present: Option<Validity>, now_s: u64) -> Self {
        let is_ok = present.is_some_and(|validity| validity.until_s > now_s);
        Self { is_ok, text: format!("{domain}: a node is getting a certificate") }
    }
}

/// Describes a span without more detail than its size needs, so that the text seldom changes.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => "two minutes or less".to_owned(),
        120..=7_199 => format!("{} minutes", seconds / 60),
        7_200..=172_799 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{FailureKind, LastFailure};

    const DAY: u64 = 86_400;

    #[test]
    fn failing_renewal_becomes_a_fault_before_the_end() {
        let validity = Validity { from_s: 0, until_s: 90 * DAY };
        let last = LastFailure {
            kind: FailureKind::Refused,
            code: "caa".to_owned(),
            text: "caa: forbidden".to_owned(),
        };
        let failing = Attempts::default().failed(61 * DAY, last, None);
        let at =
            |now_s| DomainStatus::of("a.example", Some(validity), &failing, now_s + DAY, now_s);
        assert!(at(61 * DAY).is_ok);
        assert!(
            at(61 * DAY)
                .text
                .contains("valid for 29 days, the last attempt failed: caa: forbidden")
        );
        assert!(!at(77 * DAY).is_ok);
        assert!(at(91 * DAY).text.contains("expired"));
        let none = DomainStatus::of("a.example", None, &Attempts::default(), 0, DAY);
        assert!(!none.is_ok && none.text.contains("no certificate yet"));
    }
}
