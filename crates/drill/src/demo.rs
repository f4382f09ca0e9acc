//! The demo: a run of one plan against several targets, its baselines and its live view.

mod baselines;
mod live;
mod run;
mod target;
mod view;

pub use baselines::{Baseline, BaselineProxy};
pub use live::{Live, Snapshot, TargetSnapshot};
pub use run::{Demo, Running};
pub use target::{Target, TargetMetrics};
pub use view::{Frame, Link, LiveView};
