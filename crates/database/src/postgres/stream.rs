//! The stream of a connection: a socket, encrypted or not.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, TcpKeepalive};
use tls::{TlsFailure, server_end_point};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::Config;
use tokio_postgres::tls::{ChannelBinding, TlsConnect};
use tokio_rustls::client::TlsStream;

use super::encryption::Way;
use super::url::{Address, PostgresUrl};
use crate::error::{DatabaseError, Failure};

pub(super) const OPERATION: &str = "connecting";

/// `SSLRequest`: its length and its code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// An open stream to a server.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Opens a stream to one of the URL's hosts.
    pub(super) async fn open(
        url: &PostgresUrl,
        at: usize,
        way: Way,
    ) -> Result<Self, DatabaseError> {
        let address = &url.hosts()[at];
        let unreachable =
            |err: io::Error| DatabaseError::unreachable(OPERATION, explain(address, &err));
        if address.is_folder() {
            let path = format!("{}/.s.PGSQL.{}", address.host, address.port);
            return UnixStream::connect(path).await.map(Self::Unix).map_err(unreachable);
        }
        let mut tcp = connect(&url.config, address, at).await.map_err(unreachable)?;
        if way == Way::Plain {
            return Ok(Self::Tcp(tcp));
        }
        let options = &url.encryption.tls;
        if options.alpn.is_none() && !offers_tls(&mut tcp).await.map_err(unreachable)? {
            if way == Way::TlsIfOffered {
                return Ok(Self::Tcp(tcp));
            }
            let failure = Failure::Misconfigured {
                database: url.name(),
                problem: format!("the server at {address} has no TLS, and the url has sslmode={}", url.encryption.mode.name()),
                remedy: "set ssl = on in the server's postgresql.conf, with ssl_cert_file and ssl_key_file, or connect over a trusted network with sslmode=disable".to_owned(),
            };
            return Err(DatabaseError { operation: OPERATION, failure });
        }
        let encrypted = options.handshake(&address.host, tcp).await;
        encrypted
            .map(|tls| Self::Tls(Box::new(tls)))
            .map_err(|failure| tls_error(url, address, failure))
    }

    /// Whether it is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Returns the channel binding `tls-server-end-point` of an encrypted stream.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        let Self::Tls(tls) = self else { return None };
        let certificate = tls.get_ref().1.peer_certificates()?.first()?;
        server_end_point(certificate)
    }
}

fn explain(address: &Address, err: &io::Error) -> String {
    format!("error connecting to {address}: {err}")
}

pub(super) fn tls_error(
    url: &PostgresUrl,
    address: &Address,
    failure: TlsFailure,
) -> DatabaseError {
    match failure {
        TlsFailure::Lost(source) => {
            DatabaseError::unreachable(OPERATION, format!("TLS to {address}: {source}"))
        }
        TlsFailure::Misconfigured { problem, remedy } => DatabaseError {
            operation: OPERATION,
            failure: Failure::Misconfigured {
                database: url.name(),
                problem: format!("TLS to {address}: {problem}"),
                remedy,
            },
        },
    }
}

/// Opens a socket to the first address of the host that accepts it.
async fn connect(config: &Config, address: &Address, at: usize) -> io::Result<TcpStream> {
    let targets: Vec<SocketAddr> = match config.get_hostaddrs().get(at) {
        Some(ip) => vec![(*ip, address.port).into()],
        None => lookup_host((&*address.host, address.port)).await?.collect(),
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in targets {
        match TcpStream::connect(target).await {
            Ok(tcp) => {
                configure(config, &tcp)?;
                return Ok(tcp);
            }
            Err(err) => last = err,
        }
    }
    Err(last)
}

fn configure(config: &Config, tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

/// Asks whether the server has TLS. Its answer is one byte, and nothing follows that is not encrypted.
async fn offers_tls(tcp: &mut TcpStream) -> io::Result<bool> {
    tcp.write_all(&SSL_REQUEST).await?;
    match tcp.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "this is no PostgreSQL")),
    }
}

/// Hands an open stream to the driver as the result of its handshake.
pub(super) struct Opened;

impl TlsConnect<Stream> for Opened {
    type Stream = Stream;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Stream, Self::Error>>;

    fn connect(self, stream: Stream) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

impl tokio_postgres::tls::TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        self.end_point().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
