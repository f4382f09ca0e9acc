//! TLS to a database: trusted authorities, client certificate, verification, and the reasons of failures.
//!
//! Files are read again for each connection, so that a renewed certificate needs no restart.

mod channel_binding;
mod failure;
mod files;
mod handshake;
mod options;
mod verifier;

pub(crate) use self::channel_binding::server_end_point;
pub(crate) use self::failure::{TlsFailure, alert_of};
pub(crate) use self::files::system_authorities;
pub(crate) use self::options::{Identity, OptionNames, Roots, TlsOptions, Verification};
