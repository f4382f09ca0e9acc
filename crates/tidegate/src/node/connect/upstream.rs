//! The application behind the gateway.

use bytes::Bytes;
use edge::GatewayOptions;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::error::NodeError;

/// Sends `HEAD /` to the upstream. Every HTTP response will do: an application may have no page there.
///
/// # Errors
/// It can't be reached, or answers no HTTP within the time limits of `[upstream]`.
pub(in crate::node) async fn reach_upstream(options: &GatewayOptions) -> Result<(), NodeError> {
    let failed = |error: String| NodeError::Upstream { url: options.upstream.to_string(), error };
    let authority = options.upstream.authority().map(ToString::to_string).unwrap_or_default();
    let address = match options.upstream.port() {
        Some(_) => authority.clone(),
        None => format!("{authority}:80"),
    };
    let limit = options.connect_timeout;
    let connecting = timeout(limit, TcpStream::connect(&address)).await;
    let connecting = connecting.map_err(|_| failed(format!("no connection within {limit:?}")))?;
    let stream = connecting.map_err(|err| failed(err.to_string()))?;
    let limit = options.timeouts.first_byte;
    match timeout(limit, head(stream, &authority)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(err)) => Err(failed(format!("it does not answer HTTP: {err}"))),
        Err(_) => Err(failed(format!("it does not answer `HEAD /` within {limit:?}"))),
    }
}

async fn head(stream: TcpStream, host: &str) -> Result<(), hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
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
