//! The audit of a sale: the invariants in the database, and its history against the records of clients and of a
//! payment provider.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge::TlsFiles;
use sale::HoldId;
use sale::audit::{
    ClientOptions, Evidence, Exchange, PROMISES, ProviderLedger, check_clients, check_money,
    read_exchanges,
};
use sale::ledger::{Finding, Ledger};
use serde_json::{Value, json};

use crate::http_client::Target;

/// The largest ledger of a provider, in bytes.
const PROVIDER_BYTES_MAX: usize = 1 << 30;
/// The time limit of the provider's answer.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(30);

/// The records that the ledger is compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditEvidence {
    /// Files of clients' requests and answers, JSON lines.
    pub(crate) clients: Vec<PathBuf>,
    /// The files have every request since the first one.
    pub(crate) is_complete: bool,
    /// The most by which clocks of clients and of the database differ.
    pub(crate) tolerance: Duration,
    /// The URL or the file of the provider's ledger.
    pub(crate) provider: Option<String>,
    /// Holds that clients were told of.
    pub(crate) told: Vec<HoldId>,
}

/// The outcome of an audit.
pub(crate) struct Audited {
    pub(crate) findings: Vec<Finding>,
    given: Vec<Evidence>,
}

/// Audits a ledger.
///
/// # Errors
/// The database, a file or the provider can't be read: nothing is known.
pub(crate) async fn audit(
    ledger: &dyn Ledger,
    evidence: &AuditEvidence,
) -> Result<Audited, String> {
    // Records are read first: an effect that they show is in the ledger by then.
    let mut exchanges = Vec::new();
    for file in &evidence.clients {
        exchanges.extend(clients(file)?);
    }
    let failed = |err: sale::ledger::LedgerError| err.to_string();
    let mut given = vec![Evidence::Database];
    let mut findings = Vec::new();
    if let Some(provider) = &evidence.provider {
        let before = ledger.history().await.map_err(failed)?;
        let books = provider_ledger(provider).await?;
        let after = ledger.history().await.map_err(failed)?;
        findings.extend(check_money(&before, &after, &books));
        given.push(Evidence::Provider);
    }
    if !exchanges.is_empty() || !evidence.told.is_empty() {
        let history = ledger.history().await.map_err(failed)?;
        let options =
            ClientOptions { is_complete: evidence.is_complete, tolerance: evidence.tolerance };
        findings.extend(check_clients(&history, &exchanges, options));
        let lost = |hold: &&HoldId| !history.holds.contains_key(&hold.to_string());
        findings.extend(evidence.told.iter().filter(lost).map(missing));
    }
    if !exchanges.is_empty() {
        given.push(Evidence::Clients);
        given.extend(evidence.is_complete.then_some(Evidence::AllClients));
    }
    findings.extend(ledger.audit().await.map_err(failed)?);
    findings.extend(ledger.audit_jobs().await.map_err(failed)?);
    Ok(Audited { findings, given })
}

fn missing(hold: &HoldId) -> Finding {
    Finding {
        invariant: "acknowledged-holds-exist",
        subject: hold.to_string(),
        detail: "a client was told of it".to_owned(),
        repair: "offer the customer the units again: the hold was lost, as with a restored backup or a failover",
    }
}

fn clients(file: &Path) -> Result<Vec<Exchange>, String> {
    let named = |problem: &dyn std::fmt::Display| format!("{}: {problem}", file.display());
    let text = std::fs::read_to_string(file).map_err(|err| named(&err))?;
    read_exchanges(&text).map_err(|err| named(&err))
}

async fn provider_ledger(place: &str) -> Result<ProviderLedger, String> {
    let named = |problem: &dyn std::fmt::Display| format!("{place}: {problem}");
    let Some((server, path)) = server_and_path(place) else {
        let json = std::fs::read(place).map_err(|err| named(&err))?;
        return ProviderLedger::read(&json).map_err(|err| named(&err));
    };
    let target = Target::new(server, &TlsFiles::default()).map_err(|err| named(&err))?;
    let asked = target.get(path, None, PROVIDER_BYTES_MAX);
    let answer = tokio::time::timeout(PROVIDER_TIMEOUT, asked).await;
    let answer = answer.map_err(|_| named(&format!("no answer for {PROVIDER_TIMEOUT:?}")))?;
    let json = answer.map_err(|err| named(&format!("{err:#}")))?;
    ProviderLedger::read(&json).map_err(|err| named(&err))
}

/// Divides a URL; `None`: it is the name of a file. The path of a provider's ledger is `/ledger` by default.
fn server_and_path(place: &str) -> Option<(&str, &str)> {
    let (_, rest) = place.split_once("://")?;
    let host_end = rest.find('/').map_or(place.len(), |at| place.len() - rest.len() + at);
    let (server, path) = place.split_at(host_end);
    Some((server, if matches!(path, "" | "/") { "/ledger" } else { path }))
}

/// The findings of one invariant that a text shows; JSON has all.
const SHOWN: usize = 5;

/// Returns a line for each finding; of many of one invariant, for the first ones, and their number.
pub(crate) fn finding_lines(findings: &[Finding]) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut lines = Vec::new();
    for Finding { invariant, subject, detail, repair } in findings {
        let count = counts.entry(invariant).or_default();
        *count += 1;
        if *count <= SHOWN {
            lines.push(format!("{invariant}: {subject}: {detail}; repair: {repair}"));
        }
    }
    let more = counts.into_iter().filter(|(_, count)| *count > SHOWN);
    lines.extend(more.map(|(invariant, count)| format!("{invariant}: {} more", count - SHOWN)));
    lines
}

impl Audited {
    pub(crate) fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn json(&self) -> Value {
        let promises = PROMISES.iter().map(|promise| {
            let is_given = |evidence: &Evidence| self.given.contains(evidence);
            let named = |is_checked: bool| -> Vec<&str> {
                let checks = promise.checks.iter();
                let checks = checks.filter(|(_, evidence)| is_given(evidence) == is_checked);
                checks.map(|(name, _)| *name).collect()
            };
            json!({
                "number": promise.number, "meaning": promise.meaning, "checked": named(true),
                "not_checked": named(false), "rest": promise.rest,
            })
        });
        json!({
            "verdict": if self.is_good() { "good" } else { "bad" },
            "findings": self.findings,
            "invariants": promises.collect::<Vec<_>>(),
        })
    }

    /// Returns a sentence about the invariants that were checked completely, in part, and not.
    pub(crate) fn coverage(&self) -> String {
        let mut counts = [0; 3];
        for promise in &PROMISES {
            let checked =
                promise.checks.iter().filter(|(_, evidence)| self.given.contains(evidence));
            let kind = match checked.count() {
                0 => 2,
                count if count < promise.checks.len() => 1,
                _ => 0,
            };
            counts[kind] += 1;
        }
        let [all, part, none] = counts;
        let mut text = format!(
            "of {} invariants {all} were checked, {part} in part, {none} not",
            PROMISES.len()
        );
        let wanted = [
            (Evidence::Clients, "--clients"),
            (Evidence::AllClients, "--complete"),
            (Evidence::Provider, "--provider"),
        ];
        let wanted = wanted.iter().filter(|(evidence, _)| !self.given.contains(evidence));
        let wanted: Vec<&str> = wanted.map(|(_, option)| *option).collect();
        if !wanted.is_empty() {
            text.push_str(&format!("; more with {}", wanted.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_of_one_invariant_are_counted() {
        let finding = |invariant: &'static str| Finding {
            invariant,
            subject: "s".to_owned(),
            detail: "d".to_owned(),
            repair: "r",
        };
        let findings = [vec![finding("many"); 7], vec![finding("one")]].concat();
        let lines = finding_lines(&findings);
        assert_eq!(lines[5..], ["one: s: d; repair: r", "many: 2 more"]);
    }

    #[test]
    fn places_of_provider_ledgers() {
        for (place, expected) in [
            ("http://127.0.0.1:1", Some(("http://127.0.0.1:1", "/ledger"))),
            ("http://127.0.0.1:1/", Some(("http://127.0.0.1:1", "/ledger"))),
            ("https://pay/books?all=1", Some(("https://pay", "/books?all=1"))),
            ("books.json", None),
        ] {
            assert_eq!(server_and_path(place), expected, "{place}");
        }
    }
}
