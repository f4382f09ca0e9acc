//! Samples the end of the primary's log, from which staleness bounds are proven.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{Clock, Lsn, Mono};
use feed::Source;

use crate::health::Health;
use crate::schema::{SchemaDependent, SchemaFollower};
use crate::tier_watch::TierWatch;

/// A tier that does not reach a sampled end in this time gets a nudge: the end of an idle log may lie on WAL
/// that is never flushed or sent (page header, hint bits).
const NUDGE_AFTER: Duration = Duration::from_millis(500);

/// A bound of this size reports the component `log` as failed; contracts check the bound themselves.
const LATE_BOUND: Duration = Duration::from_secs(2);

/// The interval of samples while the leader has not applied the schema yet.
const PENDING_INTERVAL: Duration = Duration::from_millis(50);

/// The time limit of one sample.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A source that fails for less than this is not reported: at the start the feed may still create the log
/// that is sampled. Bounds grow from the first failure on, reported or not.
const FAILURE_GRACE: Duration = Duration::from_secs(1);

/// Samples the end of a source's log at a fixed interval.
pub struct LogSampler {
    engine: Engine,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    interval: Duration,
    origins: Vec<SchemaDependent>,
}

impl LogSampler {
    /// Creates a sampler that asks `source` every `interval` and reports the components `source` and `log` to
    /// `health`.
    #[must_use]
    pub fn new(
        engine: Engine,
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        interval: Duration,
    ) -> Self {
        Self { engine, source, clock, health, interval, origins: Vec::new() }
    }

    /// Also prepares `origins` again whenever the source's schema was altered.
    #[must_use]
    pub fn with_origins(self, origins: Vec<SchemaDependent>) -> Self {
        Self { origins, ..self }
    }

    /// Samples until it is dropped.
    pub async fn run(self) {
        let Self { engine, source, clock, health, interval, origins } = self;
        let mut schema = SchemaFollower::new(engine.clone(), Arc::clone(&source), origins);
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut behind_since = None;
        let mut failures = FailureStreak::default();
        let mut tier = TierWatch::new(source.orders_timelines());
        loop {
            ticks.tick().await;
            let asked = clock.mono();
            let answer = match tokio::time::timeout(SAMPLE_TIMEOUT, source.sample()).await {
                Ok(answer) => answer.map_err(|err| err.to_string()),
                Err(_) => Err(format!("no answer within {SAMPLE_TIMEOUT:?}")),
            };
            let sample = match answer {
                Ok(sample) => sample,
                Err(detail) => {
                    if failures.outlasts_grace(asked, clock.mono()) {
                        health.optional("source", false, detail);
                    }
                    continue;
                }
            };
            failures = FailureStreak::default();
            health.optional("source", true, "answers");
            let (log, end) = (sample.end.log(), sample.end.lsn);
            if let Some(position) = schema.proven_at(&sample, &health).await {
                engine.sample(log, asked, position);
            } else if schema.is_pending() {
                ticks.reset_after(interval.min(PENDING_INTERVAL));
            }
            tier.report(&engine, log, clock.mono(), &health).await;
            let status = engine.status();
            let applied: Lsn = status.applied;
            match status.bound {
                Some(bound) if bound >= LATE_BOUND => {
                    let detail = format!(
                        "commits of the last {bound:.1?} may be missing here: {applied} is applied, the \
                         log ends at {end}"
                    );
                    health.optional("log", false, detail);
                }
                Some(_) => health.optional("log", true, "is applied as it arrives"),
                None => {}
            }
            if applied >= end {
                behind_since = None;
                continue;
            }
            let since = *behind_since.get_or_insert(asked);
            if clock.mono().since(since) >= NUDGE_AFTER {
                behind_since = None;
                if let Err(err) = source.nudge().await {
                    tracing::debug!(error = %err, "the log could not be nudged");
                }
            }
        }
    }
}

/// The time of the first sample since which all have failed.
#[derive(Debug, Default)]
struct FailureStreak(Option<Mono>);

impl FailureStreak {
    /// Adds a sample that was started at `asked` and has failed by `now`; returns whether no sample has
    /// succeeded for [`FAILURE_GRACE`].
    fn outlasts_grace(&mut self, asked: Mono, now: Mono) -> bool {
        now.since(*self.0.get_or_insert(asked)) >= FAILURE_GRACE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use async_trait::async_trait;
    use cache::shared::MemoryTier;
    use cache::{EngineOptions, Metrics};
    use feed::{FeedError, Identity, LogEnd, LogMessage};

    use super::*;

    /// A source that fails the first `failures` samples. Each takes a quarter of a second on its own clock.
    struct FailingSource {
        failures: u64,
        samples: AtomicU64,
        health: Arc<Health>,
        /// The first reported state of the component, read at the next sample.
        first_report: OnceLock<bool>,
    }

    impl Clock for FailingSource {
        fn mono(&self) -> Mono {
            Mono(self.samples.load(Relaxed) * 250_000_000)
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    #[async_trait]
    impl Source for FailingSource {
        async fn log_end(&self) -> Result<LogEnd, FeedError> {
            if let Some(source) = self.health.readiness().components.get("source") {
                self.first_report.get_or_init(|| source.ok);
            }
            if self.samples.fetch_add(1, Relaxed) < self.failures {
                return Err(FeedError::Malformed("it has no change log yet".into()));
            }
            Ok(LogEnd { system: 1, timeline: 1, server: 0, lsn: Lsn(1) })
        }

        async fn emit(&self, _: &LogMessage) -> Result<Lsn, FeedError> {
            unreachable!("no purge request is sent")
        }

        async fn nudge(&self) -> Result<(), FeedError> {
            Ok(())
        }

        async fn identity(&self) -> Result<Identity, FeedError> {
            unreachable!("the sampler does not ask for it")
        }
    }

    /// Returns the first reported state of a source that fails the first `failures` samples.
    async fn first_report(failures: u64) -> bool {
        let source = Arc::new(FailingSource {
            failures,
            samples: AtomicU64::default(),
            health: Arc::default(),
            first_report: OnceLock::new(),
        });
        let (clock, health) =
            (Arc::<FailingSource>::clone(&source) as Arc<dyn Clock>, Arc::clone(&source.health));
        let shared = Arc::new(MemoryTier::new(Arc::clone(&clock), 1 << 20));
        let options = EngineOptions::default();
        let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
        let interval = Duration::from_millis(2);
        let sampled = Arc::<FailingSource>::clone(&source);
        let sampler = LogSampler::new(engine, sampled, clock, health, interval);
        let sampling = tokio::spawn(sampler.run());
        loop {
            if let Some(ok) = source.first_report.get() {
                sampling.abort();
                return *ok;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn source_within_grace_not_reported() {
        assert!(first_report(3).await);
    }

    #[tokio::test]
    async fn source_beyond_grace_reported_failed() {
        assert!(!first_report(4).await);
    }
}
