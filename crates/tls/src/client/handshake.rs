//! Encrypting a connection.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verifier;
use crate::failure::TlsFailure;
use crate::options::{OptionNames, TlsOptions, Verification};
use crate::pem::Authorities;

impl TlsOptions {
    /// Encrypts a connection to `host`. The files are read for it.
    ///
    /// # Errors
    /// [`TlsFailure`].
    pub async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsFailure> {
        let options = self.clone();
        let reading = tokio::task::spawn_blocking(move || options.client_config());
        let config = reading.await.map_err(TlsFailure::lost)??;
        self.connect(Arc::new(config), host, stream).await
    }

    /// Encrypts a connection to `host` by a configuration that was made of these options.
    pub(super) async fn connect(
        &self,
        config: Arc<ClientConfig>,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, TlsFailure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            TlsFailure::misconfigured("the host is no DNS name", "use a DNS name or an IP address")
        })?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|err| {
            TlsFailure::of_handshake(&err, host, self).unwrap_or_else(|| TlsFailure::lost(err))
        })
    }

    /// Reads the files.
    pub(super) fn client_config(&self) -> Result<ClientConfig, TlsFailure> {
        let provider = Arc::new(ring::default_provider());
        let verifier = match (self.verification, &self.roots) {
            (Verification::Key, _) => verifier::any(&provider),
            (verification, roots) => {
                let authorities = Authorities::read(roots, self.names)?;
                verifier::of(verification, authorities, self.names, &provider)?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsFailure::lost)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read(self.names)?;
                builder.with_client_auth_cert(chain, key).map_err(|err| {
                    let OptionNames { certificate, key, .. } = self.names;
                    TlsFailure::misconfigured(
                        format!("{certificate} and {key} can't be used together: {err}"),
                        "name the certificate and the key that belong together",
                    )
                })?
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}
