//! What an arm did, counted while it does it.

use std::time::Duration;

use hdrhistogram::Histogram;
use http::HeaderMap;
use parking_lot::Mutex;

/// Answers from caches, by the tier that had them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Hits {
    /// In the process that answered.
    pub local: u64,
    /// In the store that processes share.
    pub shared: u64,
    /// Whole pages at the edge. A cache that names no tier counts here.
    pub edge: u64,
}

impl Hits {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.local + self.shared + self.edge
    }
}

/// Live counts of one arm.
pub(crate) struct Tally(Mutex<Counts>);

/// A copy of the counts at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) hits: Hits,
    pub(crate) in_flight: u64,
    pub(crate) worst_bound: Option<Duration>,
    /// Microseconds from the planned send time.
    pub(crate) latency: Histogram<u64>,
    /// The first few errors, in words.
    pub(crate) first_errors: Vec<String>,
}

const FIRST_ERRORS: usize = 5;
/// Longest latency told apart; beyond it everything counts as this.
const LONGEST_US: u64 = 120_000_000;

impl Tally {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_max(LONGEST_US, 3)
            .expect("3 digits up to two minutes is a histogram");
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

    /// Counts a planned request. `false` when `limit` others still wait for their answers: it is
    /// not sent then and counts as an error, because a shopper would have been turned away.
    pub(crate) fn begin(&self, limit: u64) -> bool {
        let mut counts = self.0.lock();
        counts.requests += 1;
        if counts.in_flight < limit {
            counts.in_flight += 1;
            return true;
        }
        counts.failed(&|| format!("{limit} requests are waiting already"));
        false
    }

    pub(crate) fn answered(&self, latency: Duration, headers: &HeaderMap) {
        let mut counts = self.0.lock();
        counts.in_flight -= 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        counts.latency.saturating_record(micros.max(1));
        let freshness = Freshness::of(headers);
        if freshness.hit {
            match freshness.tier {
                Some("local") => counts.hits.local += 1,
                Some("shared") => counts.hits.shared += 1,
                _ => counts.hits.edge += 1,
            }
        }
        counts.worst_bound = counts.worst_bound.max(freshness.bound);
    }

    pub(crate) fn failed(&self, reason: &dyn Fn() -> String) {
        let mut counts = self.0.lock();
        counts.in_flight -= 1;
        counts.failed(reason);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}

impl Counts {
    fn failed(&mut self, reason: &dyn Fn() -> String) {
        self.errors += 1;
        if self.first_errors.len() < FIRST_ERRORS {
            self.first_errors.push(reason());
        }
    }

    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// What the headers of an answer say about where it came from.
struct Freshness<'a> {
    hit: bool,
    tier: Option<&'a str>,
    bound: Option<Duration>,
}

impl<'a> Freshness<'a> {
    /// `Cache-Status: name; hit` (RFC 9211) and `Tidegate-Freshness: bound=42, tier=local`.
    fn of(headers: &'a HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let hit =
            text("cache-status").split(';').skip(1).any(|parameter| parameter.trim() == "hit");
        let mut freshness = Self { hit, tier: None, bound: None };
        for pair in text("tidegate-freshness").split(',') {
            match pair.trim().split_once('=') {
                Some(("tier", tier)) => freshness.tier = Some(tier.trim_matches('"')),
                Some(("bound", bound)) => {
                    freshness.bound = bound.parse().ok().map(Duration::from_millis);
                }
                _ => {}
            }
        }
        freshness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_tier_and_the_bound() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-status", "tidegate; hit; ttl=3".parse().expect("a header"));
        headers.insert(
            "tidegate-freshness",
            "bound=42, tier=shared, contract=\"stock\"".parse().expect("a header"),
        );
        let tally = Tally::new();
        assert!(tally.begin(1));
        tally.answered(Duration::from_millis(2), &headers);
        let counts = tally.counts();
        assert_eq!(counts.hits, Hits { shared: 1, ..Hits::default() });
        assert_eq!(counts.worst_bound, Some(Duration::from_millis(42)));
    }

    #[test]
    fn a_miss_is_no_hit_and_a_full_house_is_an_error() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-status", "tidegate; fwd=miss".parse().expect("a header"));
        let tally = Tally::new();
        assert!(tally.begin(1));
        assert!(!tally.begin(1));
        tally.answered(Duration::from_millis(2), &headers);
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.errors, counts.hits.total()), (2, 1, 0));
    }
}
