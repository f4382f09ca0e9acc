//! The certificates that an authority issues for the gateway.

use std::sync::Arc;

use ::acme::{AcmeMetrics, AcmeOptions, CertificateKeeper, Transport, TransportError};
use ::listen::Challenges;
use ::node::Health;
use async_trait::async_trait;
use bytes::Bytes;
use coherence::Clock;
use edge::TlsFiles;
use http::{Request, Response};
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::http_client::Target;

/// The largest response of an authority: a chain of certificates has some kilobytes.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// The certificates that an authority issues.
pub(super) struct KeptCertificates {
    options: AcmeOptions,
    metrics: AcmeMetrics,
    /// The answers to the authority's checks.
    pub(super) challenges: Arc<dyn Challenges>,
}

impl KeptCertificates {
    pub(super) fn of(config: &Config, registry: &mut Registry) -> Option<Self> {
        let options = config.listen.tls.gateway.as_ref()?.acme.clone()?;
        // Without an upstream there is no gateway whose certificates they are.
        config.gateway.as_ref()?;
        let challenges = CertificateKeeper::challenges(&options);
        Some(Self { options, metrics: AcmeMetrics::register(registry), challenges })
    }

    /// Returns the loop that gets and renews them, and reports to `/readyz`.
    pub(super) fn keep(
        &self,
        clock: &Arc<dyn Clock>,
        health: &Arc<Health>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let files = TlsFiles { ca: self.options.ca.clone(), ..TlsFiles::default() };
        let (clock, health) = (Arc::clone(clock), Arc::clone(health));
        let now_s = move || clock.wall_ms() / 1_000;
        let transport = Arc::new(HttpsTransport { files });
        let keeper =
            CertificateKeeper::new(self.options.clone(), transport, self.metrics.clone(), now_s);
        keeper.run(move |ok, detail| health.optional("acme", ok, detail))
    }
}

/// Connects for each request: an authority is called some ten times in two months.
struct HttpsTransport {
    files: TlsFiles,
}

#[async_trait]
impl Transport for HttpsTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let authority = request.uri().authority().ok_or("the URL has no host")?;
        let target = Target::new(&format!("https://{authority}"), &self.files)?;
        Ok(target.exchange(request, RESPONSE_BYTES_MAX).await?)
    }
}
