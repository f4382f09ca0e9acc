//! The application behind the gateway.

use bytes::Bytes;
use edge::{Connector, GatewayOptions, ServerStream};
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::node::error::NodeError;

/// Sends `HEAD /` to the upstream. Every HTTP response will do: an application may have no page there.
///
/// # Errors
/// It can't be reached, or answers no HTTP within the time limits of `[upstream]`.
pub(in crate::node) async fn reach_upstream(options: &GatewayOptions) -> Result<(), NodeError> {
    let failed = |error: String| NodeError::Upstream { url: options.upstream.to_string(), error };
    let connector = Connector::new(&options.upstream, &options.tls, options.connect_timeout);
    let stream = connector
        .connect()
        .await
        .map_err(|err| failed(format!("{:#}", anyhow::Error::from_boxed(err))))?;
    let authority = options.upstream.authority().as_str();
    let limit = options.timeouts.first_byte;
    match timeout(limit, head(stream, authority)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(err)) => Err(failed(format!("it does not answer HTTP: {err}"))),
        Err(_) => Err(failed(format!("it does not answer `HEAD /` within {limit:?}"))),
    }
}

async fn head(stream: TokioIo<ServerStream>, host: &str) -> Result<(), hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let request = Request::head("/").header(http::header::HOST, host);
    let request = request.body(Empty::<Bytes>::new()).expect("an authority is a header value");
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => answer.map(drop),
        // The answer may have arrived without having been read.
        _ = &mut connection => answer.await.map(drop),
    }
}
