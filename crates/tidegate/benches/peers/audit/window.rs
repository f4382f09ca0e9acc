//! The auditor's counts of a period.

use std::time::Duration;

use cache::audit::{AuditReport, Consistency, TierCounts, failure_bound};

use crate::figure::{Figure, Table};

/// The roles of the nodes, in the order of [`Cluster::nodes`](super::Cluster), with the auditor first
/// as in its report.
const ROLES: [&str; 3] = ["auditor", "leader", "follower"];

pub(super) struct AuditWindow {
    pub(super) report: AuditReport,
    pub(super) took: Duration,
}

impl AuditWindow {
    /// Returns the counts of each node per T, the auditor's own first.
    fn nodes(&self) -> impl Iterator<Item = &Vec<Consistency>> {
        std::iter::once(&self.report.consistency)
            .chain(self.report.peers.iter().map(|peer| &peer.consistency))
    }

    /// Returns the number of checks at which a tier had an answer.
    pub(super) fn effective(&self) -> u64 {
        (0..T.len()).map(|t| self.at(t).answering).sum()
    }

    /// Returns the sum over all nodes and tiers at one T.
    pub(super) fn at(&self, t: usize) -> TierCounts {
        let tiers = self.nodes().flat_map(|node| [node[t].local, node[t].shared]);
        tiers.fold(TierCounts::default(), |sum, tier| TierCounts {
            checks: sum.checks + tier.checks,
            answering: sum.answering + tier.answering,
            stale: sum.stale + tier.stale,
        })
    }

    /// Returns the number of findings beyond the shown bound, and beyond the contract.
    pub(super) fn broken(&self) -> (usize, usize) {
        let findings = &self.report.findings;
        (
            findings.iter().filter(|finding| finding.bound_broken).count(),
            findings.iter().filter(|finding| finding.beyond_contract).count(),
        )
    }

    pub(super) fn progress(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let stale: Vec<String> = (0..T.len())
            .map(|t| format!("{} of {} at {}", self.at(t).stale, self.at(t).answering, T[t]))
            .collect();
        format!(
            "{seconds:.0} s: {} effective checks ({:.0}/s); stale: {}; {} guarantees violated",
            self.effective(),
            self.effective() as f64 / seconds,
            stale.join(", "),
            self.report.broken,
        )
    }

    /// Returns the findings that violate a guarantee, each with its timeline.
    pub(super) fn violations(&self) -> Vec<String> {
        let broken = self.report.findings.iter().filter(|finding| finding.violates_guarantee());
        broken.map(|finding| format!("{finding:#?}")).collect()
    }

    /// Describes the checks that were not made, and why.
    pub(super) fn losses(&self) -> String {
        let AuditReport { met, paced, late, unread, undecided, dropped, found, broken, .. } =
            self.report;
        let unreachable: u64 = self.report.peers.iter().map(|peer| peer.requests.unreachable).sum();
        format!(
            "In {:.0} s {met} invalidations hit an entry, and {} effective checks were made ({:.0}/s). \
             Left out: {paced} by the auditor's pace, {late} checks that came too late for their T, \
             {unread} without an answer of the database or Redis and {unreachable} without one of a node; \
             {undecided} undecided differences, {dropped} events lost. {found} findings, {broken} of \
             them beyond their bound or contract.",
            self.took.as_secs_f64(),
            self.effective(),
            self.effective() as f64 / self.took.as_secs_f64(),
        )
    }

    /// Returns the figures of a run `under` some circumstances, with the number of checks that it should make.
    pub(super) fn figures(&self, wanted: u64, under: &str) -> Vec<Figure> {
        let mut figures = self.guarantees(wanted, under);
        let stale = [1, 2].map(|t| {
            let what = format!("stale answers at T = {}, {under}", T[t]);
            Figure::none(&what, self.at(t).stale, self.at(t).answering)
        });
        figures.splice(1..1, stale);
        figures
    }

    /// Returns the figures whose targets do not depend on how busy the machine is, as those of stale answers do that
    /// show a larger bound.
    pub(super) fn guarantees(&self, wanted: u64, under: &str) -> Vec<Figure> {
        let effective = self.effective();
        let checks = Figure {
            what: format!("effective checks {under}, 3 nodes"),
            measured: effective.to_string(),
            target: format!("at least {wanted}"),
            met: effective >= wanted,
        };
        let what = format!("answers beyond contract or shown bound, {under}");
        vec![checks, Figure::none(&what, self.report.broken, effective)]
    }

    pub(super) fn table(&self) -> Table {
        let mut table =
            Table::new(["T", "node", "tier", "checks", "effective", "stale", "C(T), 95 % bound"]);
        for (t, name) in T.iter().enumerate() {
            for (role, counts) in ROLES.iter().zip(self.nodes()) {
                for (tier, count) in [("in-process", counts[t].local), ("shared", counts[t].shared)]
                {
                    row(&mut table, [name, role, tier], count);
                }
            }
            row(&mut table, [name, "all", "all"], self.at(t));
        }
        table
    }
}

fn row(table: &mut Table, [t, node, tier]: [&str; 3], count: TierCounts) {
    let TierCounts { checks, answering, stale } = count;
    let share = answering.saturating_sub(stale) as f64 / answering.max(1) as f64;
    let least = 1.0 - failure_bound(stale, answering);
    table.row([
        t.into(),
        node.into(),
        tier.into(),
        checks.to_string(),
        answering.to_string(),
        stale.to_string(),
        format!("{:.5} %, at least {:.5} %", share * 100.0, least * 100.0),
    ]);
}

/// The values of T in the report.
pub(super) const T: [&str; 3] = ["0.1 s", "1 s", "10 s"];
