//! Connections to a provider, or to the shop's endpoint of jobs: HTTP/1.1, with TLS unless it is on this machine. Idle connections are used
//! again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::options::ProviderUrl;
use super::port::Unknown;

/// The largest answer, in bytes.
const BODY_BYTES_MAX: usize = 4 << 20;
/// The most idle connections that are kept: as many payments may be under way at once without a new connection for each.
const IDLE_MAX: usize = 256;

type Sender = SendRequest<Full<Bytes>>;

/// A client of one provider.
pub(crate) struct Client {
    url: ProviderUrl,
    limit: Duration,
    idle: Mutex<Vec<Sender>>,
}

/// An answer: its status, and its body as JSON; null where it is none.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: serde_json::Value,
}

/// A request.
pub(crate) struct Call<'c> {
    pub(crate) method: &'static str,
    /// The path after the provider's address, with `/`.
    pub(crate) path: &'c str,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
    pub(crate) key: Option<&'c str>,
    /// The bearer token.
    pub(crate) secret: Option<&'c str>,
    /// More headers.
    pub(crate) headers: &'c [(&'static str, String)],
}

impl Client {
    /// `limit`: the time limit of a request, connecting included.
    pub(crate) fn new(url: ProviderUrl, limit: Duration) -> Self {
        Self { url, limit, idle: Mutex::default() }
    }

    /// Sends a request, once.
    ///
    /// # Errors
    /// There is no complete answer: the provider may have executed the request.
    pub(crate) async fn send(&self, call: Call<'_>) -> Result<Answer, Unknown> {
        let request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.url.path, call.path))
            .header(header::HOST, &self.url.authority)
            .header(header::CONTENT_TYPE, call.content_type);
        let request = match call.secret {
            Some(secret) => request.header(header::AUTHORIZATION, format!("Bearer {secret}")),
            None => request,
        };
        let request = match call.key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let request = call
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, value));
        let request =
            request.body(Full::from(call.body)).map_err(|err| Unknown(err.to_string()))?;
        let exchange = tokio::time::timeout(self.limit, self.exchange(request));
        exchange.await.unwrap_or_else(|_| {
            Err(Unknown(format!("{}: no answer for {:?}", self.url.authority, self.limit)))
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Unknown> {
        let failed =
            |problem: &dyn std::fmt::Display| Unknown(format!("{}: {problem}", self.url.authority));
        let mut sender = match self.take_idle().await {
            Some(sender) => sender,
            None => self.connect().await.map_err(|err| failed(&err))?,
        };
        let response = sender.send_request(request).await.map_err(|err| failed(&err))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|err| failed(&err))?.to_bytes();
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(sender);
        }
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    async fn take_idle(&self) -> Option<Sender> {
        loop {
            let mut sender = self.idle.lock().pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect((&*self.url.host, self.url.port)).await?;
        stream.set_nodelay(true)?;
        if !self.url.is_tls {
            return open(stream).await;
        }
        let name = ServerName::try_from(self.url.host.clone())?;
        open(TlsConnector::from(tls_config()?).connect(name, stream).await?).await
    }
}

async fn open<S>(stream: S) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an endpoint ended");
        }
    });
    Ok(sender)
}

/// The system's authorities, which are read once.
fn tls_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}
