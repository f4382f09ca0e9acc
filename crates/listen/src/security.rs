//! Encrypting an accepted connection.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls::server::Acceptor;
use rustls::{AlertDescription as Alert, Error, ServerConfig};
use tls::ServerTls;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::challenges::{Challenges, checked_host};
use crate::metrics::TlsMetrics;
use crate::plain_request;
use crate::rare_log::RareLog;
use crate::stream::ClientStream;
use crate::tls_stream::TlsStream;

/// The type of the first record of TLS: a handshake.
const HANDSHAKE: u8 = 0x16;

/// The bytes that are read at once of the first message.
const HELLO_BYTES: usize = 4 << 10;

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
    challenges: Option<Arc<dyn Challenges>>,
    distrusted: Mutex<RareLog>,
    unanswered: Mutex<RareLog>,
}

/// Why a connection was not encrypted.
#[derive(Debug)]
enum HandshakeError {
    /// The client closed the connection without a byte, as checks of a port do.
    Closed,
    /// The first byte is none of TLS. The client has an answer in plain HTTP.
    Plaintext,
    /// The handshake was a check by a certificate authority. The connection has no other purpose.
    Checked,
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
        let challenges = None;
        let (distrusted, unanswered) = Default::default();
        Self { name, server, timeout, metrics, challenges, distrusted, unanswered }
    }

    /// Returns the listener with answers to the checks of a certificate authority.
    #[must_use]
    pub fn with_challenges(self, challenges: Arc<dyn Challenges>) -> Self {
        Self { challenges: Some(challenges), ..self }
    }

    /// Whether there is a certificate. Without one, no handshake succeeds.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        !self.server.certificates().is_empty()
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
        let mut received = BytesMut::new();
        let checked = match &self.challenges {
            None => None,
            Some(challenges) => self.check(&socket, &mut received, &**challenges).await?,
        };
        let is_check = checked.is_some();
        let config = checked.unwrap_or_else(|| self.server.config());
        let stream = TlsStream::accept(socket, config, received).await;
        let mut stream = stream.map_err(HandshakeError::Failed)?;
        if is_check {
            // The authority closes the connection; an error here is its end.
            let _ = stream.shutdown().await;
            return Err(HandshakeError::Checked);
        }
        Ok(ClientStream::encrypted(stream, trust))
    }

    /// Reads the first message. Returns the configuration for a check by a certificate authority; `None`: it is a
    /// client's handshake.
    async fn check(
        &self,
        socket: &TcpStream,
        received: &mut BytesMut,
        challenges: &dyn Challenges,
    ) -> Result<Option<Arc<ServerConfig>>, HandshakeError> {
        let (mut acceptor, mut parsed) = (Acceptor::default(), 0);
        let accepted = loop {
            while parsed < received.len() {
                let mut new = &received[parsed..];
                parsed += acceptor.read_tls(&mut new).map_err(HandshakeError::Failed)?;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => break accepted,
                // The handshake itself answers with an alert.
                Err(_) => return Ok(None),
            }
            socket.readable().await.map_err(HandshakeError::Failed)?;
            received.reserve(HELLO_BYTES);
            match socket.try_read_buf(received) {
                Ok(0) => return Err(HandshakeError::Failed(ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                Err(err) => return Err(HandshakeError::Failed(err)),
            }
        };
        let Some(host) = checked_host(&accepted.client_hello()) else { return Ok(None) };
        // The end of the connection tells the authority that there is no answer.
        let config = challenges.handshake(&host).await.map_err(|err| {
            if let Some(count) = self.unanswered.lock().due(Instant::now()) {
                tracing::warn!(listener = self.name, host, count, error = %err, "a certificate authority's check has no answer");
            }
            HandshakeError::Failed(err)
        })?;
        let unknown = || HandshakeError::Failed(io::Error::other(Error::NoApplicationProtocol));
        config.map(Some).ok_or_else(unknown)
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
            Self::Closed | Self::Checked => return None,
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
