//! Live counters of one target.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::report::table::milliseconds;

/// Cache hits by tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Hits {
    /// In the process that responded.
    pub local: u64,
    /// In the store that processes share.
    pub shared: u64,
    /// Whole pages at the edge. A cache that names no tier counts here.
    pub edge: u64,
}

impl Hits {
    /// Returns the hits of all tiers.
    pub fn total(&self) -> u64 {
        self.local + self.shared + self.edge
    }
}

/// Live counters of one target.
pub(crate) struct Tally(Mutex<Counts>);

/// A copy of the counters.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) hits: Hits,
    pub(crate) in_flight: u64,
    pub(crate) worst_bound: Option<StatedBound>,
    /// Microseconds from the planned send time.
    pub(crate) latency: Histogram<u64>,
    /// The first few error messages.
    pub(crate) first_errors: Vec<String>,
}

/// A bound that a response has stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatedBound {
    pub(crate) bound: Duration,
    pub(crate) contract: Option<String>,
    /// The proof that the response names, if it is not the log: `age` or `lease`.
    pub(crate) proof: Option<String>,
}

impl fmt::Display for StatedBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&milliseconds(self.bound.as_secs_f64() * 1000.0))?;
        if let Some(contract) = &self.contract {
            write!(out, ", contract \"{contract}\"")?;
        }
        match self.proof.as_deref() {
            Some("age") => out.write_str(", proven by the page's age alone"),
            Some(proof) => write!(out, ", proven by {proof}"),
            None => Ok(()),
        }
    }
}

const FIRST_ERRORS: usize = 5;
/// The histogram's maximum, in microseconds; longer latencies count as this.
const MAX_LATENCY_US: u64 = 120_000_000;

impl Tally {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_max(MAX_LATENCY_US, 3)
            .expect("3 digits up to two minutes are valid histogram bounds");
        Self(Mutex::new(Counts {
            requests: 0,
            errors: 0,
            hits: Hits::default(),
            in_flight: 0,
            worst_bound: None,
            latency,
            first_errors: Vec::new(),
        }))
    }

    /// Counts a planned request. Returns `false` if `limit` requests are in flight already: the
    /// request is not sent and counts as an error, because a user would have been turned away.
    pub(crate) fn try_begin(&self, limit: u64) -> bool {
        let mut counts = self.0.lock();
        counts.requests += 1;
        if counts.in_flight < limit {
            counts.in_flight += 1;
            return true;
        }
        counts.record_error(&|| format!("{limit} requests are in flight already"));
        false
    }

    pub(crate) fn record_response(&self, latency: Duration, headers: &HeaderMap) {
        let mut counts = self.0.lock();
        counts.in_flight -= 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US);
        counts.latency.saturating_record(micros.max(1));
        let cache = CacheHeaders::parse(headers);
        if cache.hit {
            match cache.tier {
                Some("local") => counts.hits.local += 1,
                Some("shared") => counts.hits.shared += 1,
                _ => counts.hits.edge += 1,
            }
        }
        let worst = counts.worst_bound.as_ref().map(|worst| worst.bound);
        if let Some(bound) = cache.bound.filter(|bound| Some(*bound) > worst) {
            counts.worst_bound = Some(StatedBound {
                bound,
                contract: cache.contract.map(Into::into),
                proof: cache.proof.map(Into::into),
            });
        }
    }

    pub(crate) fn record_failure(&self, reason: &dyn Fn() -> String) {
        let mut counts = self.0.lock();
        counts.in_flight -= 1;
        counts.record_error(reason);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}

impl Counts {
    fn record_error(&mut self, reason: &dyn Fn() -> String) {
        self.errors += 1;
        if self.first_errors.len() < FIRST_ERRORS {
            self.first_errors.push(reason());
        }
    }

    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Provenance of a response according to its headers.
struct CacheHeaders<'a> {
    hit: bool,
    tier: Option<&'a str>,
    bound: Option<Duration>,
    contract: Option<&'a str>,
    proof: Option<&'a str>,
}

impl<'a> CacheHeaders<'a> {
    /// Reads `Cache-Status: name; hit` (RFC 9211) and `Tidegate-Freshness: bound=42, tier=local`.
    fn parse(headers: &'a HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let hit =
            text("cache-status").split(';').skip(1).any(|parameter| parameter.trim() == "hit");
        let mut parsed = Self { hit, tier: None, bound: None, contract: None, proof: None };
        for pair in text("tidegate-freshness").split(',') {
            match pair.trim().split_once('=') {
                Some(("tier", tier)) => parsed.tier = Some(tier.trim_matches('"')),
                Some(("contract", contract)) => parsed.contract = Some(contract.trim_matches('"')),
                Some(("proof", proof)) => parsed.proof = Some(proof),
                Some(("bound", bound)) => {
                    parsed.bound = bound.parse().ok().map(Duration::from_millis);
                }
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tier_and_bound_read_from_headers() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-status", "tidegate; hit; ttl=3".parse().expect("a header"));
        headers.insert(
            "tidegate-freshness",
            "bound=42, tier=shared, contract=\"stock\"".parse().expect("a header"),
        );
        let tally = Tally::new();
        assert!(tally.try_begin(1));
        tally.record_response(Duration::from_millis(2), &headers);
        let counts = tally.counts();
        assert_eq!(counts.hits, Hits { shared: 1, ..Hits::default() });
        let worst = counts.worst_bound.expect("a bound");
        assert_eq!((worst.bound.as_millis(), worst.contract.as_deref()), (42, Some("stock")));
    }

    #[test]
    fn miss_and_excess_request_counted() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-status", "tidegate; fwd=miss".parse().expect("a header"));
        let tally = Tally::new();
        assert!(tally.try_begin(1));
        assert!(!tally.try_begin(1));
        tally.record_response(Duration::from_millis(2), &headers);
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.errors, counts.hits.total()), (2, 1, 0));
    }
}
