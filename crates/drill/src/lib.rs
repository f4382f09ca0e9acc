//! Drills: planned load against several systems at the same time, and an auditor that compares
//! their responses with the database's history.
//!
//! A drill is a black-box test. It speaks HTTP and reads only the responses that any client can
//! read; the ground truth comes from an [`Oracle`], and a [`Writer`] commits the writes.
//!
//! The stages of a run: a [`plan`] schedules requests and writes; [`Demo::start`] sends the
//! requests to every [`Target`] in an open loop and commits each write once; the auditor checks
//! the responses; [`Running::finish`] returns the [`RunReport`].
//!
//! A [`provider`] is a payment provider with faults and a ledger of its own.
//!
//! [`buyers`] press buttons twice, in many tabs and again later, and keep a record of their requests and answers.
//!
//! A [`FaultProxy`] puts faults between a system under test and a server that it depends on.

mod audit;
pub mod buyers;
mod clock;
mod demo;
mod fault;
mod load;
mod page;
pub mod provider;
mod report;

pub use audit::{Field, Findings, Oracle, StalenessBudgets, Value, Version};
pub use demo::{
    Baseline, BaselineProxy, Demo, Frame, Link, Live, LiveView, Running, Snapshot, Target,
    TargetMetrics, TargetSnapshot,
};
pub use fault::{Fault, FaultProxy};
pub use load::{Hits, Writer, measure_capacity, plan, warm};
pub use page::Page;
pub use report::{
    Latency, Quantiles, RunReport, RushFigures, RushReport, StormReport, TargetFigures,
    TargetReport,
};
