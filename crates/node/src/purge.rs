//! Fenced purges: purge requests travel through the database's own log, so they have a position, pass the
//! same fence as a commit, and reach every node by the same path.

mod invalidator;
mod request;
mod sources;
mod survey_line;

pub use invalidator::LogInvalidator;
pub use request::{
    DryRun, InvalidationError, InvalidationReceipt, InvalidationRequest, SUBJECTS_MAX, TierMatches,
};
pub use sources::{Invalidators, SourceReceipts};
