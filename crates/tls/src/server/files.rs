//! The files of a listener.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::failure::TlsFailure;
use crate::options::Identity;
use crate::pem::{Content, read_pem};

/// The names of the keys in the configuration, for error messages.
pub(super) const CERTIFICATE: &str = "cert";
pub(super) const KEY: &str = "key";
pub(super) const CLIENT_CA: &str = "client_ca";
pub(super) const CLIENT_CRL: &str = "client_crl_file";

/// The lowest accepted version of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The files of a listener, and its terms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerFiles {
    /// The certificates. The first is for clients that name no host, or one that no certificate has.
    pub certificates: Vec<Identity>,
    /// Files that each have a certificate with its chain and the key, after the certificates above. One that does not
    /// exist yet is left out; without any certificate, all handshakes fail.
    pub managed: Vec<PathBuf>,
    /// The authorities of client certificates; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// The lists of revoked client certificates; `None`: none is revoked. Has no effect without authorities.
    pub client_crl: Option<PathBuf>,
    /// The lowest accepted version.
    pub min_version: MinVersion,
    /// The protocols that are offered by ALPN, the preferred one first.
    pub alpn: &'static [&'static [u8]],
}

/// The contents of the files, read one after the other.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Contents {
    /// Certificate and key of each.
    pub(super) certificates: Vec<(Content, Content)>,
    /// Certificate and key; `None`: there is no file yet.
    pub(super) managed: Vec<Option<Content>>,
    pub(super) client_ca: Option<Content>,
    pub(super) client_crl: Option<Content>,
}

impl Contents {
    /// Whether clients are judged by the same authorities and lists.
    pub(super) fn has_trust_of(&self, other: &Self) -> bool {
        self.client_ca == other.client_ca && self.client_crl == other.client_crl
    }
}

impl ServerFiles {
    pub(super) fn read(&self) -> Result<Contents, TlsFailure> {
        let pair = |files: &Identity| {
            let certificate = read_pem(CERTIFICATE, &files.certificate)?;
            let key = read_pem(KEY, &files.key)?;
            Ok((Content(certificate), Content(key)))
        };
        let optional = |option, path: &Option<PathBuf>| {
            path.as_deref().map(|path| read_pem(option, path).map(Content)).transpose()
        };
        Ok(Contents {
            certificates: self.certificates.iter().map(pair).collect::<Result<_, TlsFailure>>()?,
            managed: self
                .managed
                .iter()
                .map(|path| read_managed(path))
                .collect::<Result<_, TlsFailure>>()?,
            client_ca: optional(CLIENT_CA, &self.client_ca)?,
            client_crl: optional(CLIENT_CRL, &self.client_crl)?,
        })
    }
}

fn read_managed(path: &Path) -> Result<Option<Content>, TlsFailure> {
    match fs::read(path) {
        Ok(content) => Ok(Some(Content(content))),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(TlsFailure::misconfigured(
            format!("{} can't be read: {err}", path.display()),
            "let Tidegate's user read and write the folder of the certificates",
        )),
    }
}
