//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Outcome;

/// How many violations are shown; all are counted.
const SHOWN: usize = 10;

/// The sum of many outcomes; the order they are added in does not matter.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many seeds.
    pub seeds: u64,
    /// How much time passed in all worlds together.
    pub simulated: Duration,
    /// Events, see [`Outcome::events`].
    pub events: u64,
    /// Commits written.
    pub commits: u64,
    /// How often an answer or an entry was held against history.
    pub checks: u64,
    /// Answers that were old, by less than they showed.
    pub old: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Answers by tier, by why they are stale, or by why there were none.
    pub answers: BTreeMap<&'static str, u64>,
    /// All digests in one: the same for the same seeds.
    pub digest: u64,
    /// Broken promises, by seed.
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
