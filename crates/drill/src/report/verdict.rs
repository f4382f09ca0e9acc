//! The verdict on a run.

use std::fmt;

use super::figures::TargetReport;
use super::table::grouped;

/// Fewer audited responses support no verdict.
const MIN_AUDITED: u64 = 100;
/// With more than this share of its requests unanswered, the first target shows how the machine
/// fails and not how the target does.
const MAX_ERROR_SHARE: f64 = 0.01;

/// The verdict on the first target of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// No audited response was staler than its contract.
    Kept,
    /// At least one was.
    Broken,
    /// Too many requests had no response in time.
    Overloaded,
    /// Too few responses were audited.
    TooFewAudited,
    /// The auditor could not read the history.
    Unaudited(String),
}

impl Verdict {
    /// Returns the verdict on a target; `audit_failure`: the error that makes the audit void. A stale response counts
    /// in any case.
    pub(super) fn of(target: Option<&TargetReport>, audit_failure: Option<&str>) -> Self {
        let figures = target.map(|target| target.figures.clone()).unwrap_or_default();
        if let Some(failure) = audit_failure {
            Self::Unaudited(failure.to_owned())
        } else if figures.stale_beyond_contract > 0 {
            Self::Broken
        } else if figures.errors as f64 > figures.requests as f64 * MAX_ERROR_SHARE {
            Self::Overloaded
        } else if figures.audited < MIN_AUDITED {
            Self::TooFewAudited
        } else {
            Self::Kept
        }
    }

    /// Writes the verdict on a target as a sentence without its end.
    pub(super) fn write(&self, target: &TargetReport, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, figures) = (&target.title, &target.figures);
        match self {
            Self::Kept => write!(
                out,
                "{title} kept every contract in {} audited answers",
                grouped(figures.audited)
            ),
            Self::Broken => write!(
                out,
                "{title} broke its contract in {} of {} audited answers",
                grouped(figures.stale_beyond_contract),
                grouped(figures.audited)
            ),
            Self::Overloaded => write!(
                out,
                "none. The machine was overloaded: {} of {} requests to {title} had no answer in \
                 time. Run it again while the machine is idle, or with a lower --rate",
                grouped(figures.errors),
                grouped(figures.requests)
            ),
            Self::TooFewAudited => write!(
                out,
                "none. Only {} answers of {title} were audited, and a verdict needs {MIN_AUDITED}. \
                 Run it for longer, or with a higher --rate",
                grouped(figures.audited)
            ),
            Self::Unaudited(failure) => {
                write!(out, "none. The auditor could not read the database's history: {failure}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TargetFigures;

    fn target(
        requests: u64,
        errors: u64,
        audited: u64,
        stale_beyond_contract: u64,
    ) -> TargetReport {
        let figures = TargetFigures {
            requests,
            errors,
            audited,
            stale_beyond_contract,
            ..TargetFigures::default()
        };
        TargetReport { figures, ..TargetReport::default() }
    }

    fn verdict(target: &TargetReport) -> Verdict {
        Verdict::of(Some(target), None)
    }

    #[test]
    fn unanswered_requests_leave_no_verdict() {
        assert_eq!(verdict(&target(1_000, 780, 220, 0)), Verdict::Overloaded);
        assert_eq!(verdict(&target(1_000, 10, 900, 0)), Verdict::Kept);
    }

    #[test]
    fn one_audited_answer_leaves_no_verdict() {
        assert_eq!(verdict(&target(1, 0, 1, 0)), Verdict::TooFewAudited);
        assert_eq!(verdict(&target(0, 0, 0, 0)), Verdict::TooFewAudited);
        assert_eq!(Verdict::of(None, None), Verdict::TooFewAudited);
    }

    #[test]
    fn stale_answer_counts_on_overloaded_machine() {
        assert_eq!(verdict(&target(1_000, 780, 220, 1)), Verdict::Broken);
    }
}
