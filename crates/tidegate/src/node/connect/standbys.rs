//! The standbys of a source.

use std::sync::Arc;

use ::node::{StandbyMetrics, StandbyProbe};
use async_trait::async_trait;
use cache::origin::mariadb::PrimaryLog;
use cache::{OriginError, OriginErrorKind};
use coherence::{Log, Replayed};
use database::DatabaseUrl;
use feed::Source;
use prometheus_client::registry::Registry;

use crate::config;
use crate::node::error::NodeError;

/// A source's standbys and their metrics.
#[derive(Clone, Default)]
pub(crate) struct Standbys {
    pub(crate) all: Vec<Arc<dyn StandbyProbe>>,
    pub(crate) metrics: StandbyMetrics,
}

impl Standbys {
    /// Creates the standbys and probes each once. One that does not answer, or is no standby at the moment,
    /// is probed again later. `standby` creates the one at a URL. Also returns them as origins know them.
    ///
    /// # Errors
    /// A server can never be used as configured: it belongs to another system, or hides its position.
    pub(super) async fn connect<S: StandbyProbe>(
        name: &str,
        source: &config::Source,
        primary: &dyn Source,
        registry: &mut Registry,
        standby: impl Fn(&DatabaseUrl) -> Option<Result<S, OriginError>>,
    ) -> Result<(Self, Vec<Arc<S>>), NodeError> {
        if source.replicas.is_empty() {
            return Ok((Self::default(), Vec::new()));
        }
        let unsuitable =
            |text: String| NodeError::Unsuitable(format!("[source.{name}] replicas: {text}"));
        let failed =
            |error| NodeError::Feed { name: name.to_owned(), url: source.url.to_string(), error };
        let system = primary.log_end().await.map_err(failed)?.system;
        let mut all: Vec<Arc<S>> = Vec::new();
        for url in &source.replicas {
            let Some(standby) = standby(url) else { continue };
            let standby = standby?;
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
        let probed = all.iter().map(|standby| Arc::clone(standby) as Arc<dyn StandbyProbe>);
        Ok((Self { all: probed.collect(), metrics: StandbyMetrics::new(registry) }, all))
    }
}

/// The log that the feed of a source follows.
pub(super) struct FollowedLog<S>(pub(super) Arc<S>);

#[async_trait]
impl<S: Source + 'static> PrimaryLog for FollowedLog<S> {
    async fn log(&self) -> Result<Log, OriginError> {
        let end = self.0.log_end().await;
        let end = end.map_err(|err| OriginError {
            kind: OriginErrorKind::Unavailable,
            message: format!("the primary does not answer: {err}"),
        })?;
        Ok(end.log())
    }
}
