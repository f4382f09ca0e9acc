//! Watches a source's standbys: whether each can serve loads, and how far it lags.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::origin::mariadb::MariaDbStandby;
use cache::origin::postgres::Standby;
use cache::{Engine, OriginError};
use coherence::Replayed;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The shortest pause after a probe that failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// A standby that reports its replay position.
#[async_trait]
pub trait StandbyProbe: Send + Sync + 'static {
    /// Returns the name of the standby in metrics and logs.
    fn name(&self) -> &str;

    /// Reads how far the standby has replayed the log. A successful probe makes it usable for loads.
    ///
    /// # Errors
    /// The reason that it can't be used.
    async fn probe(&self) -> Result<Replayed, OriginError>;
}

#[async_trait]
impl StandbyProbe for Standby {
    fn name(&self) -> &str {
        Standby::name(self)
    }

    async fn probe(&self) -> Result<Replayed, OriginError> {
        Standby::probe(self).await
    }
}

#[async_trait]
impl StandbyProbe for MariaDbStandby {
    fn name(&self) -> &str {
        MariaDbStandby::name(self)
    }

    async fn probe(&self) -> Result<Replayed, OriginError> {
        MariaDbStandby::probe(self).await
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByStandby {
    standby: String,
}

/// Gauges by standby. Clones share the values.
#[derive(Clone, Default)]
pub struct StandbyMetrics {
    usable: Family<ByStandby, Gauge>,
    lag_bytes: Family<ByStandby, Gauge>,
}

impl StandbyMetrics {
    /// Creates the metrics and registers them in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tidegate_standby_usable",
            "Whether a standby answers, streams and is on the source's timeline",
            metrics.usable.clone(),
        );
        registry.register(
            "tidegate_standby_lag_bytes",
            "Bytes of the primary's log that a standby has not replayed; -1 while unknown",
            metrics.lag_bytes.clone(),
        );
        metrics
    }
}

/// Probes `standby` every `interval` until it is dropped; logs each change of its state.
pub async fn watch_standby(
    standby: Arc<dyn StandbyProbe>,
    engine: Engine,
    interval: Duration,
    metrics: StandbyMetrics,
) {
    let label = ByStandby { standby: standby.name().to_owned() };
    let mut logged = None;
    loop {
        let probe = standby.probe().await;
        // The primary's end was sampled at another time, so the difference may be below zero.
        let behind = |replayed: &Replayed| {
            let behind = engine.log_end()?.0.saturating_sub(replayed.upto.0);
            i64::try_from(behind).ok()
        };
        let lag = probe.as_ref().ok().and_then(behind);
        let fault = match probe {
            Err(err) => Some(err.message),
            Ok(replayed) => {
                let epoch = engine.status().epoch;
                let other = epoch.is_some_and(|epoch| !replayed.is_of(epoch));
                other.then(|| {
                    format!("it follows timeline {}, the source does not", replayed.log.timeline)
                })
            }
        };
        metrics.usable.get_or_create(&label).set(i64::from(fault.is_none()));
        metrics.lag_bytes.get_or_create(&label).set(lag.unwrap_or(-1));
        let failed = fault.is_some();
        if logged.as_ref() != Some(&fault) {
            let standby = standby.name();
            match &fault {
                Some(fault) => tracing::warn!(standby, "a standby is not used: {fault}"),
                None => tracing::info!(standby, "a standby is used for loads"),
            }
            logged = Some(fault);
        }
        tokio::time::sleep(if failed { interval.max(FAILURE_PAUSE) } else { interval }).await;
    }
}
