//! Checkouts: begin, resume, and the operations on orders.

mod begin;
mod carts;
mod draft;
mod drive;
mod gifts;
mod operations;
mod payments;
mod reconcile;
mod resume;

pub use self::payments::Payments;
pub use self::reconcile::{Difference, Reconciliation, reconcile};
