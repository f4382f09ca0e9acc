//! Metrics of the auditor.

use std::sync::atomic::AtomicU64;

use cache::audit::{AuditReport, Consistency, PeerReport, PeerRequests, TierCounts};
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
struct ByNodeTier {
    node: String,
    tier: &'static str,
    after: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByNode {
    node: String,
    after: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByNodeResult {
    node: String,
    result: &'static str,
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
    stored: Family<ByResult, Counter>,
    skipped: Family<ByResult, Counter>,
    sticky: Counter,
    broken: Counter,
    peer_looks: Family<ByNodeResult, Counter>,
    peer_checks: Family<ByNodeTier, Counter>,
    peer_stale: Family<ByNodeTier, Counter>,
    peer_consistency: Family<ByNode, Gauge<f64, AtomicU64>>,
    peer_samples: Family<ByNodeResult, Counter>,
}

impl AuditMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            checks: Family::default(),
            stale: Family::default(),
            consistency: Family::default(),
            samples: Family::default(),
            stored: Family::default(),
            skipped: Family::default(),
            sticky: Counter::default(),
            broken: Counter::default(),
            peer_looks: Family::default(),
            peer_checks: Family::default(),
            peer_stale: Family::default(),
            peer_consistency: Family::default(),
            peer_samples: Family::default(),
        };
        let m = &metrics;
        registry.register(
            "tidegate_audit_checks",
            "Checks of a tier, by seconds after a commit that invalidated an entry",
            m.checks.clone(),
        );
        registry.register(
            "tidegate_audit_stale",
            "Checks that found a tier older than the database",
            m.stale.clone(),
        );
        registry.register(
            "tidegate_audit_consistency_ratio",
            "C(T): share of invalidations after which no tier was older; NaN before the first check",
            m.consistency.clone(),
        );
        registry.register(
            "tidegate_audit_samples",
            "Answers to clients that were compared with the database, by result",
            m.samples.clone(),
        );
        registry.register(
            "tidegate_audit_stored",
            "Stored entries that were compared with the database in turn, by result",
            m.stored.clone(),
        );
        registry.register(
            "tidegate_audit_skipped",
            "Checks that were not made, by reason",
            m.skipped.clone(),
        );
        registry.register(
            "tidegate_audit_sticky",
            "Stale entries that were still stored after a minute",
            m.sticky.clone(),
        );
        registry.register(
            "tidegate_audit_broken",
            "Findings beyond the contract or beyond the shown bound",
            m.broken.clone(),
        );
        registry.register(
            "tidegate_audit_peer_looks",
            "Requests to another node, by result",
            m.peer_looks.clone(),
        );
        registry.register(
            "tidegate_audit_peer_checks",
            "Checks of another node's tier, by seconds after a commit that invalidated an entry here",
            m.peer_checks.clone(),
        );
        registry.register(
            "tidegate_audit_peer_stale",
            "Checks that found another node's tier older than the database",
            m.peer_stale.clone(),
        );
        registry.register(
            "tidegate_audit_peer_consistency_ratio",
            "C(T) of another node; NaN before the first check",
            m.peer_consistency.clone(),
        );
        registry.register(
            "tidegate_audit_peer_samples",
            "Answers of another node that were compared with the database, by result",
            m.peer_samples.clone(),
        );
        metrics
    }

    /// Sets all metrics to the auditor's counts.
    pub(super) fn update(&self, counts: &AuditReport) {
        for consistency in &counts.consistency {
            let after = consistency.seconds.to_string();
            for (tier, TierCounts { checks, stale, .. }) in
                [("local", consistency.local), ("shared", consistency.shared)]
            {
                let label = ByTier { tier, after: after.clone() };
                raise_to(&self.checks.get_or_create(&label), checks);
                raise_to(&self.stale.get_or_create(&label), stale);
            }
            self.consistency.get_or_create(&ByAfter { after }).set(ratio(consistency));
        }
        for (family, counts) in [(&self.samples, &counts.samples), (&self.stored, &counts.stored)] {
            for (result, count) in [("agreed", counts.agreed), ("stale", counts.stale)] {
                raise_to(&family.get_or_create(&ByResult { result }), count);
            }
        }
        for (result, count) in [
            ("paced", counts.paced),
            ("late", counts.late),
            ("unread", counts.unread),
            ("undecided", counts.undecided),
            ("dropped", counts.dropped),
        ] {
            raise_to(&self.skipped.get_or_create(&ByResult { result }), count);
        }
        counts.peers.iter().for_each(|peer| self.update_peer(peer));
        raise_to(&self.sticky, counts.sticky);
        raise_to(&self.broken, counts.broken);
    }

    fn update_peer(&self, peer: &PeerReport) {
        let node = || peer.node.clone();
        for consistency in &peer.consistency {
            let after = consistency.seconds.to_string();
            for (tier, TierCounts { checks, stale, .. }) in
                [("local", consistency.local), ("shared", consistency.shared)]
            {
                let label = ByNodeTier { node: node(), tier, after: after.clone() };
                raise_to(&self.peer_checks.get_or_create(&label), checks);
                raise_to(&self.peer_stale.get_or_create(&label), stale);
            }
            let label = ByNode { node: node(), after };
            self.peer_consistency.get_or_create(&label).set(ratio(consistency));
        }
        let PeerRequests { answered, unreachable, malformed, skipped } = peer.requests;
        for (result, count) in [
            ("answered", answered),
            ("unreachable", unreachable),
            ("rubbish", malformed),
            ("resting", skipped),
        ] {
            raise_to(&self.peer_looks.get_or_create(&ByNodeResult { node: node(), result }), count);
        }
        for (result, count) in [("agreed", peer.samples.agreed), ("stale", peer.samples.stale)] {
            raise_to(
                &self.peer_samples.get_or_create(&ByNodeResult { node: node(), result }),
                count,
            );
        }
    }
}

fn ratio(consistency: &Consistency) -> f64 {
    let Consistency { checked, stale, .. } = consistency;
    checked.saturating_sub(*stale) as f64 / *checked as f64
}

fn raise_to(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
