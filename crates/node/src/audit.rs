//! The auditor's loop: reads tiers, other nodes and the database as [`cache::audit`] schedules it.

mod metrics;
mod peers;
mod run;
mod tap;

pub use peers::{PeerClient, PeerError};
pub use run::{AuditLoop, AuditOptions, AuditTarget};
pub use tap::AnswerSampler;
