//! The admin API: health, metrics, status, the journal of invalidations, purge requests and posted events.
//!
//! No answer needs this crate: with its listener down, the gateway and the data API still work.

mod admin;
pub mod api;
mod body;
mod events;
mod inspect;
mod problem;
mod webhook;

pub use admin::{Admin, AdminSource, PageAuditSource};
pub use api::{router, serve};
pub use body::BodySlots;
pub use events::{EventEndpoint, EventError, EventSink};
pub use inspect::{InspectQuery, InvalidQuery, TierInspector};
pub use webhook::WebhookSecret;
