//! Admission to the upstream: one gate for page loads, writes and private pages.

pub(crate) mod upstream_gate;
