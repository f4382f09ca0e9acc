//! The gate through which every request enters the upstream.

use std::sync::Arc;

use contract::Class;
use http::uri::Authority;
use http::{HeaderValue, response};
use tokio::sync::Semaphore;

use crate::http::body::Stream;
use crate::http::in_flight::UpstreamPermit;
use crate::settings::options::GatewayOptions;
use crate::telemetry::metrics::Metrics;
use crate::upstream::error::UpstreamError;
use crate::upstream::pool::Upstream;
use crate::upstream::request::{Audience, ForwardRequest};
use crate::upstream::upload::RequestBody;

/// The upstream behind its admission. Page loads, writes and private pages all use
/// [`send`](Self::send); no other code has access to the pool.
///
/// The engine's gate has already admitted a page load ([`Audience::Shared`]) by its priority class. A
/// pass ([`Audience::Client`]) meets its first admission here. The concurrency limit applies to both,
/// until the response body ends.
#[derive(Debug)]
pub(crate) struct UpstreamGate {
    upstream: Upstream,
    limit: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl UpstreamGate {
    pub(crate) fn new(
        options: &GatewayOptions,
        authority: Authority,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            upstream: Upstream::new(options, authority, Arc::clone(&metrics)),
            limit: Arc::new(Semaphore::new(options.max_upstream_requests)),
            metrics,
        }
    }

    /// The upstream's own host.
    pub(crate) fn upstream_host(&self) -> &HeaderValue {
        self.upstream.host()
    }

    /// Sends a request of a priority class, if the upstream has capacity, and waits for the head of
    /// the response.
    ///
    /// # Errors
    /// [`UpstreamError::Overloaded`] where the request is not admitted; any other [`UpstreamError`]
    /// of the exchange itself.
    pub(crate) async fn send(
        &self,
        class: Class,
        request: &ForwardRequest,
        audience: Audience,
        body: RequestBody,
    ) -> Result<(response::Parts, Stream), UpstreamError> {
        let permit = self.admit(class, audience)?;
        self.upstream.send(request, audience, body, permit).await
    }

    fn admit(&self, class: Class, audience: Audience) -> Result<UpstreamPermit, UpstreamError> {
        match Arc::clone(&self.limit).try_acquire_owned() {
            Ok(slot) => Ok(UpstreamPermit::new(slot)),
            Err(_) => {
                tracing::debug!(?class, ?audience, "upstream request shed: limit reached");
                let err = UpstreamError::Overloaded;
                self.metrics.record_upstream_error(err.proxy_error());
                Err(err)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn full_upstream_sheds_every_class() {
        let mut options = GatewayOptions::new("http://127.0.0.1:1".parse().expect("a URI"));
        options.max_upstream_requests = 2;
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        let gate = UpstreamGate::new(&options, Authority::from_static("127.0.0.1:1"), metrics);
        let shared = Audience::Shared(Default::default());
        let load = gate.admit(Class::Standard, shared).expect("capacity");
        let _write = gate.admit(Class::Critical, Audience::Client).expect("capacity");
        for class in [Class::Ephemeral, Class::Standard, Class::Critical] {
            for audience in [shared, Audience::Client] {
                let err = gate.admit(class, audience).expect_err("no capacity");
                assert!(matches!(err, UpstreamError::Overloaded), "{class:?} {audience:?}");
            }
        }
        drop(load);
        gate.admit(Class::Ephemeral, Audience::Client).expect("the slot is free again");
    }
}
