//! Checkouts through HTTP, with a payment provider that is a process of its own, keeps its own ledger, and fails on
//! request. Every test ends with the audit and with `tidegate sale reconcile`.

mod api;
mod batches;
mod carts;
mod faults;
mod gifts;
mod proof;
pub(super) mod rehearsal;
mod webhooks;
