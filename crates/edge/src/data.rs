//! The data API: `GET /data/{contract}/{id}` returns one value under its contract,
//! `GET /data/batch?get={contract}/{id}&get=…` returns several.
//!
//! With `Tidegate-After: <token>`, the response includes every commit up to the token.
//!
//! The data API belongs on a private address beside the application: it does not authorise
//! requests.

mod api;
mod batch;
mod error;
mod inspect;
mod openapi;
mod serve;
mod value;

pub use self::api::{DataApi, Sampler, ServedContract, ServedSource};
pub use self::inspect::{InspectError, Inspected};
