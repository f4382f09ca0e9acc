//! A server's configuration, made of the contents of files.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, version};

use super::files::{CERTIFICATE, CLIENT_CA, CLIENT_CRL, Contents, KEY, MinVersion, ServerFiles};
use super::resolver::ByName;
use super::revocation::{RevocationList, parse_lists};
use crate::certificate::Certificate;
use crate::failure::TlsFailure;
use crate::options::Identity;
use crate::pem::{Content, parse_certificates, parse_key};

/// A configuration, and the certificates in it.
pub(super) struct Built {
    pub(super) config: Arc<ServerConfig>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) revocation_lists: Vec<RevocationList>,
}

impl ServerFiles {
    /// # Errors
    /// [`TlsFailure::Misconfigured`]: a file is malformed, or certificate and key do not belong together.
    pub(super) fn build(&self, contents: &Contents) -> Result<Built, TlsFailure> {
        let provider = Arc::new(ring::default_provider());
        let mut pairs = Vec::new();
        for (files, (certificate, key)) in self.certificates.iter().zip(&contents.certificates) {
            pairs.push(pair(files, &certificate.0, &key.0, &provider)?);
        }
        for (path, content) in self.managed.iter().zip(&contents.managed) {
            if let Some(Content(both)) = content {
                pairs.push(pair_in(path, both, &provider)?);
            }
        }
        let named = pairs.iter().map(|(key, certificate)| (Arc::clone(key), certificate)).collect();
        let versions: &[_] = match self.min_version {
            MinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            MinVersion::Tls13 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(TlsFailure::lost)?;
        let client_ca = self.client_ca.as_deref().zip(contents.client_ca.as_ref());
        let client_crl = self.client_crl.as_deref().zip(contents.client_crl.as_ref());
        let (lists, revocation_lists) = match client_crl {
            None => Default::default(),
            Some((path, Content(pem))) => parse_lists(path, pem)?,
        };
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some((path, Content(pem))) => {
                builder.with_client_cert_verifier(client_verifier(path, pem, lists, &provider)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(named)));
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        if client_ca.is_none() {
            // Resumption without memory per client. A resumed session keeps the client certificate of the first,
            // so where there is one, sessions end with the authorities that have accepted it.
            config.ticketer = ring::Ticketer::new().map_err(TlsFailure::lost)?;
        } else if client_crl.is_some() {
            // A resumed session would not be compared with the lists, whose time may have ended.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        let certificates = pairs.into_iter().map(|(_, certificate)| certificate).collect();
        Ok(Built { config: Arc::new(config), certificates, revocation_lists })
    }
}

/// Checks the content of a file that has a certificate with its chain and the key. `path`: for error messages. Returns the
/// certificate.
///
/// # Errors
/// [`TlsFailure::Misconfigured`]: it is malformed, or certificate and key do not belong together.
pub fn check_pair(path: &Path, content: &[u8]) -> Result<Certificate, TlsFailure> {
    pair_in(path, content, &ring::default_provider()).map(|(_, certificate)| certificate)
}

fn pair_in(
    path: &Path,
    content: &[u8],
    provider: &CryptoProvider,
) -> Result<(Arc<CertifiedKey>, Certificate), TlsFailure> {
    let files = Identity { certificate: path.to_owned(), key: path.to_owned() };
    pair(&files, content, content, provider)
}

fn pair(
    files: &Identity,
    certificate: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<(Arc<CertifiedKey>, Certificate), TlsFailure> {
    let Identity { certificate: path, key: key_path } = files;
    let chain = parse_certificates(CERTIFICATE, path, certificate)?;
    let private = parse_key(KEY, key_path, key)?;
    let parsed = chain.first().and_then(|first| Certificate::parse(first)).ok_or_else(|| {
        let problem =
            format!("{CERTIFICATE} = {}: the first certificate is malformed", path.display());
        TlsFailure::misconfigured(problem, "issue it again, with X.509 version 3")
    })?;
    let joined = CertifiedKey::from_der(chain, private, provider).map_err(|err| match err {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsFailure::misconfigured(
            format!("{} is not the key of {}", key_path.display(), path.display()),
            "name the certificate and the key that belong together; the server's own certificate comes first \
             in its file, before the chain",
        ),
        err => TlsFailure::misconfigured(
            format!("{} and {} can't be used together: {err}", path.display(), key_path.display()),
            "issue a certificate with X.509 version 3 and a key of RSA (2048 bits or more), ECDSA or Ed25519",
        ),
    })?;
    Ok((Arc::new(joined), parsed))
}

/// Returns the verifier of client certificates. A client without one is accepted: probes of health have none, and
/// tokens may be accepted beside certificates. With `lists`, each authority of a client's chain needs one that is
/// current: without it, the certificate may have been revoked.
fn client_verifier(
    path: &Path,
    pem: &[u8],
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFailure> {
    let mut roots = RootCertStore::empty();
    let unusable = |err: &dyn std::fmt::Display| {
        let problem = format!("{CLIENT_CA} = {}: {err}", path.display());
        TlsFailure::misconfigured(problem, "name a PEM file with an authority's certificate")
    };
    for root in parse_certificates(CLIENT_CA, path, pem)? {
        roots.add(root).map_err(|err| unusable(&err))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(lists)
            .enforce_revocation_expiration();
    verifier.allow_unauthenticated().build().map_err(|err| match err {
        VerifierBuilderError::InvalidCrl(err) => TlsFailure::misconfigured(
            format!("{CLIENT_CRL}: {err:?}"),
            "issue the list again, by RFC 5280, for all reasons and all certificates",
        ),
        err => unusable(&err),
    })
}
