//! Computes the staleness of each response.
//!
//! The staleness of a value is the time between its replacement and the moment when the request was
//! sent. A value that was current at any time between sending and receiving is not stale. If a
//! value has been current several times, the latest time counts.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use parking_lot::Mutex;

use super::budgets::{Kind, StalenessBudgets};
use super::extract;
use super::oracle::{Field, Oracle, Value};
use super::sample::AuditSample;
use crate::clock::now;

/// The audit's findings about one target.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Responses that showed a price, stock level or name and were compared.
    pub audited: u64,
    /// Audited responses with at least one value staler than its contract, or never committed.
    pub beyond_contract: u64,
    /// Audited responses with a value that was never committed.
    pub wrong: u64,
    /// Responses without a value on a page that must show one.
    pub unreadable: u64,
    /// The highest staleness of any value, within its contract or not.
    pub worst_staleness: Duration,
    /// The highest staleness of the values of each kind that was compared.
    pub(crate) worst_by_kind: [Option<Duration>; Kind::ALL.len()],
    /// Descriptions of the first few violations.
    pub examples: Vec<String>,
}

const EXAMPLES: usize = 5;
/// The longest time that a sample waits before the auditor reads the history.
const CATCH_UP_EVERY: Duration = Duration::from_millis(50);

/// Checks the responses of all targets against one oracle.
pub(crate) struct Auditor {
    oracle: Arc<dyn Oracle>,
    budgets: StalenessBudgets,
    findings: Vec<Mutex<Findings>>,
    failure: Mutex<Option<String>>,
}

impl Auditor {
    pub(crate) fn new(oracle: Arc<dyn Oracle>, budgets: StalenessBudgets, targets: usize) -> Self {
        let findings = (0..targets).map(|_| Mutex::default()).collect();
        Self { oracle, budgets, findings, failure: Mutex::new(None) }
    }

    pub(crate) fn findings(&self, target: usize) -> Findings {
        self.findings[target].lock().clone()
    }

    /// Returns the staleness that values of `kind` may have.
    pub(crate) fn budget(&self, kind: Kind) -> Duration {
        self.budgets.of(kind)
    }

    /// Returns the error that makes the audit void, if one occurred.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Audits samples until all senders are dropped. The history is read after every response of a
    /// batch was received, so a value that is not in the history was never committed.
    pub(crate) fn run(&self, samples: &Receiver<AuditSample>) {
        let mut batch = Vec::new();
        let mut open = true;
        while open {
            let due = now() + CATCH_UP_EVERY;
            loop {
                match samples.recv_timeout(due.saturating_duration_since(now())) {
                    Ok(sample) => batch.push(sample),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        open = false;
                        break;
                    }
                }
            }
            if let Err(error) = self.oracle.catch_up() {
                self.failure.lock().get_or_insert_with(|| format!("{error:#}"));
            }
            for sample in batch.drain(..) {
                self.audit(&sample);
            }
        }
    }

    fn audit(&self, sample: &AuditSample) {
        let mut result = SampleResult::default();
        extract::each_value(&sample.page, &sample.body, &mut |product, field, value| {
            result.values += 1;
            let kind = Kind::of(&sample.page, field);
            let budget = self.budgets.of(kind);
            match self.staleness(product, field, value, sample) {
                Some(staleness) => {
                    let worst = &mut result.worst_by_kind[kind as usize];
                    *worst = (*worst).max(Some(staleness));
                    if staleness > budget {
                        result.violation.get_or_insert_with(|| {
                            format!(
                                "{} showed {field} {value} of product {product}, replaced {:.3} s before \
                                 the request (contract {} s)",
                                sample.page.path(),
                                staleness.as_secs_f64(),
                                budget.as_secs_f64()
                            )
                        });
                    }
                }
                None => {
                    result.wrong = true;
                    result.violation.get_or_insert_with(|| {
                        format!(
                            "{} showed {field} {value} of product {product}, which was never committed",
                            sample.page.path()
                        )
                    });
                }
            }
        });
        let mut findings = self.findings[sample.target].lock();
        if result.values == 0 {
            findings.unreadable += u64::from(extract::must_show_value(&sample.page));
            return;
        }
        findings.audited += 1;
        for (worst, staleness) in findings.worst_by_kind.iter_mut().zip(result.worst_by_kind) {
            *worst = (*worst).max(staleness);
        }
        let worst = result.worst_by_kind.into_iter().flatten().max().unwrap_or_default();
        findings.worst_staleness = findings.worst_staleness.max(worst);
        findings.wrong += u64::from(result.wrong);
        if let Some(violation) = result.violation {
            findings.beyond_contract += 1;
            if findings.examples.len() < EXAMPLES {
                findings.examples.push(violation);
            }
        }
    }

    /// Returns the staleness of `shown`; `None` if it was never committed before the response
    /// arrived.
    fn staleness(
        &self,
        product: u32,
        field: Field,
        shown: Value<'_>,
        sample: &AuditSample,
    ) -> Option<Duration> {
        let mut staleness = None;
        self.oracle.versions(product, field, &mut |version| {
            if version.value != shown || version.from > sample.received {
                return ControlFlow::Continue(());
            }
            staleness = Some(match version.until {
                Some(until) => sample.sent.saturating_duration_since(until),
                None => Duration::ZERO,
            });
            ControlFlow::Break(())
        });
        staleness
    }
}

/// The result for all values of one sample.
#[derive(Default)]
struct SampleResult {
    values: u32,
    worst_by_kind: [Option<Duration>; Kind::ALL.len()],
    wrong: bool,
    violation: Option<String>,
}

#[cfg(test)]
mod tests;
