//! Certificates by ACME (RFC 8555): they are issued and renewed by a certificate authority, which checks that the domain
//! is this shop's.
//!
//! A [`CertificateKeeper`] keeps one certificate for each domain in a folder. All nodes of a shop may share the folder:
//! one of them at a time is in contact with the authority, and all of them answer its checks and serve the result. The
//! listener reads the certificates like any other file.
//!
//! This crate opens no connections: it has a [`Transport`]. It decides by `schedule` alone when the authority is
//! called.

mod account;
mod authority;
mod challenges;
mod client;
mod failure;
mod issue;
mod keeper;
mod metrics;
mod options;
mod schedule;
mod status;
mod storage;
mod suggestion;

pub use self::client::{Transport, TransportError};
pub use self::keeper::CertificateKeeper;
pub use self::metrics::AcmeMetrics;
pub use self::options::{AcmeOptions, ChallengeKind, ExternalAccount, LETS_ENCRYPT};
