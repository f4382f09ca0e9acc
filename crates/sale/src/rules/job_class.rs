//! Kinds of jobs: priority classes, pauses, depth limits and delays.

use std::time::Duration;

/// A priority class. Each has workers of its own, so that no class waits for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum JobClass {
    /// Confirmations, captures, refunds.
    High,
    /// Stock, notifications.
    Medium,
    /// Analytics, exports.
    Low,
}

impl JobClass {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    /// Returns the word in the configuration, in the API and in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// Returns the class that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }

    /// Returns the longest time that a due job should wait for a worker.
    #[must_use]
    pub const fn goal(self) -> Duration {
        match self {
            Self::High => Duration::from_secs(5),
            Self::Medium => Duration::from_secs(30),
            Self::Low => Duration::from_secs(120),
        }
    }
}

/// The state of a kind. It is in the database, so it survives restarts and holds for all nodes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JobRun {
    /// Jobs are accepted and run.
    Running,
    /// Jobs are accepted and wait.
    Paused,
    /// Jobs are run, and requests for new ones are refused.
    Draining,
}

impl JobRun {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Running, Self::Paused, Self::Draining];

    /// Returns the word in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }

    /// Returns the state that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|run| run.word() == word)
    }
}

/// Returns whether a request for a new job of a class is accepted while `open` jobs of all classes are open. Low classes are
/// refused first: at `depth`, medium ones at four times as many. High ones are always accepted.
#[must_use]
pub fn admits_job(class: JobClass, open: u64, depth: u64) -> bool {
    match class {
        JobClass::High => true,
        JobClass::Medium => open < depth.saturating_mul(4),
        JobClass::Low => open < depth,
    }
}

/// Returns the delay before the attempt that follows a failed one: twice as long after each, with half of it by chance,
/// so that jobs that failed together do not come back together. `chance` is in [0, 1].
#[must_use]
pub fn retry_delay(attempt: u32, first: Duration, longest: Duration, chance: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1).min(31));
    let delay = first.saturating_mul(doubled).min(longest);
    delay.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

/// Returns the words that mark a slot of a schedule: a slot has one job, over all nodes.
#[must_use]
pub fn schedule_slot(every: Duration, now_ms: i64) -> i64 {
    let every_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    now_ms.div_euclid(every_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_jobs_are_refused_first() {
        use JobClass::{High, Low, Medium};
        let admitted = |open| [High, Medium, Low].map(|class| admits_job(class, open, 10));
        assert_eq!(admitted(9), [true, true, true]);
        assert_eq!(admitted(10), [true, true, false]);
        assert_eq!(admitted(40), [true, false, false]);
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let delay = |attempt, chance| retry_delay(attempt, second, second * 60, chance);
        assert_eq!([1, 2, 3].map(|attempt| delay(attempt, 1.0)), [1, 2, 4].map(|n| second * n));
        assert_eq!((delay(40, 1.0), delay(40, 0.0)), (second * 60, second * 30));
    }

    #[test]
    fn slot_lasts_one_interval() {
        let slot = |ms| schedule_slot(Duration::from_secs(60), ms);
        assert_eq!((slot(59_999), slot(60_000), slot(119_999)), (0, 1, 1));
    }
}
