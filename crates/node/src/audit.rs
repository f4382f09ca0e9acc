//! The auditor's loop: reads tiers, other nodes and the database as [`cache::audit`] schedules it.

mod metrics;
mod options;
mod peers;
mod run;
mod tap;

pub use options::AuditOptions;
pub use peers::{PeerClient, PeerError};
pub use run::{AuditLoop, AuditTarget};
pub use tap::AnswerSampler;
