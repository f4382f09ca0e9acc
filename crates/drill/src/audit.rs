//! The auditor: compares every answer with what was true.
//!
//! An answer is stale by the time between the moment when the value it shows was replaced and the
//! moment when the request was sent. A value that was current at any time between sending and
//! receiving is not stale. Where a value has been true several times, the latest time counts.

mod facts;

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::now;
use crate::oracle::{Field, Oracle, Value};
use crate::page::Page;

/// How stale each kind of data may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// Prices on product pages and in the API.
    pub price: Duration,
    /// Stock on product pages and in the API.
    pub stock: Duration,
    /// Texts everywhere, and everything on home, category and search pages.
    pub listing: Duration,
    /// Everything in recommendations.
    pub recommended: Duration,
}

impl Default for Contracts {
    fn default() -> Self {
        Self {
            price: Duration::from_secs(1),
            stock: Duration::from_secs(2),
            listing: Duration::from_secs(60),
            recommended: Duration::from_secs(10),
        }
    }
}

impl Contracts {
    fn budget(&self, page: &Page, field: Field) -> Duration {
        let strict = matches!(
            page,
            Page::Product(_) | Page::Price(_) | Page::Stock(_) | Page::ProductJson(_)
        );
        if matches!(page, Page::Recommended(_)) {
            return self.recommended;
        }
        match field {
            Field::Price if strict => self.price,
            Field::Stock if strict => self.stock,
            _ => self.listing,
        }
    }
}

/// One answer on its way to the auditor.
pub(crate) struct Exhibit {
    pub(crate) arm: usize,
    pub(crate) page: Page,
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    pub(crate) body: Bytes,
}

/// What the audit of one arm has found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Answers that showed a price, stock level or name and were compared.
    pub audited: u64,
    /// Of those: answers with at least one value staler than its contract, or never true.
    pub beyond_contract: u64,
    /// Of those: answers with a value that was never true.
    pub wrong: u64,
    /// Answers in which no value was found where one belongs.
    pub unreadable: u64,
    /// The stalest value seen, within its contract or not.
    pub worst: Duration,
    /// The first few violations, in words.
    pub examples: Vec<String>,
}

const EXAMPLES: usize = 5;
/// Answers wait at most this long for a look at the truth.
const SETTLE_EVERY: Duration = Duration::from_millis(50);

/// Judges the answers of all arms against one truth.
pub(crate) struct Auditor {
    oracle: Arc<dyn Oracle>,
    contracts: Contracts,
    findings: Vec<Mutex<Findings>>,
    failure: Mutex<Option<String>>,
}

impl Auditor {
    pub(crate) fn new(oracle: Arc<dyn Oracle>, contracts: Contracts, arms: usize) -> Self {
        let findings = (0..arms).map(|_| Mutex::default()).collect();
        Self { oracle, contracts, findings, failure: Mutex::new(None) }
    }

    pub(crate) fn findings(&self, arm: usize) -> Findings {
        self.findings[arm].lock().clone()
    }

    /// Why the audit is worth nothing, if it is.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Judges until all senders are gone. Every answer of a batch was received before the truth is
    /// settled, so a value that the truth does not know by then was never true.
    pub(crate) fn run(&self, exhibits: &Receiver<Exhibit>) {
        let mut batch = Vec::new();
        let mut open = true;
        while open {
            let due = now() + SETTLE_EVERY;
            loop {
                match exhibits.recv_timeout(due.saturating_duration_since(now())) {
                    Ok(exhibit) => batch.push(exhibit),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        open = false;
                        break;
                    }
                }
            }
            if let Err(error) = self.oracle.settle() {
                self.failure.lock().get_or_insert_with(|| format!("{error:#}"));
            }
            for exhibit in batch.drain(..) {
                self.judge(&exhibit);
            }
        }
    }

    fn judge(&self, exhibit: &Exhibit) {
        let mut seen = Seen::default();
        facts::each(&exhibit.page, &exhibit.body, &mut |product, field, value| {
            seen.facts += 1;
            let budget = self.contracts.budget(&exhibit.page, field);
            match self.staleness(product, field, value, exhibit) {
                Some(staleness) => {
                    seen.worst = seen.worst.max(staleness);
                    if staleness > budget {
                        seen.violation.get_or_insert_with(|| {
                            format!(
                                "{} showed {field} {value} of product {product}, replaced {:.3} s before \
                                 the request (contract {} s)",
                                exhibit.page.path(),
                                staleness.as_secs_f64(),
                                budget.as_secs_f64()
                            )
                        });
                    }
                }
                None => {
                    seen.wrong = true;
                    seen.violation.get_or_insert_with(|| {
                        let mut text = String::new();
                        let _ = write!(
                            text,
                            "{} showed {field} {value} of product {product}, which was never true",
                            exhibit.page.path()
                        );
                        text
                    });
                }
            }
        });
        let mut findings = self.findings[exhibit.arm].lock();
        if seen.facts == 0 {
            findings.unreadable += u64::from(facts::expected(&exhibit.page));
            return;
        }
        findings.audited += 1;
        findings.worst = findings.worst.max(seen.worst);
        findings.wrong += u64::from(seen.wrong);
        if let Some(violation) = seen.violation {
            findings.beyond_contract += 1;
            if findings.examples.len() < EXAMPLES {
                findings.examples.push(violation);
            }
        }
    }

    /// `None` when the value was never true before the answer came.
    fn staleness(
        &self,
        product: u32,
        field: Field,
        shown: Value<'_>,
        exhibit: &Exhibit,
    ) -> Option<Duration> {
        let mut staleness = None;
        self.oracle.versions(product, field, &mut |version| {
            if version.value != shown || version.from > exhibit.received {
                return ControlFlow::Continue(());
            }
            staleness = Some(match version.until {
                Some(until) => exhibit.sent.saturating_duration_since(until),
                None => Duration::ZERO,
            });
            ControlFlow::Break(())
        });
        staleness
    }
}

#[derive(Default)]
struct Seen {
    facts: u32,
    worst: Duration,
    wrong: bool,
    violation: Option<String>,
}

#[cfg(test)]
mod tests;
