//! HTTP requests to the admin listener of a node.

use std::path::Path;
use std::time::Duration;

use access::AccessToken;
use anyhow::Context;
use bytes::Bytes;
use edge::{Connector, ServerAddress, TlsFiles};
use http::request::Builder;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use thiserror::Error;

/// The time limit of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The admin listener of a node, and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Host and port.
    authority: String,
    connector: Connector,
}

impl Target {
    /// `address`: `host:port`, or `https://host:port`. `files`: of encrypted connections.
    ///
    /// # Errors
    /// The text is neither, or a file can't be used.
    pub(crate) fn new(address: &str, files: &TlsFiles) -> anyhow::Result<Self> {
        let url = match address.contains("://") {
            true => address.to_owned(),
            false => format!("http://{address}"),
        };
        let server: ServerAddress =
            url.parse().map_err(|problem: String| anyhow::anyhow!("{address}: {problem}"))?;
        let connector = Connector::new(&server, files, CONNECT_TIMEOUT);
        connector.check()?;
        Ok(Self { authority: server.authority().to_string(), connector })
    }

    /// Returns the body of `GET path`, at most `limit` bytes. There is no timeout of the answer.
    ///
    /// # Errors
    /// There is no answer, or it is longer; [`Refused`]: its status is not 200.
    pub(crate) async fn get(
        &self,
        path: &str,
        token: Option<&AccessToken>,
        limit: usize,
    ) -> anyhow::Result<Bytes> {
        let request = authorised(Request::get(path), token).header(header::HOST, &self.authority);
        let (status, body) = self.send(request.body(Full::default())?, limit).await?;
        Ok(expect_ok(status, body)?)
    }

    /// Returns the status and the body, at most `limit` bytes, of `POST path` with JSON. There is no timeout of the
    /// answer.
    ///
    /// # Errors
    /// There is no answer, or it is longer.
    pub(crate) async fn post(
        &self,
        path: &str,
        token: Option<&AccessToken>,
        json: String,
        limit: usize,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let request = authorised(Request::post(path), token)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(json))?;
        self.send(request, limit).await
    }

    /// Sends a request, whose URL has the host or not, and returns the response, with a body of at most `limit` bytes.
    /// There is no timeout of the response.
    ///
    /// # Errors
    /// There is no response, or it is longer.
    pub(crate) async fn exchange(
        &self,
        request: Request<Bytes>,
        limit: usize,
    ) -> anyhow::Result<Response<Bytes>> {
        let mut request = request.map(Full::from);
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        *request.uri_mut() = path.parse()?;
        request.headers_mut().insert(header::HOST, self.authority.parse()?);
        self.request(request, limit).await
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let (head, body) = self.request(request, limit).await?.into_parts();
        Ok((head.status, body))
    }

    /// Sends a request on a connection of its own.
    async fn request(
        &self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> anyhow::Result<Response<Bytes>> {
        let stream = self.connector.connect().await.map_err(anyhow::Error::from_boxed)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let answer = async { read(sender.send_request(request).await?, limit).await };
        // The connection moves only while it is polled, and is dropped with this future.
        let mut connection = std::pin::pin!(connection);
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answer = &mut answer => answer,
            // The body may have arrived without having been read.
            _ = &mut connection => answer.await,
        }
    }
}

/// A client of one node that keeps its connections open.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    authority: String,
    client: hyper_util::client::legacy::Client<Connector, Full<Bytes>>,
}

impl Client {
    pub(crate) fn new(target: Target) -> Self {
        let Target { authority, connector } = target;
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        Self { authority, client: client.build(connector) }
    }

    /// Requests as [`Target::get`] does.
    ///
    /// # Errors
    /// As [`Target::get`].
    pub(crate) async fn get(
        &self,
        path: &str,
        token: Option<&AccessToken>,
        limit: usize,
    ) -> anyhow::Result<Bytes> {
        // The connector decides whether connections are encrypted.
        let url = format!("http://{}{path}", self.authority);
        let request = authorised(Request::get(url), token);
        let response = self.client.request(request.body(Full::default())?).await?;
        let (head, body) = read(response, limit).await?.into_parts();
        Ok(expect_ok(head.status, body)?)
    }
}

async fn read(response: Response<Incoming>, limit: usize) -> anyhow::Result<Response<Bytes>> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, limit).collect().await;
    Ok(Response::from_parts(head, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}

fn authorised(request: Builder, token: Option<&AccessToken>) -> Builder {
    match token {
        None => request,
        Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose())),
    }
}

/// An answer with another status than 200.
#[derive(Debug, Error)]
#[error("{status}: {detail}")]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    /// The detail of the problem (RFC 9457), or else the whole body.
    pub(crate) detail: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, body: &[u8]) -> Self {
        let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        let text = || String::from_utf8_lossy(body).into_owned();
        Self { status, detail: detail.map_or_else(text, str::to_owned) }
    }
}

fn expect_ok(status: StatusCode, body: Bytes) -> Result<Bytes, Refused> {
    if status == StatusCode::OK { Ok(body) } else { Err(Refused::new(status, &body)) }
}

/// Reads an access token from a file, which may end with a line end.
///
/// # Errors
/// The file can't be read, or holds something else. Nothing of its text is shown.
pub(crate) fn read_token(file: &Path) -> anyhow::Result<AccessToken> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let token = text.trim().parse::<AccessToken>();
    token.with_context(|| file.display().to_string())
}
