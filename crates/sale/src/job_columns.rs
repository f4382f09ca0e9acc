//! Columns of jobs that both databases have.

use crate::ledger::LedgerError;
use crate::rules::{AttemptEnd, AttemptOutcome, JobClass, JobRun};

pub(crate) fn parse_class(word: &str) -> Result<JobClass, LedgerError> {
    JobClass::parse(word).ok_or_else(|| LedgerError::Unreadable(format!("the class {word:?}")))
}

pub(crate) fn parse_run(word: &str) -> Result<JobRun, LedgerError> {
    let other = || LedgerError::Unreadable(format!("the state {word:?} of a kind of jobs"));
    JobRun::parse(word).ok_or_else(other)
}

pub(crate) fn parse_end(word: &str) -> Result<AttemptEnd, LedgerError> {
    let other = || LedgerError::Unreadable(format!("the end {word:?} of an attempt"));
    AttemptEnd::parse(word).ok_or_else(other)
}

/// Returns the word and the delay of an outcome in a call of `end_jobs`.
pub(crate) fn outcome_columns(outcome: AttemptOutcome) -> (&'static str, i64) {
    match outcome {
        AttemptOutcome::Done => ("done", 0),
        AttemptOutcome::Failed { delay_ms } => ("fail", delay_ms),
        AttemptOutcome::Hopeless => ("dead", 0),
        AttemptOutcome::Released => ("released", 0),
    }
}
