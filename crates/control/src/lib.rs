//! The admin API: health, metrics, status, the journal of invalidations, purge requests and posted events.
//!
//! No answer needs this crate: with its listener down, the gateway and the data API still work.

mod admin;
pub mod api;
mod body;
mod events;
mod inspect;
mod problem;
mod reload;
mod webhook;

pub use admin::{Admin, AdminSource, ConfigurationSource, PageAuditSource};
pub use api::{Routes, router, serve};
pub use body::BodySlots;
pub use events::{EventEndpoint, EventError, EventSink};
pub use inspect::{InspectQuery, InvalidQuery, TierInspector};
pub use reload::{ConfigReloader, ConfigurationStatus, DifferingNode, ReloadError, Reloaded};
pub use webhook::WebhookSecret;
