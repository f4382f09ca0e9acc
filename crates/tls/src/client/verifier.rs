//! Verification of a server's certificate.

use std::sync::Arc;

use rustls::CertificateError::{
    Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
    NotValidYetContext,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::failure::TlsFailure;
use crate::options::{OptionNames, Provider, Verification};
use crate::pem::Authorities;

/// Returns the verifier that accepts every certificate.
pub(super) fn any(provider: &Provider) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Verifier { chain: None, provider: Arc::clone(provider) })
}

/// Returns the verifier of certificates that the authorities have signed.
pub(super) fn of(
    verification: Verification,
    Authorities(trusted): Authorities,
    names: &OptionNames,
    provider: &Provider,
) -> Result<Arc<dyn ServerCertVerifier>, TlsFailure> {
    let mut roots = RootCertStore::empty();
    // The system's store may have certificates that can't be parsed; the others count.
    roots.add_parsable_certificates(trusted.iter().cloned());
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let webpki = webpki.build().map_err(|err| {
        TlsFailure::misconfigured(
            format!("{}: {err}", names.authorities),
            "name a PEM file with an authority's certificate",
        )
    })?;
    let chain = Chain { webpki, trusted, checks_name: verification == Verification::Name };
    Ok(Arc::new(Verifier { chain: Some(chain), provider: Arc::clone(provider) }))
}

/// Verifies that the server has the key of its certificate, and the certificate if there is a [`Chain`].
#[derive(Debug)]
struct Verifier {
    chain: Option<Chain>,
    provider: Provider,
}

#[derive(Debug)]
struct Chain {
    webpki: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl Chain {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let verified = self.webpki.verify_server_cert(certificate, intermediates, name, ocsp, now);
        let Err(Error::InvalidCertificate(reason)) = verified else { return verified.map(drop) };
        match reason {
            NotValidForName | NotValidForNameContext { .. } if !self.checks_name => Ok(()),
            // The period is checked before all else, so that every other reason means that it is valid now.
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => {
                Err(reason.into())
            }
            // A self-signed certificate, trusted itself: an authority's certificate by its form.
            _ if self.trusted.iter().any(|trusted| trusted.as_ref() == certificate.as_ref()) => {
                if !self.checks_name {
                    return Ok(());
                }
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
            }
            reason => Err(reason.into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify(certificate, intermediates, name, ocsp, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
