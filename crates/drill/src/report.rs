//! Reports of a run, as JSON with fixed keys for programs and as text for people.

mod figures;
mod run;
mod rush;
mod storm;
pub(crate) mod table;
mod verdict;

pub use figures::{Latency, Quantiles, TargetFigures, TargetReport};
pub use run::RunReport;
pub use rush::{RushFigures, RushReport};
pub use storm::StormReport;
