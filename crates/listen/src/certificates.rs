//! The certificates of a listener while it runs: read again, measured, warned about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use tls::{Certificate, RevocationList, renewal_is_due};

use crate::rare_log::RareLog;
use crate::security::TlsListener;

/// The least time between two warnings about one certificate, in seconds.
const WARNING_INTERVAL_S: u64 = 86_400;

/// The state of a listener whose certificates are still to be issued.
const NO_CERTIFICATE: &str = "there is no certificate yet, so no connection can be encrypted";

impl TlsListener {
    /// Reads the files again and again; never ends. `now_s`: the seconds since 1970. `report` gets the state for
    /// `/readyz`: whether all is well, and a text.
    pub async fn watch(
        self: Arc<Self>,
        now_s: impl Fn() -> u64 + Send,
        report: impl Fn(bool, String) + Send,
    ) {
        let mut expiry = ExpiryWatch::default();
        let mut expired_log = RareLog::default();
        let server = Arc::clone(&self.server);
        let observe = |server: &tls::ServerTls, failure: Option<String>| {
            let (certificates, now) = (server.certificates(), now_s());
            self.metrics.set_expiry(self.name, &seconds_left(&certificates, now));
            for (label, left_s) in expiry.due(&certificates, now) {
                tracing::warn!(
                    listener = self.name,
                    certificate = label,
                    "{}",
                    describe(&label, left_s) + "; renew it: its files are read while the node runs"
                );
            }
            let none = certificates.is_empty().then(|| NO_CERTIFICATE.to_owned());
            let states = certificates.iter().map(|it| describe(it.label(), left(it, now)));
            let states = none.into_iter().chain(states);
            let lists = server.revocation_lists();
            let expired = expired_lists(&lists, now);
            let states: Vec<String> =
                failure.iter().cloned().chain(states).chain(expired.clone()).collect();
            let is_valid = !certificates.is_empty()
                && certificates.iter().all(|it| left(it, now) > 0)
                && expired.is_none();
            if let Some(problem) = expired
                && let Some(count) = expired_log.due(Instant::now())
            {
                tracing::warn!(listener = self.name, count, "{problem}");
            }
            report(failure.is_none() && is_valid, states.join("; "));
        };
        server.run(observe).await;
    }
}

/// Returns the seconds until the end of a certificate; negative after it.
fn left(certificate: &Certificate, now_s: u64) -> i64 {
    let until = i64::try_from(certificate.validity.until_s).unwrap_or(i64::MAX);
    until.saturating_sub_unsigned(now_s)
}

/// Returns the seconds that are left by label, of the certificate that ends first where several have one.
fn seconds_left(certificates: &[Certificate], now_s: u64) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    for certificate in certificates {
        let left = left(certificate, now_s);
        let least = all.entry(certificate.label().to_owned()).or_insert(left);
        *least = left.min(*least);
    }
    all
}

fn describe(label: &str, left_s: i64) -> String {
    match left_s {
        ..=0 => format!("the certificate {label} has expired"),
        1..=172_800 => format!("the certificate {label} expires in {} hours", left_s / 3_600),
        _ => format!("the certificate {label} expires in {} days", left_s / 86_400),
    }
}

/// Describes the revocation lists whose time has ended; `None`: there is none.
fn expired_lists(lists: &[RevocationList], now_s: u64) -> Option<String> {
    let expired = lists.iter().filter(|list| list.until_s <= now_s).count();
    (expired > 0).then(|| {
        format!(
            "{expired} of {} revocation lists have ended, so the client certificates of their authorities are \
             refused; publish current ones in access.client_crl_file: it is read while the node runs",
            lists.len()
        )
    })
}

/// The state machine of warnings about the end of certificates.
#[derive(Debug, Default)]
struct ExpiryWatch {
    /// The times of the last warnings by certificate.
    warned_s: BTreeMap<String, u64>,
}

impl ExpiryWatch {
    /// Returns the certificates that a warning is due about.
    fn due(&mut self, certificates: &[Certificate], now_s: u64) -> Vec<(String, i64)> {
        let labels: BTreeSet<&str> = certificates.iter().map(Certificate::label).collect();
        self.warned_s.retain(|label, _| labels.contains(label.as_str()));
        let mut due = Vec::new();
        for certificate in certificates {
            let label = certificate.label();
            if !renewal_is_due(certificate.validity, now_s) {
                self.warned_s.remove(label);
                continue;
            }
            let last = self.warned_s.get(label);
            if last.is_none_or(|last| now_s >= last + WARNING_INTERVAL_S) {
                self.warned_s.insert(label.to_owned(), now_s);
                due.push((label.to_owned(), left(certificate, now_s)));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use tls::Validity;

    use super::*;

    fn certificate(name: &str, until_s: u64) -> Certificate {
        let validity = Validity { from_s: 0, until_s };
        let (dns, none) = (vec![name.to_owned()], Vec::new());
        Certificate { common_name: None, dns, uris: none.clone(), emails: none, validity }
    }

    #[test]
    fn one_warning_a_day_until_renewed() {
        const DAY: u64 = 86_400;
        let mut watch = ExpiryWatch::default();
        let old = [certificate("shop", 90 * DAY), certificate("api", 400 * DAY)];
        let mut due = |certificates: &[Certificate], now: u64| -> Vec<String> {
            watch.due(certificates, now).into_iter().map(|(label, _)| label).collect()
        };
        assert!(due(&old, 75 * DAY).is_empty());
        assert_eq!(due(&old, 76 * DAY), ["shop"]);
        assert!(due(&old, 76 * DAY + 1).is_empty());
        assert_eq!(due(&old, 77 * DAY), ["shop"]);
        let renewed = [certificate("shop", 160 * DAY), old[1].clone()];
        assert!(due(&renewed, 78 * DAY).is_empty());
        assert_eq!(due(&old, 78 * DAY), ["shop"], "a restored old one is news");
    }

    #[test]
    fn time_left_described() {
        assert_eq!(describe("a", 0), "the certificate a has expired");
        assert_eq!(describe("a", 7_200), "the certificate a expires in 2 hours");
        assert_eq!(expired_lists(&[RevocationList { until_s: 8 }], 7), None);
        let lists = [RevocationList { until_s: 7 }, RevocationList { until_s: 8 }];
        let expired = expired_lists(&lists, 7).expect("one has ended");
        assert!(expired.starts_with("1 of 2 "), "{expired}");
        assert_eq!(describe("a", 864_000), "the certificate a expires in 10 days");
        let certificates = [certificate("a", 10), certificate("a", 5)];
        assert_eq!(seconds_left(&certificates, 7)["a"], -2, "the first to end");
    }
}
