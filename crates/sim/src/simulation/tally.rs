//! The sum of many outcomes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Outcome;

/// The number of violations that are printed; all are counted.
const SHOWN: usize = 10;

/// The sum of many outcomes; the sequence in which they are added does not matter.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The number of seeds.
    pub seeds: u64,
    /// The simulated time of all runs.
    pub simulated: Duration,
    /// The number of events, see [`Outcome::events`].
    pub events: u64,
    /// The number of commits.
    pub commits: u64,
    /// The number of answers and entries that were checked against history.
    pub checks: u64,
    /// The number of answers that were stale within their bound.
    pub old: u64,
    /// The number of faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of answers by tier or reason of staleness, and of failed reads by error.
    pub answers: BTreeMap<&'static str, u64>,
    /// The sum of all digests: the same for the same seeds.
    pub digest: u64,
    /// The violations, by seed.
    pub violations: BTreeMap<u64, String>,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.simulated += outcome.simulated;
        self.events += outcome.events;
        self.commits += outcome.commits;
        self.checks += outcome.checks;
        self.old += outcome.old;
        self.digest = self.digest.wrapping_add(outcome.digest);
        for (sums, counts) in
            [(&mut self.faults, &outcome.faults), (&mut self.answers, &outcome.answers)]
        {
            for (kind, count) in counts {
                *sums.entry(kind).or_default() += count;
            }
        }
        if let Some(violation) = &outcome.violation {
            self.violations.insert(outcome.seed, violation.clone());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs_f64() / 3_600.0;
        writeln!(
            f,
            "{} seeds, {hours:.1} simulated hours, {} commits, {} events, {} checks, {} \
             answers old within their bound, digest {:016x}",
            self.seeds, self.commits, self.events, self.checks, self.old, self.digest
        )?;
        for (name, counts) in [("faults", &self.faults), ("answers", &self.answers)] {
            writeln!(f, "{name}: {}", counts.values().sum::<u64>())?;
            for (kind, count) in counts {
                writeln!(f, "  {count:>12}  {kind}")?;
            }
        }
        for (seed, violation) in self.violations.iter().take(SHOWN) {
            writeln!(f, "seed {seed}: {violation}")?;
        }
        write!(f, "violations: {}", self.violations.len())
    }
}
