//! HTTP requests to the admin listener of a node.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Returns the body of `GET path` at `authority` (host and port), at most `limit` bytes. There is no timeout.
///
/// # Errors
/// There is no answer, it is longer, or its status is not 200.
pub(crate) async fn get(authority: &str, path: &str, limit: usize) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = async {
        let request =
            Request::get(path).header(header::HOST, authority).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await;
        anyhow::ensure!(status == StatusCode::OK, "status {status} for {path}");
        Ok(body.map_err(anyhow::Error::from_boxed)?.to_bytes())
    };
    // The connection moves only while it is polled, and is dropped with this future.
    let mut connection = std::pin::pin!(connection);
    let mut request = std::pin::pin!(request);
    tokio::select! {
        answer = &mut request => answer,
        // The body may have arrived without having been read.
        _ = &mut connection => request.await,
    }
}

/// A client that keeps its connections open.
#[derive(Clone, Debug)]
pub(crate) struct Client(hyper_util::client::legacy::Client<HttpConnector, Empty<Bytes>>);

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
        let request = Request::get(format!("http://{authority}{path}")).body(Empty::new())?;
        let response = self.0.request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await;
        anyhow::ensure!(status == StatusCode::OK, "status {status} for {path}");
        Ok(body.map_err(anyhow::Error::from_boxed)?.to_bytes())
    }
}
