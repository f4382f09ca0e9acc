//! Drills: planned load against several systems at the same time, and an auditor that compares
//! their answers with what was true.
//!
//! A drill is a black box test. It speaks HTTP and reads what any client could read; the truth
//! comes in through [`Oracle`], writes go out through [`Writer`].
//!
//! The life of a run: a [`plan`] says what happens when; [`Demo::start`] sends it to every
//! [`Arm`] in an open loop and commits its writes once; the auditor judges each answer;
//! [`Running::finish`] gives the [`Report`].

mod arm;
mod audit;
mod client;
mod clock;
mod demo;
mod load;
mod oracle;
mod page;
pub mod plan;
mod report;
mod rivals;
mod tally;
mod view;
mod warm;

pub use arm::{Arm, Inside};
pub use audit::{Contracts, Findings};
pub use demo::{ArmSnapshot, Demo, Live, Running, Snapshot};
pub use oracle::{Field, Oracle, Value, Version, Writer};
pub use page::Page;
pub use report::{ArmReport, ArmResult, Latency, Quantiles, Report, StormReport};
pub use rivals::{Rival, RivalProxy};
pub use tally::Hits;
pub use view::{Address, Frame, View};
pub use warm::warm;
