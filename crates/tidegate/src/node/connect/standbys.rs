//! The standbys of a source.

use std::sync::Arc;

use ::node::StandbyMetrics;
use cache::OriginErrorKind;
use cache::origin::postgres::Standby;
use coherence::Replayed;
use database::DatabaseUrl;
use feed::Source;
use prometheus_client::registry::Registry;

use crate::config;
use crate::node::error::NodeError;

/// A source's standbys and their metrics.
#[derive(Clone, Default)]
pub(crate) struct Standbys {
    pub(crate) all: Vec<Arc<Standby>>,
    pub(crate) metrics: StandbyMetrics,
}

impl Standbys {
    /// Creates the standbys and probes each once. One that does not answer, or is no standby at the moment,
    /// is probed again later.
    ///
    /// # Errors
    /// A server can never be used as configured: it belongs to another system, or hides its timeline.
    pub(super) async fn connect(
        name: &str,
        source: &config::Source,
        primary: &dyn Source,
        registry: &mut Registry,
    ) -> Result<Self, NodeError> {
        if source.replicas.is_empty() {
            return Ok(Self::default());
        }
        let unsuitable =
            |text: String| NodeError::Unsuitable(format!("[source.{name}] replicas: {text}"));
        let failed =
            |error| NodeError::Feed { name: name.to_owned(), url: source.url.to_string(), error };
        let system = primary.log_end().await.map_err(failed)?.system;
        let mut all: Vec<Arc<Standby>> = Vec::new();
        for url in &source.replicas {
            let DatabaseUrl::Postgres(url) = url else { continue };
            let standby = Standby::new(name, url, source.connections, source.load_timeout)?;
            if all.iter().any(|other| other.name() == standby.name()) {
                return Err(unsuitable(format!("{} is there twice", standby.name())));
            }
            match standby.probe().await {
                Ok(Replayed { log, .. }) if log.system != system => {
                    return Err(unsuitable(format!(
                        "{} is no standby of this source: its system identifier is {}, the \
                         primary's is {system}; name servers that stream from the primary",
                        standby.name(),
                        log.system
                    )));
                }
                Err(err) if err.kind == OriginErrorKind::Broken => {
                    return Err(unsuitable(format!("{}: {}", standby.name(), err.message)));
                }
                // `watch_standby` logs any other fault.
                Ok(_) | Err(_) => all.push(Arc::new(standby)),
            }
        }
        Ok(Self { all, metrics: StandbyMetrics::new(registry) })
    }
}
