//! The HTTP client for the upstream and for services.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::Connector;
use super::upload::RequestBody;
use tls::TlsVersion;

/// Idle connections close after this time. Shorter than the keep-alive of common servers, so that
/// usually this side closes first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A client with a connection pool.
pub(crate) type HttpClient = Client<Connector, RequestBody>;

/// Creates a client that keeps at most `max_idle` idle connections per host.
pub(crate) fn http_client(connector: Connector, max_idle: usize) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_idle)
        .http1_max_headers(128)
        .build(connector)
}

/// Sends a request. Its connection is not used again if the files of TLS have changed since it was made: a client
/// certificate may have been replaced because others know its key.
pub(crate) async fn send(
    client: &HttpClient,
    mut request: Request<RequestBody>,
) -> Result<Response<Incoming>, Error> {
    let connection = capture_connection(&mut request);
    let response = client.request(request).await?;
    let version = response.extensions().get::<Arc<TlsVersion>>();
    if version.is_some_and(|version| !version.is_current())
        && let Some(connection) = connection.connection_metadata().as_ref()
    {
        connection.poison();
    }
    Ok(response)
}
