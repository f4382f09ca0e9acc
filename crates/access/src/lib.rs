//! Access to the private listeners: hosts and origins, access tokens and their roles, the audit log,
//! the server that keeps slow and unknown senders off, and the form of the interfaces' descriptions.
//!
//! `edge` serves the data API with it and `control` is served with it; neither knows the other.

mod audit_log;
mod caller;
mod certificates;
mod gate;
mod hosts;
mod metrics;
mod object;
pub mod openapi;
mod options;
mod peer;
mod private_file;
mod refusal;
mod rights;
mod server;
mod tokens;

pub use audit_log::{
    Action, Anchor, AuditLog, AuditLogError, ChainReport, Damage, append_once, verify_chain,
};
pub use caller::Caller;
pub use certificates::{CertificateEntry, CertificateName, Certificates};
pub use gate::{Gate, Listener};
pub use hosts::Hosts;
pub use metrics::Metrics;
pub use object::Object;
pub use options::{AccessOptions, AuditLogOptions};
pub use peer::Peer;
pub use refusal::Refusal;
pub use rights::{Reads, Rights, Role};
pub use server::{Body, serve};
pub use tokens::{
    AccessToken, NewToken, TokenEntry, TokenFile, TokenFileError, TokenList, TokenWatch,
};
