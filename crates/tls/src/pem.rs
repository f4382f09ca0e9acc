//! Certificates and keys in files.

use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::failure::TlsFailure;
use crate::options::{Identity, OptionNames, Roots};

/// The content of a file, which may be a private key: it is never printed.
#[derive(Default, Eq, PartialEq)]
pub(crate) struct Content(pub(crate) Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The certificates of trusted authorities; at least one.
pub(crate) struct Authorities(pub(crate) Vec<CertificateDer<'static>>);

impl Authorities {
    pub(crate) fn read(roots: &Roots, names: &OptionNames) -> Result<Self, TlsFailure> {
        let option = names.authorities;
        let certificates = match roots {
            Roots::System => system_authorities(),
            Roots::File(path) => read_certificates(option, path)?,
        };
        if certificates.is_empty() {
            let remedy = format!(
                "install ca-certificates, or name the authority's certificate in {option}=FILE"
            );
            return Err(TlsFailure::misconfigured(
                "this machine has no trusted authorities",
                remedy,
            ));
        }
        Ok(Self(certificates))
    }
}

/// Returns the authorities of the operating system, which are read once: there are more than a hundred.
#[must_use]
pub fn system_authorities() -> Vec<CertificateDer<'static>> {
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs).clone()
}

impl Identity {
    /// Reads the certificate with its chain, and the key.
    pub(crate) fn read(
        &self,
        names: &OptionNames,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsFailure> {
        let chain = read_certificates(names.certificate, &self.certificate)?;
        let pem = read_pem(names.key, &self.key)?;
        Ok((chain, parse_key(names.key, &self.key, &pem)?))
    }
}

fn read_certificates(
    option: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    parse_certificates(option, path, &read_pem(option, path)?)
}

/// Parses the certificates in the content of a file; at least one.
pub(crate) fn parse_certificates(
    option: &str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    let invalid = |problem: String| {
        let problem = format!("{option} = {}: {problem}", path.display());
        TlsFailure::misconfigured(problem, "name a PEM file (`-----BEGIN CERTIFICATE-----`)")
    };
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid("has no certificate".to_owned())),
        Err(err) => Err(invalid(err.to_string())),
    }
}

/// Parses the key in the content of a file.
pub(crate) fn parse_key(
    option: &str,
    path: &Path,
    pem: &[u8],
) -> Result<PrivateKeyDer<'static>, TlsFailure> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|err| {
        let problem = format!("{option} = {}: {}", path.display(), key_problem(&err));
        let convert = "name a PEM file with the key; decrypt one that has a passphrase with \
                       `openssl pkey -in KEY -out KEY.pem`";
        TlsFailure::misconfigured(problem, convert)
    })
}

fn key_problem(err: &PemError) -> String {
    match err {
        PemError::NoItemsFound => "has no key that can be read".to_owned(),
        err => err.to_string(),
    }
}

/// Reads a file.
pub(crate) fn read_pem(option: &str, path: &Path) -> Result<Vec<u8>, TlsFailure> {
    std::fs::read(path).map_err(|err| {
        let problem = format!("{option} = {} can't be read: {err}", path.display());
        TlsFailure::misconfigured(problem, "name a file that Tidegate's user may read")
    })
}
