//! Connections to servers of HTTP: plain, over TLS, or over a socket of Unix.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tls::{TlsClient, TlsVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::settings::server_address::ServerAddress;
use crate::settings::tls_files::TlsFiles;

/// Why no connection was made. [`tls::TlsFailure`] is among its causes where TLS is the reason.
type ConnectError = Box<dyn StdError + Send + Sync>;

/// Connects to one server.
#[derive(Clone, Debug)]
pub struct Connector {
    server: Uri,
    tcp: HttpConnector,
    way: Way,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Way {
    Tcp,
    Tls { client: Arc<TlsClient>, name: Arc<str> },
    Unix(Arc<Path>),
}

impl Connector {
    /// Creates the connector of the server at `address`. `timeout`: of a connection, with its handshake. `files`: of
    /// TLS, which are read when it first connects.
    #[must_use]
    pub fn new(address: &ServerAddress, files: &TlsFiles, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let way = match (address.socket(), address.tls_name()) {
            (Some(path), _) => Way::Unix(path.into()),
            (None, None) => Way::Tcp,
            (None, Some(host)) => Way::Tls {
                client: Arc::new(files.client()),
                name: files.server_name.as_deref().unwrap_or(host).into(),
            },
        };
        Self { server: address.uri(), tcp, way, timeout }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The server was not reached in time, or TLS failed.
    pub async fn connect(&self) -> Result<TokioIo<ServerStream>, ConnectError> {
        let mut tcp = self.tcp.clone();
        let connecting = async {
            let stream = match &self.way {
                Way::Unix(path) => ServerStream::Unix(connect_unix(path).await?),
                Way::Tcp => ServerStream::Tcp(tcp.call(self.server.clone()).await?.into_inner()),
                Way::Tls { client, name } => {
                    let socket = tcp.call(self.server.clone()).await?.into_inner();
                    let (stream, version) = client.connect(name, socket).await?;
                    ServerStream::Tls(Box::new(stream), Arc::new(version))
                }
            };
            Ok(TokioIo::new(stream))
        };
        tokio::time::timeout(self.timeout, connecting).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into())
        })
    }

    /// Reads the files of TLS.
    ///
    /// # Errors
    /// [`tls::TlsFailure::Misconfigured`].
    pub fn check(&self) -> Result<(), tls::TlsFailure> {
        match &self.way {
            Way::Tls { client, .. } => client.check(),
            Way::Tcp | Way::Unix(_) => Ok(()),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServerStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.tcp.poll_ready(cx).map_err(ConnectError::from)
    }

    /// Opens a connection to the one server, which every request of a client is for.
    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await })
    }
}

async fn connect_unix(path: &Path) -> Result<UnixStream, io::Error> {
    let connected = UnixStream::connect(path).await;
    connected.map_err(|err| io::Error::new(err.kind(), format!("{}: {err}", path.display())))
}

/// The stream of a connection to a server.
#[derive(Debug)]
pub enum ServerStream {
    /// A socket.
    Tcp(TcpStream),
    /// An encrypted socket, and the files that it was made with.
    Tls(Box<TlsStream<TcpStream>>, Arc<TlsVersion>),
    /// A socket of Unix.
    Unix(UnixStream),
}

impl Connection for ServerStream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tls(_, version) => Connected::new().extra(Arc::clone(version)),
            Self::Tcp(_) | Self::Unix(_) => Connected::new(),
        }
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream, _) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream, _) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream, _) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream, _) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
