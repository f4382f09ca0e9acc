//! Admission to the upstream: one gate for page loads, writes and private pages, and budgets of the
//! responses and uploads that clients keep open.

pub(crate) mod budget;
pub(crate) mod page_breakers;
pub(crate) mod upstream_gate;
