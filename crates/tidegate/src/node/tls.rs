//! TLS of the listeners.

use std::sync::Arc;

use ::acme::CertificateKeeper;
use ::listen::{Security, TlsListener, TlsMetrics};
use ::node::Health;
use ::tls::{ServerFiles, ServerTls};
use coherence::Clock;
use prometheus_client::registry::Registry;

use super::error::NodeError;
use super::listen::NAMES;
use crate::config::{Config, ListenerTls};

/// The protocols of the gateway. A client that offers others only is refused (RFC 7301, section 3.2).
const HTTP: &[&[u8]] = &[b"h2", b"http/1.1", b"http/1.0"];

/// The protocols of private listeners.
const HTTP_1: &[&[u8]] = &[b"http/1.1", b"http/1.0"];

/// The names of the components in `/readyz`, in the order of the listeners.
const COMPONENTS: [&str; 4] = ["gateway_tls", "data_tls", "admin_tls", "sale_tls"];

/// TLS of the listeners, in the order of their names. `None`: the listener is not encrypted.
pub(super) struct TlsListeners([Option<Arc<TlsListener>>; 4]);

impl TlsListeners {
    /// Reads the certificates of all listeners.
    ///
    /// # Errors
    /// [`NodeError::Tls`].
    pub(super) fn open(config: &Config, registry: &mut Registry) -> Result<Self, NodeError> {
        let metrics = TlsMetrics::register(registry);
        let (listen, access) = (&config.listen, &config.access);
        let clients = || (access.client_ca.clone(), access.client_crl.clone());
        let open = |at: usize, tls: &Option<ListenerTls>, (client_ca, client_crl), alpn| {
            let Some(tls) = tls else { return Ok::<_, NodeError>(None) };
            let managed = tls.managed();
            let challenges = tls.acme.as_ref().map(CertificateKeeper::challenges);
            let ListenerTls { certificates, min_version, .. } = tls.clone();
            let files =
                ServerFiles { certificates, managed, client_ca, client_crl, min_version, alpn };
            let name = NAMES[at];
            let server =
                ServerTls::open(files).map_err(|error| NodeError::Tls { listener: name, error })?;
            let (server, timeout) = (Arc::new(server), listen.handshake_timeout);
            let listener = TlsListener::new(name, server, timeout, metrics.clone());
            Ok(Some(Arc::new(match challenges {
                None => listener,
                Some(challenges) => listener.with_challenges(challenges),
            })))
        };
        Ok(Self([
            open(0, &listen.tls.gateway, (None, None), HTTP)?,
            open(1, &listen.tls.data, clients(), HTTP_1)?,
            open(2, &listen.tls.admin, clients(), HTTP_1)?,
            open(3, &listen.tls.sale, clients(), HTTP_1)?,
        ]))
    }

    /// Returns how each listener is encrypted.
    pub(super) fn security(&self) -> [Security; 4] {
        self.0.clone().map(|tls| tls.map_or(Security::Plain, Security::Tls))
    }

    /// Returns the TLS of the gateway.
    pub(super) fn gateway(&self) -> Option<&Arc<TlsListener>> {
        self.0[0].as_ref()
    }

    /// Returns the loops that read the certificates again, and report to `/readyz`.
    pub(super) fn loops(
        &self,
        clock: &Arc<dyn Clock>,
        health: &Arc<Health>,
    ) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let listeners = self.0.iter().cloned().zip(COMPONENTS);
        let loops = listeners.filter_map(|(tls, component)| {
            let (tls, clock, health) = (tls?, Arc::clone(clock), Arc::clone(health));
            let now_s = move || clock.wall_ms() / 1_000;
            let report = move |ok, detail: String| health.optional(component, ok, detail);
            Some(tls.watch(now_s, report))
        });
        loops.collect()
    }
}
