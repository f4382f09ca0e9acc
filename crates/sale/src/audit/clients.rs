//! All checks against the records of clients.

use std::time::Duration;

use super::exchange::Exchange;
use super::{acknowledged, keys, sold_out};
use crate::ledger::{Finding, History};

/// The properties of a record of clients.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// It has every request that was sent since its first one.
    pub is_complete: bool,
    /// The most by which clocks of clients and of the database differ, and for which nodes repeat a refusal.
    pub tolerance: Duration,
}

/// Checks the history against the record of clients.
#[must_use]
pub fn check_clients(
    history: &History,
    exchanges: &[Exchange],
    options: ClientOptions,
) -> Vec<Finding> {
    let tolerance_ms = i64::try_from(options.tolerance.as_millis()).unwrap_or(i64::MAX);
    let mut findings = acknowledged::check(history, exchanges);
    findings.extend(keys::check(history, exchanges));
    findings.extend(sold_out::check(history, exchanges, tolerance_ms));
    if options.is_complete {
        findings.extend(acknowledged::check_asked_for(history, exchanges, tolerance_ms));
    }
    findings
}
