//! Contracts as types that can't be wrong: the rules of one contract, the set of all contracts, the
//! arithmetic of time, and the residency of data.

pub(crate) mod contract;
pub(crate) mod contracts;
pub mod freshness;
pub(crate) mod residency;
pub(crate) mod service;
