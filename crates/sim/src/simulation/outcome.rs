//! The options and the outcome of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use coherence::Rule;

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its simulated duration; at least two minutes.
    pub lasts: Duration,
    /// Whether faults are injected.
    pub faults: bool,
    /// The rule of `coherence` to omit, to check that the omission is detected.
    pub without: Option<Rule>,
    /// The only kind of fault to inject, by its [name](super::fault_kinds); `None` for all kinds.
    pub only: Option<&'static str>,
    /// Whether to keep a line for each event.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        let lasts = Duration::from_secs(360);
        Self { lasts, faults: true, without: None, only: None, trace: false }
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
