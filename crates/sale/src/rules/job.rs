//! The life of a job: attempts under leases, one after the other, until it is done, dead or expired.
//!
//! An attempt has one lease, so its number is the fencing token: a worker that lost its lease holds an old number.

use super::rule::{Rule, on};

/// A job.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct JobState {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The attempts that are left, this one included.
    pub attempts_left: u32,
    /// From this time on, an attempt is not started; ms since 1970.
    pub expires_ms: Option<i64>,
    /// The state of the attempt.
    pub phase: JobPhase,
}

/// The state of an attempt. Times are in ms since 1970 by the database's clock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JobPhase {
    /// It waits for a worker.
    Waiting {
        /// It is not started before this time.
        due_ms: i64,
    },
    /// A worker has the lease.
    Leased {
        /// The lease ends at this time.
        until_ms: i64,
    },
    /// The job has ended.
    Ended(JobEnd),
}

/// The end of a job.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum JobEnd {
    /// It succeeded.
    Done,
    /// Its attempts are used up, or it can't succeed. It waits for a replay.
    Dead,
    /// Its time to live was over before an attempt started.
    Expired,
}

/// An input.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JobInput {
    /// A worker asks for work.
    Lease {
        /// The length of the lease, in ms.
        lease_ms: i64,
        /// Jobs of this kind are paused.
        paused: bool,
    },
    /// A worker asks for more time.
    Extend {
        /// The attempt of the worker.
        attempt: u32,
        /// The length of the lease from now on, in ms.
        lease_ms: i64,
    },
    /// A worker reports the outcome of its attempt.
    Report {
        /// The attempt of the worker.
        attempt: u32,
        /// The outcome.
        outcome: AttemptOutcome,
    },
    /// A node finds that the lease is over.
    Recover,
    /// An operator replays a dead job.
    Replay {
        /// The attempts that it gets.
        attempts: u32,
    },
}

/// The outcome of an attempt, as its worker reports it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AttemptOutcome {
    /// It succeeded.
    Done,
    /// It failed. The next one starts after a delay, in ms.
    Failed {
        /// The delay.
        delay_ms: i64,
    },
    /// It failed, and another attempt would fail, too.
    Hopeless,
    /// It was given back before it was started. It does not count.
    Released,
}

/// The record of an attempt's end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AttemptEnd {
    /// The job is done.
    Done,
    /// The attempt failed, and there is a next one.
    Retry,
    /// The lease ended without an outcome, and there is a next attempt.
    Lost,
    /// The attempt was given back, and there is a next one.
    Released,
    /// The job is dead.
    Dead,
    /// The job expired.
    Expired,
}

impl AttemptEnd {
    /// All ends.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Retry, Self::Lost, Self::Released, Self::Dead, Self::Expired];

    /// Returns the word in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::Lost => "lost",
            Self::Released => "released",
            Self::Dead => "dead",
            Self::Expired => "expired",
        }
    }

    /// Returns the end that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.word() == word)
    }
}

/// The work that a step requires.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JobEffect {
    /// The worker runs the attempt.
    Run,
    /// The lease has a new end.
    Extend,
    /// The attempt has ended.
    End(AttemptEnd),
    /// The job waits again.
    Wait,
}

/// Why nothing changes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum JobRefusal {
    /// The attempt is not due.
    NotDue,
    /// Jobs of this kind are paused.
    Paused,
    /// Another worker has the attempt, or the job has ended.
    NotWaiting,
    /// The worker does not have the lease.
    LeaseLost,
    /// The lease is not over.
    NotOver,
    /// The job is not dead.
    NotDead,
}

/// Changes a job at `now_ms`.
///
/// # Errors
/// [`JobRefusal`].
pub fn step_job(
    job: JobState,
    input: JobInput,
    now_ms: i64,
) -> Result<(JobState, JobEffect), JobRefusal> {
    match input {
        JobInput::Lease { lease_ms, paused } => lease(job, lease_ms, paused, now_ms),
        JobInput::Extend { attempt, lease_ms } => {
            let until_ms = leased(job, attempt)?;
            if now_ms >= until_ms && on(Rule::LeaseExtendedInTime) {
                return Err(JobRefusal::LeaseLost);
            }
            let phase = JobPhase::Leased { until_ms: until_ms.max(now_ms + lease_ms) };
            Ok((JobState { phase, ..job }, JobEffect::Extend))
        }
        JobInput::Report { attempt, outcome } => {
            leased(job, attempt)?;
            Ok(end(job, outcome, now_ms))
        }
        JobInput::Recover => match job.phase {
            JobPhase::Leased { until_ms } if now_ms >= until_ms || !on(Rule::LeaseRunsOut) => {
                let (next, effect) = end(job, AttemptOutcome::Failed { delay_ms: 0 }, now_ms);
                let is_retry = effect == JobEffect::End(AttemptEnd::Retry);
                Ok((next, if is_retry { JobEffect::End(AttemptEnd::Lost) } else { effect }))
            }
            _ => Err(JobRefusal::NotOver),
        },
        JobInput::Replay { attempts } => match job.phase {
            JobPhase::Ended(JobEnd::Dead) => {
                let phase = JobPhase::Waiting { due_ms: now_ms };
                let attempt = job.attempt + 1;
                Ok((JobState { attempt, attempts_left: attempts, phase, ..job }, JobEffect::Wait))
            }
            _ => Err(JobRefusal::NotDead),
        },
    }
}

fn lease(
    job: JobState,
    lease_ms: i64,
    paused: bool,
    now_ms: i64,
) -> Result<(JobState, JobEffect), JobRefusal> {
    if paused && on(Rule::PausedNotRun) {
        return Err(JobRefusal::Paused);
    }
    let due_ms = match job.phase {
        JobPhase::Waiting { due_ms } => due_ms,
        JobPhase::Leased { .. } if !on(Rule::OneLeasePerAttempt) => now_ms,
        _ => return Err(JobRefusal::NotWaiting),
    };
    if due_ms > now_ms && on(Rule::DueBeforeRun) {
        return Err(JobRefusal::NotDue);
    }
    if job.expires_ms.is_some_and(|expires| expires <= now_ms) && on(Rule::ExpiredNotRun) {
        let phase = JobPhase::Ended(JobEnd::Expired);
        return Ok((JobState { phase, ..job }, JobEffect::End(AttemptEnd::Expired)));
    }
    let phase = JobPhase::Leased { until_ms: now_ms + lease_ms };
    Ok((JobState { phase, ..job }, JobEffect::Run))
}

/// Returns the end of the lease, if the worker of an attempt has it.
fn leased(job: JobState, attempt: u32) -> Result<i64, JobRefusal> {
    match job.phase {
        JobPhase::Leased { until_ms } if attempt == job.attempt || !on(Rule::FencedByAttempt) => {
            Ok(until_ms)
        }
        _ => Err(JobRefusal::LeaseLost),
    }
}

fn end(job: JobState, outcome: AttemptOutcome, now_ms: i64) -> (JobState, JobEffect) {
    let left = job.attempts_left.saturating_sub(1);
    let ended = |end| JobState { phase: JobPhase::Ended(end), ..job };
    let next = |attempts_left, delay_ms: i64| JobState {
        attempt: job.attempt + 1,
        attempts_left,
        phase: JobPhase::Waiting { due_ms: now_ms + delay_ms },
        ..job
    };
    let (next, end) = match outcome {
        AttemptOutcome::Done => (ended(JobEnd::Done), AttemptEnd::Done),
        AttemptOutcome::Released => (next(job.attempts_left, 0), AttemptEnd::Released),
        AttemptOutcome::Failed { delay_ms } if left > 0 || !on(Rule::AttemptsBounded) => {
            (next(left, delay_ms), AttemptEnd::Retry)
        }
        AttemptOutcome::Failed { .. } | AttemptOutcome::Hopeless => {
            (ended(JobEnd::Dead), AttemptEnd::Dead)
        }
    };
    (next, JobEffect::End(end))
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
