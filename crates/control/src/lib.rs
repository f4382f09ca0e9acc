//! The admin API: health, metrics, status, the journal of invalidations, purge requests and posted events.
//!
//! No answer needs this crate: with its listener down, the gateway and the data API still work.

mod admin;
pub mod api;
mod events;
mod inspect;
mod listener;
mod problem;
mod webhook;

pub use admin::{Admin, PageAuditSource};
pub use api::{router, serve};
pub use events::{EventEndpoint, EventError, EventSink};
pub use inspect::{InspectQuery, InvalidQuery, TierInspector};
pub use webhook::WebhookSecret;
