//! The options of TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The checks of a server's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verification {
    /// Only that the server has its key.
    Key,
    /// Also that a trusted authority has signed it.
    Authority,
    /// Also that it is for the name of the host.
    Name,
}

/// The trusted authorities.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Roots {
    /// Those of the operating system.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// The PEM files of a client certificate with its chain, and of its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The names of a URL's options, for error messages.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct OptionNames {
    pub(crate) authorities: &'static str,
    pub(crate) certificate: &'static str,
    pub(crate) key: &'static str,
    /// The remedy for a certificate with another name, if the name can't be changed.
    pub(crate) any_name: &'static str,
}

/// How connections are encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TlsOptions {
    pub(crate) names: &'static OptionNames,
    pub(crate) verification: Verification,
    pub(crate) roots: Roots,
    pub(crate) identity: Option<Identity>,
    /// The protocol that is negotiated by ALPN, if one is.
    pub(crate) alpn: Option<&'static [u8]>,
}

/// Shared by the verifiers.
pub(super) type Provider = Arc<CryptoProvider>;
