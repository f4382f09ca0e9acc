//! The HTTP client for the upstream and for services.

use std::time::Duration;

use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::Connector;
use super::upload::RequestBody;

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
