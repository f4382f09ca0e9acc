//! The options of TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The checks of a server's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verification {
    /// Only that the server has its key.
    Key,
    /// Also that a trusted authority has signed it.
    Authority,
    /// Also that it is for the name of the host.
    Name,
}

/// The trusted authorities.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Roots {
    /// Those of the operating system.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// The PEM files of a certificate with its chain, and of its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// The names of the options, in a URL or in the configuration, for error messages.
#[derive(Debug, Eq, PartialEq)]
pub struct OptionNames {
    /// The file of trusted authorities.
    pub authorities: &'static str,
    /// The file of the certificate.
    pub certificate: &'static str,
    /// The file of its key.
    pub key: &'static str,
    /// The remedy for a certificate with another name, if the name can't be changed.
    pub any_name: &'static str,
}

/// How connections are encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsOptions {
    /// The names of the options.
    pub names: &'static OptionNames,
    /// The checks of the server's certificate.
    pub verification: Verification,
    /// The trusted authorities.
    pub roots: Roots,
    /// The client certificate, if the server may ask for one.
    pub identity: Option<Identity>,
    /// The protocol that is negotiated by ALPN, if one is.
    pub alpn: Option<&'static [u8]>,
}

/// Shared by the verifiers.
pub(crate) type Provider = Arc<CryptoProvider>;
