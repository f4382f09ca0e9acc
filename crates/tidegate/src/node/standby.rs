//! The source's standbys: found at the start, looked at from then on.

use std::sync::Arc;
use std::time::Duration;

use cache::origin::postgres::Standby;
use cache::{Engine, OriginErrorKind};
use coherence::Replayed;
use feed::Source;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::NodeError;
use crate::config::{self, SourceUrl};

/// The pause after a look that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A source's standbys, and what is told of them.
#[derive(Clone, Default)]
pub(super) struct Standbys {
    pub(super) all: Vec<Arc<Standby>>,
    metrics: Metrics,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByStandby {
    standby: String,
}

#[derive(Clone, Default)]
struct Metrics {
    usable: Family<ByStandby, Gauge>,
    lag_bytes: Family<ByStandby, Gauge>,
}

impl Standbys {
    /// Makes them and has a first look at each. One that is away, or is none at the moment, is looked at
    /// again later.
    ///
    /// # Errors
    /// One can never be used as things are: it is of another system, or hides what has to be known.
    pub(super) async fn connect(
        name: &str,
        source: &config::Source,
        primary: &dyn Source,
        registry: &mut Registry,
    ) -> Result<Self, NodeError> {
        if source.replicas.is_empty() {
            return Ok(Self::default());
        }
        let unfit = |text: String| NodeError::Unfit(format!("[source.{name}] replicas: {text}"));
        let failed =
            |error| NodeError::Feed { name: name.to_owned(), url: source.url.to_string(), error };
        let system = primary.log_end().await.map_err(failed)?.system;
        let mut all: Vec<Arc<Standby>> = Vec::new();
        for url in &source.replicas {
            let SourceUrl::Postgres(url) = url else { continue };
            let standby = Standby::new(name, url, source.connections, source.load_timeout)?;
            if all.iter().any(|other| other.name() == standby.name()) {
                return Err(unfit(format!("{} is there twice", standby.name())));
            }
            match standby.look().await {
                Ok(Replayed { log, .. }) if log.system != system => {
                    return Err(unfit(format!(
                        "{} is no standby of this source: its system identifier is {}, the \
                         primary's is {system}; name servers that stream from the primary",
                        standby.name(),
                        log.system
                    )));
                }
                Err(err) if err.kind == OriginErrorKind::Broken => {
                    return Err(unfit(format!("{}: {}", standby.name(), err.message)));
                }
                // Whoever watches it tells what is wrong with it now.
                Ok(_) | Err(_) => all.push(Arc::new(standby)),
            }
        }
        Ok(Self { all, metrics: Metrics::new(registry) })
    }

    /// Looks at one of them for ever.
    pub(super) async fn watch(&self, standby: Arc<Standby>, engine: Engine, every: Duration) {
        let label = ByStandby { standby: standby.name().to_owned() };
        let mut told = None;
        loop {
            let looked = standby.look().await;
            // The primary's end that is compared with was sampled at another moment.
            let behind = |replayed: &Replayed| {
                let behind = engine.log_end()?.0.saturating_sub(replayed.upto.0);
                i64::try_from(behind).ok()
            };
            let lag = looked.as_ref().ok().and_then(behind);
            let fault = match looked {
                Err(err) => Some(err.message),
                Ok(replayed) => {
                    let epoch = engine.standing().epoch;
                    let other = epoch.is_some_and(|epoch| !replayed.is_of(epoch));
                    other.then(|| {
                        format!(
                            "it follows timeline {}, the source does not",
                            replayed.log.timeline
                        )
                    })
                }
            };
            self.metrics.usable.get_or_create(&label).set(i64::from(fault.is_none()));
            self.metrics.lag_bytes.get_or_create(&label).set(lag.unwrap_or(-1));
            let failed = fault.is_some();
            if told.as_ref() != Some(&fault) {
                let standby = standby.name();
                match &fault {
                    Some(fault) => tracing::warn!(standby, "a standby is not used: {fault}"),
                    None => tracing::info!(standby, "a standby is used for loads"),
                }
                told = Some(fault);
            }
            tokio::time::sleep(if failed { every.max(PAUSE) } else { every }).await;
        }
    }
}

impl Metrics {
    fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tidegate_standby_usable",
            "Whether a standby answers, streams and is on the source's timeline",
            metrics.usable.clone(),
        );
        registry.register(
            "tidegate_standby_lag_bytes",
            "How much of the primary's log a standby has not replayed, -1 while not known",
            metrics.lag_bytes.clone(),
        );
        metrics
    }
}
