//! HTTP requests to the admin listener of a node.

use std::path::Path;

use access::AccessToken;
use anyhow::Context;
use bytes::Bytes;
use http::request::Builder;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::net::TcpStream;

/// Returns the body of `GET path` at `authority` (host and port), at most `limit` bytes. There is no timeout.
///
/// # Errors
/// There is no answer, or it is longer; [`Refused`]: its status is not 200.
pub(crate) async fn get(
    authority: &str,
    path: &str,
    token: Option<&AccessToken>,
    limit: usize,
) -> anyhow::Result<Bytes> {
    let request = authorised(Request::get(path), token).header(header::HOST, authority);
    let (status, body) = send(authority, request.body(Full::default())?, limit).await?;
    Ok(expect_ok(status, body)?)
}

/// Returns the status and the body, at most `limit` bytes, of `POST path` with JSON. There is no timeout.
///
/// # Errors
/// There is no answer, or it is longer.
pub(crate) async fn post(
    authority: &str,
    path: &str,
    token: Option<&AccessToken>,
    json: String,
    limit: usize,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = authorised(Request::post(path), token)
        .header(header::HOST, authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(json))?;
    send(authority, request, limit).await
}

/// Sends a request on a connection of its own.
async fn send(
    authority: &str,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
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

/// A client that keeps its connections open.
#[derive(Clone, Debug)]
pub(crate) struct Client(hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>);

impl Client {
    pub(crate) fn new() -> Self {
        Self(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    /// Requests as [`get`] does.
    ///
    /// # Errors
    /// As [`get`].
    pub(crate) async fn get(
        &self,
        authority: &str,
        path: &str,
        token: Option<&AccessToken>,
        limit: usize,
    ) -> anyhow::Result<Bytes> {
        let request = authorised(Request::get(format!("http://{authority}{path}")), token);
        let response = self.0.request(request.body(Full::default())?).await?;
        let (status, body) = read(response, limit).await?;
        Ok(expect_ok(status, body)?)
    }
}

async fn read(response: Response<Incoming>, limit: usize) -> anyhow::Result<(StatusCode, Bytes)> {
    let status = response.status();
    let body = Limited::new(response.into_body(), limit).collect().await;
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
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
