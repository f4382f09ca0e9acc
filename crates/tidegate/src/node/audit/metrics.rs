//! What the auditor counts.

use std::sync::atomic::AtomicU64;

use cache::audit::{Report, TierCount};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByTier {
    tier: &'static str,
    after: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByAfter {
    after: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByResult {
    result: &'static str,
}

pub(super) struct AuditMetrics {
    checks: Family<ByTier, Counter>,
    stale: Family<ByTier, Counter>,
    consistency: Family<ByAfter, Gauge<f64, AtomicU64>>,
    samples: Family<ByResult, Counter>,
    skipped: Family<ByResult, Counter>,
    sticky: Counter,
    broken: Counter,
}

impl AuditMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            checks: Family::default(),
            stale: Family::default(),
            consistency: Family::default(),
            samples: Family::default(),
            skipped: Family::default(),
            sticky: Counter::default(),
            broken: Counter::default(),
        };
        let m = &metrics;
        registry.register(
            "tidegate_audit_checks",
            "Looks at a tier, so many seconds after a commit that met a copy",
            m.checks.clone(),
        );
        registry.register(
            "tidegate_audit_stale",
            "Looks that found a tier older than the database",
            m.stale.clone(),
        );
        registry.register(
            "tidegate_audit_consistency_ratio",
            "C(T): share of invalidations after which no tier was older; NaN before the first",
            m.consistency.clone(),
        );
        registry.register(
            "tidegate_audit_samples",
            "Answers that clients got, compared with the database",
            m.samples.clone(),
        );
        registry.register(
            "tidegate_audit_skipped",
            "What could not be checked, by reason",
            m.skipped.clone(),
        );
        registry.register(
            "tidegate_audit_sticky",
            "Stale entries that were still there after a minute",
            m.sticky.clone(),
        );
        registry.register(
            "tidegate_audit_broken",
            "Findings beyond the contract or beyond the bound that was shown",
            m.broken.clone(),
        );
        metrics
    }

    /// Brings everything to what the auditor has counted.
    pub(super) fn show(&self, counts: &Report) {
        for after in &counts.after {
            let t = after.seconds.to_string();
            for (tier, TierCount { checks, stale, .. }) in
                [("local", after.local), ("shared", after.shared)]
            {
                let label = ByTier { tier, after: t.clone() };
                raise(&self.checks.get_or_create(&label), checks);
                raise(&self.stale.get_or_create(&label), stale);
            }
            let share = after.checked.saturating_sub(after.stale) as f64 / after.checked as f64;
            self.consistency.get_or_create(&ByAfter { after: t }).set(share);
        }
        let samples = &counts.samples;
        for (result, count) in [("agreed", samples.agreed), ("stale", samples.stale)] {
            raise(&self.samples.get_or_create(&ByResult { result }), count);
        }
        for (result, count) in [
            ("paced", counts.paced),
            ("late", counts.late),
            ("unread", counts.unread),
            ("undecided", counts.undecided),
            ("dropped", counts.dropped),
        ] {
            raise(&self.skipped.get_or_create(&ByResult { result }), count);
        }
        raise(&self.sticky, counts.sticky);
        raise(&self.broken, counts.broken);
    }
}

fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
