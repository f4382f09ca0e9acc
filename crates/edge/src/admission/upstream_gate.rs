//! The gate through which every request enters the upstream.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use cache::admission::class_capacity;
use contract::Class;
use http::uri::Authority;
use http::{HeaderValue, response};

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
/// until the response body ends, with the shares of the engine's gate: the lowest class is shed first,
/// and the last tenth is left to [`Class::Critical`] ([`class_capacity`]).
#[derive(Debug)]
pub(crate) struct UpstreamGate {
    upstream: Upstream,
    max: usize,
    in_flight: Arc<AtomicUsize>,
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
            max: options.max_upstream_requests,
            in_flight: Arc::default(),
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
        let capacity = class_capacity(self.max as f64, class) as usize;
        match UpstreamPermit::acquire(&self.in_flight, capacity) {
            Some(permit) => Ok(permit),
            None => {
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
    fn lowest_class_shed_first() {
        let mut options = GatewayOptions::new("http://127.0.0.1:1".parse().expect("a URI"));
        options.max_upstream_requests = 10;
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        let gate = UpstreamGate::new(&options, Authority::from_static("127.0.0.1:1"), metrics);
        let shared = Audience::Shared(Default::default());
        let mut permits = Vec::new();
        for (class, admitted) in [(Class::Ephemeral, 7), (Class::Standard, 2), (Class::Critical, 1)]
        {
            // Page loads and passes share the limit.
            for nth in 0..admitted {
                let audience = if nth % 2 == 0 { shared } else { Audience::Client };
                permits.push(gate.admit(class, audience).expect("capacity"));
            }
            let err = gate.admit(class, Audience::Client).expect_err("no capacity");
            assert!(matches!(err, UpstreamError::Overloaded), "{class:?}");
        }
        permits.truncate(6);
        gate.admit(Class::Ephemeral, Audience::Client).expect("a slot is free again");
    }
}
