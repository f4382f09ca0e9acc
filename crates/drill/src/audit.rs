//! The auditor: compares every sampled response with the ground truth.

mod auditor;
mod budgets;
mod extract;
mod oracle;
mod sample;

pub(crate) use auditor::Auditor;
pub use auditor::Findings;
pub(crate) use budgets::Kind;
pub use budgets::StalenessBudgets;
pub use oracle::{Field, Oracle, Value, Version};
pub(crate) use sample::AuditSample;
