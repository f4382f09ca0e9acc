//! An HTTP service as the origin of a contract.
//!
//! A load sends one `GET` per value for all waiters. The response's headers count: a response that
//! may not be shared is not stored, its `Age` adds to the bound, and its `Surrogate-Key` names the
//! tags it depends on. A response that is incomplete, of another media type or too large is
//! an error with any status.

mod origin;
mod response;

pub use self::origin::{HttpOrigin, ServiceError, ServiceMetrics, UNSTORED};
