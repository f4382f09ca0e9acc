//! The audit log: each action with its caller and address. Each record holds the hash of the one before it, so that a changed,
//! removed or inserted record shows; see [`verify_chain`].

mod append;
mod error;
mod files;
mod log;
mod record;
mod tail;
mod verify;

pub use error::AuditLogError;
pub use log::{AuditLog, append_once};
pub use record::{Action, Anchor};
pub use verify::{ChainReport, Damage, verify_chain};
