//! TLS: certificates and keys in files, verification, and the reasons of failures.
//!
//! A client has [`TlsOptions`]: trusted authorities, its own certificate, the checks of the server's. A
//! [`TlsClient`] connects to one server by them. A server has [`ServerFiles`]; a [`ServerTls`] keeps the
//! configuration that was made of them, and replaces it when they change. A [`Certificate`] has the parts of a
//! certificate that others decide by.
//!
//! This crate knows neither the protocols inside of TLS nor the configuration of a node.

mod certificate;
mod channel_binding;
mod client;
mod der;
mod failure;
mod options;
mod pem;
mod renewal_identifier;
mod server;

pub use self::certificate::{Certificate, Validity};
pub use self::channel_binding::server_end_point;
pub use self::client::{TlsClient, TlsVersion};
pub use self::failure::{TlsFailure, alert_of};
pub use self::options::{Identity, OptionNames, Roots, TlsOptions, Verification};
pub use self::pem::system_authorities;
pub use self::renewal_identifier::RenewalIdentifier;
pub use self::server::{
    ClientTrust, MinVersion, RevocationList, ServerFiles, ServerTls, check_pair, renewal_is_due,
};
