//! HTTP requests to the admin listener of a node.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Returns the body of `GET path` at `authority` (host and port), at most `limit` bytes. There is no timeout.
///
/// # Errors
/// There is no answer, it is longer, or its status is not 200.
pub(crate) async fn get(authority: &str, path: &str, limit: usize) -> anyhow::Result<Bytes> {
    let request = Request::get(path).header(header::HOST, authority).body(Full::default())?;
    expect_ok(path, send(authority, request, limit).await?)
}

/// Returns the status and the body, at most `limit` bytes, of `POST path` with JSON. There is no timeout.
///
/// # Errors
/// There is no answer, or it is longer.
pub(crate) async fn post(
    authority: &str,
    path: &str,
    json: String,
    limit: usize,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = Request::post(path)
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
        limit: usize,
    ) -> anyhow::Result<Bytes> {
        let request = Request::get(format!("http://{authority}{path}")).body(Full::default())?;
        expect_ok(path, read(self.0.request(request).await?, limit).await?)
    }
}

async fn read(response: Response<Incoming>, limit: usize) -> anyhow::Result<(StatusCode, Bytes)> {
    let status = response.status();
    let body = Limited::new(response.into_body(), limit).collect().await;
    Ok((status, body.map_err(anyhow::Error::from_boxed)?.to_bytes()))
}

fn expect_ok(path: &str, (status, body): (StatusCode, Bytes)) -> anyhow::Result<Bytes> {
    anyhow::ensure!(status == StatusCode::OK, "status {status} for {path}");
    Ok(body)
}
