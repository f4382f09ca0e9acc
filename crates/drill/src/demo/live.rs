//! The live state of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::target::{Target, TargetMetrics};
use crate::audit::{Auditor, Findings, Kind};
use crate::clock::now;
use crate::load::Hits;
use crate::load::open_loop::WriteCounts;
use crate::load::tally::{Counts, Tally};
use crate::report::{Latency, Quantiles, RunReport, TargetFigures, TargetReport};

/// The live state of a run, shared with its observers.
pub struct Live {
    pub(super) targets: Vec<Target>,
    pub(super) tallies: Arc<Vec<Tally>>,
    pub(super) auditor: Arc<Auditor>,
    pub(super) writes: Arc<WriteCounts>,
    pub(super) unaudited: Arc<AtomicU64>,
    pub(super) origin_at_start: Vec<u64>,
    pub(super) started: Instant,
    pub(super) send_limit: Option<Duration>,
}

/// The state of a run at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Time since the start of the run.
    pub elapsed: Duration,
    /// Time during which events are sent; `None` without an end.
    pub planned: Option<Duration>,
    /// Writes committed.
    pub writes: u64,
    /// The staleness that values of each kind may have.
    pub(crate) budgets: [Duration; Kind::ALL.len()],
    /// The state of each target, in the order of the demo.
    pub targets: Vec<TargetSnapshot>,
}

/// The state of a target at one time. Counts are since the start.
#[derive(Debug, Clone)]
pub struct TargetSnapshot {
    /// Display name.
    pub title: String,
    /// Requests that were due.
    pub requests: u64,
    /// Requests without a response of status 200 in time.
    pub errors: u64,
    /// Responses.
    pub answers: u64,
    /// Cache hits.
    pub hits: Hits,
    /// Requests that reached the application.
    pub origin_requests: u64,
    /// Median latency, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the latency, in milliseconds.
    pub p99_ms: f64,
    /// Responses audited.
    pub audited: u64,
    /// Audited responses with a value staler than its contract.
    pub stale: u64,
    /// The highest staleness of the values of each kind that was compared.
    pub(crate) worst_by_kind: [Option<Duration>; Kind::ALL.len()],
    /// Metrics that the target reports about itself.
    pub metrics: Option<TargetMetrics>,
}

impl Live {
    /// Returns the current state of the run.
    pub fn snapshot(&self) -> Snapshot {
        let targets = (0..self.targets.len()).map(|index| {
            let (counts, findings) = (self.tallies[index].counts(), self.auditor.findings(index));
            TargetSnapshot {
                title: self.targets[index].title.clone(),
                requests: counts.requests,
                errors: counts.errors,
                answers: counts.latency.len(),
                hits: counts.hits,
                origin_requests: self.origin_requests(index),
                p50_ms: counts.latency_ms(0.5),
                p99_ms: counts.latency_ms(0.99),
                audited: findings.audited,
                stale: findings.beyond_contract,
                worst_by_kind: findings.worst_by_kind,
                metrics: self.metrics(index, &counts),
            }
        });
        Snapshot {
            elapsed: now().saturating_duration_since(self.started),
            planned: self.send_limit,
            writes: self.writes.committed.load(Ordering::Relaxed),
            budgets: Kind::ALL.map(|kind| self.auditor.budget(kind)),
            targets: targets.collect(),
        }
    }

    fn origin_requests(&self, index: usize) -> u64 {
        (self.targets[index].origin_requests)().saturating_sub(self.origin_at_start[index])
    }

    /// Returns the target's metrics, with the highest bound that its responses have stated.
    fn metrics(&self, index: usize, counts: &Counts) -> Option<TargetMetrics> {
        let mut metrics = self.targets[index].metrics.as_ref().map(|metrics| metrics());
        if let Some(stated) = &counts.worst_bound {
            let bound = stated.bound.as_secs_f64() * 1000.0;
            let metrics = metrics.get_or_insert_default();
            let worst = metrics.worst_bound_ms.map_or(bound, |reported| reported.max(bound));
            metrics.worst_bound_ms = Some(worst);
        }
        metrics
    }

    pub(super) fn report(&self, elapsed: Duration, notes: Vec<String>) -> RunReport {
        let targets = self.targets.iter().enumerate().map(|(index, target)| {
            let findings = self.auditor.findings(index);
            let counts = self.tallies[index].counts();
            TargetReport {
                key: target.key.clone(),
                title: target.title.clone(),
                figures: self.figures(index, &counts, &findings),
                wrong: findings.wrong,
                examples: findings.examples,
                worst_bound: counts.worst_bound.map(|stated| stated.to_string()),
                first_errors: counts.first_errors,
            }
        });
        let refused = &self.writes.refused;
        let failed = &self.writes.failed;
        RunReport {
            targets: targets.collect(),
            seconds: elapsed.as_secs_f64(),
            writes: self.writes.committed.load(Ordering::Relaxed),
            writes_refused: refused.load(Ordering::Relaxed) + failed.load(Ordering::Relaxed),
            unaudited: self.unaudited.load(Ordering::Relaxed),
            audit_failure: self.auditor.failure(),
            notes,
        }
    }

    fn figures(&self, index: usize, counts: &Counts, findings: &Findings) -> TargetFigures {
        let metrics = self.metrics(index, counts).unwrap_or_default();
        let answers = counts.latency.len();
        TargetFigures {
            requests: counts.requests,
            // A request without a response is an error, even if the run ended first.
            errors: counts.errors + counts.in_flight,
            hit_rate: counts.hits.total() as f64 / answers.max(1) as f64,
            hits: counts.hits,
            origin_requests: self.origin_requests(index),
            latency_ms: Latency {
                mean: counts.latency.mean() / 1000.0,
                p50: counts.latency_ms(0.5),
                p99: counts.latency_ms(0.99),
            },
            invalidations: metrics.invalidations,
            commit_to_gone_ms: Quantiles {
                p50: metrics.commit_to_gone_ms.map(|(p50, _)| p50),
                p99: metrics.commit_to_gone_ms.map(|(_, p99)| p99),
            },
            audited: findings.audited,
            stale_beyond_contract: findings.beyond_contract,
            worst_staleness_ms: findings.worst_staleness.as_secs_f64() * 1000.0,
            worst_bound_ms: metrics.worst_bound_ms,
        }
    }
}
