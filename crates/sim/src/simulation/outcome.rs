//! The options and the outcome of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::composition::Omitted;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its simulated duration; at least two minutes.
    pub lasts: Duration,
    /// Whether faults are injected.
    pub faults: bool,
    /// The rule to omit, to check that the omission is detected.
    pub without: Omitted,
    /// Whether a second installation, with a database of its own, uses the same shared tier.
    pub rival: bool,
    /// The only kind of fault to inject, by its [name](super::fault_kinds); `None` for all kinds.
    pub only: Option<&'static str>,
    /// Whether to keep a line for each event.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        let lasts = Duration::from_secs(360);
        Self { lasts, faults: true, without: Omitted::None, rival: false, only: None, trace: false }
    }
}

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// A digest of all events: runs with equal digests are equal.
    pub digest: u64,
    /// The number of events.
    pub events: u64,
    /// The simulated time.
    pub simulated: Duration,
    /// The number of faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The number of answers by tier or reason of staleness, and of failed reads by error.
    pub answers: BTreeMap<&'static str, u64>,
    /// The number of commits.
    pub commits: u64,
    /// The number of answers and entries that were checked against history.
    pub checks: u64,
    /// The number of answers that were stale within their bound. A bound that is too small would have
    /// been detected in these.
    pub old: u64,
    /// The first violation, if any.
    pub violation: Option<String>,
    /// The lines of all events, if requested.
    pub lines: Vec<String>,
}

impl Outcome {
    /// Adds the outcome of the second installation of the same run.
    pub(super) fn with_rival(mut self, rival: Self) -> Self {
        self.digest ^= rival.digest.rotate_left(1);
        self.events += rival.events;
        self.simulated = self.simulated.max(rival.simulated);
        self.commits += rival.commits;
        self.checks += rival.checks;
        self.old += rival.old;
        for (sums, counts) in [(&mut self.faults, rival.faults), (&mut self.answers, rival.answers)]
        {
            for (kind, count) in counts {
                *sums.entry(kind).or_default() += count;
            }
        }
        let of_rival = |text: String| format!("second installation: {text}");
        self.violation = self.violation.or(rival.violation.map(of_rival));
        self.lines.extend(rival.lines.into_iter().map(of_rival));
        self
    }
}
