//! Encrypting an accepted connection.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::{AlertDescription as Alert, Error};
use tls::ServerTls;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::metrics::TlsMetrics;
use crate::plain_request;
use crate::rare_log::RareLog;
use crate::stream::ClientStream;

/// The type of the first record of TLS: a handshake.
const HANDSHAKE: u8 = 0x16;

/// Whether the connections of a listener are encrypted.
#[derive(Clone, Debug)]
pub enum Security {
    /// They are not.
    Plain,
    /// By TLS.
    Tls(Arc<TlsListener>),
}

/// TLS of a listener.
#[derive(Debug)]
pub struct TlsListener {
    pub(crate) name: &'static str,
    pub(crate) server: Arc<ServerTls>,
    timeout: Duration,
    pub(crate) metrics: TlsMetrics,
    distrusted: Mutex<RareLog>,
}

/// Why a connection was not encrypted.
#[derive(Debug)]
enum HandshakeError {
    /// The client closed the connection without a byte, as checks of a port do.
    Closed,
    /// The first byte is none of TLS. The client has an answer in plain HTTP.
    Plaintext,
    TimedOut,
    Failed(io::Error),
}

impl TlsListener {
    /// `name`: of the listener, in logs. `timeout`: of a handshake.
    #[must_use]
    pub fn new(
        name: &'static str,
        server: Arc<ServerTls>,
        timeout: Duration,
        metrics: TlsMetrics,
    ) -> Self {
        Self { name, server, timeout, metrics, distrusted: Mutex::default() }
    }

    async fn handshake(&self, socket: TcpStream) -> Result<ClientStream, HandshakeError> {
        let mut first = [0];
        match socket.peek(&mut first).await.map_err(HandshakeError::Failed)? {
            0 => return Err(HandshakeError::Closed),
            _ if first[0] == HANDSHAKE => {}
            _ => {
                plain_request::refuse(socket).await;
                return Err(HandshakeError::Plaintext);
            }
        }
        let trust = self.server.client_trust();
        let acceptor = TlsAcceptor::from(self.server.config());
        let stream = acceptor.accept(socket).await.map_err(HandshakeError::Failed)?;
        Ok(ClientStream::encrypted(stream, trust))
    }

    fn failed(&self, client: IpAddr, err: &HandshakeError) {
        let Some(reason) = err.reason() else { return };
        self.metrics.failed(self.name, reason);
        let HandshakeError::Failed(cause) = err else {
            tracing::debug!(listener = self.name, %client, reason, "no TLS handshake");
            return;
        };
        tracing::debug!(listener = self.name, %client, reason, error = %cause, "no TLS handshake");
        if reason == DISTRUSTED
            && let Some(count) = self.distrusted.lock().due(Instant::now())
        {
            tracing::warn!(
                listener = self.name,
                %client,
                count,
                error = %cause,
                "clients refuse the certificate: is it complete with its chain, valid, and for the name that they use?"
            );
        }
    }
}

/// The client refuses the listener's certificate.
const DISTRUSTED: &str = "distrusted";

impl HandshakeError {
    /// The reason as a label of metrics; `None`: there was no handshake to fail.
    fn reason(&self) -> Option<&'static str> {
        let err = match self {
            Self::Closed => return None,
            Self::Plaintext => return Some("plaintext"),
            Self::TimedOut => return Some("timeout"),
            Self::Failed(err) => err,
        };
        let cause = err.get_ref().and_then(|cause| cause.downcast_ref());
        Some(match cause {
            None => "lost",
            Some(Error::AlertReceived(
                Alert::UnknownCA
                | Alert::BadCertificate
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::UnsupportedCertificate,
            )) => DISTRUSTED,
            Some(Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_)) => {
                "client_certificate"
            }
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "incompatible",
            Some(_) => "protocol",
        })
    }
}

impl Security {
    /// Encrypts an accepted connection of `client`, if the listener is encrypted. `None`: that failed, or took too
    /// long; the connection is closed.
    pub async fn establish(&self, socket: TcpStream, client: IpAddr) -> Option<ClientStream> {
        let Self::Tls(tls) = self else { return Some(socket.into()) };
        // Boxed, so that plain connections have no memory for a handshake.
        let handshake = Box::pin(tls.handshake(socket));
        let stream = tokio::time::timeout(tls.timeout, handshake).await;
        let stream = stream.unwrap_or(Err(HandshakeError::TimedOut));
        stream.inspect_err(|err| tls.failed(client, err)).ok()
    }
}
