//! A small HTTP/1.1 client for loopback: keep-alive connections to one address, the most recently
//! used first.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// The reasons why a request has no response.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// No connection could be opened.
    Connect(std::io::Error),
    /// The connection broke, or the server did not speak HTTP.
    Http(hyper::Error),
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(formatter, "connection failed: {error}"),
            Self::Http(error) => write!(formatter, "request failed: {error}"),
        }
    }
}

/// Connections to one address, each with at most one request at a time.
pub(crate) struct Pool {
    address: SocketAddr,
    host: HeaderValue,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    permits: Semaphore,
}

/// Connections to one address. Enough for ten thousand responses a second; few enough that all
/// targets of a comparison in one process stay below the usual limit of 1024 open files.
pub(crate) const MAX_CONNECTIONS: usize = 48;

impl Pool {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::of(address, MAX_CONNECTIONS)
    }

    /// Creates a pool of at most `connections`.
    pub(crate) fn of(address: SocketAddr, connections: usize) -> Self {
        let host =
            HeaderValue::from_str(&address.to_string()).expect("a socket address is visible ASCII");
        Self { address, host, idle: Mutex::new(Vec::new()), permits: Semaphore::new(connections) }
    }

    /// Sends `request` (its URI is a path) and reads the whole response.
    ///
    /// A connection that the server closed while it was idle is replaced silently: nothing was sent
    /// on it.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ClientError> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        request.headers_mut().insert(header::HOST, self.host.clone());
        loop {
            let mut connection = match self.idle_connection().await {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = body.collect().await.map_err(ClientError::Http)?.to_bytes();
                    if !connection.is_closed() {
                        self.idle.lock().push(connection);
                    }
                    return Ok(Response::from_parts(head, body));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(ClientError::Http(error.into_error())),
                },
            }
        }
    }

    async fn idle_connection(&self) -> Option<SendRequest<Full<Bytes>>> {
        loop {
            let mut connection = self.idle.lock().pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = TcpStream::connect(self.address).await.map_err(ClientError::Connect)?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(ClientError::Http)?;
        tokio::spawn(async move {
            // The `SendRequest` in use reports how the connection ended.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Builds a GET request without a body; `None` if `path` is not a valid URI.
pub(crate) fn get(path: &str) -> Option<Request<Full<Bytes>>> {
    Request::get(path).body(Full::default()).ok()
}
