//! Samples the end of the primary's log, from which staleness bounds are proven.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{Clock, ClockReading, Log, Lsn, Mono, SamplePace, SampleResult};
use feed::Source;
use tokio::time::Instant;

use crate::health::Health;
use crate::schema::{SchemaDependent, SchemaFollower};
use crate::tier_watch::TierWatch;

/// A tier that does not reach a sampled end in this time gets a nudge: the end of an idle log may lie on WAL
/// that is never flushed or sent (page header, hint bits).
const NUDGE_AFTER: Duration = Duration::from_millis(500);

/// A bound of this size reports the component `log` as failed; contracts check the bound themselves.
const LATE_BOUND: Duration = Duration::from_secs(2);

/// The time limit of one sample.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time between two readings of the database's clock: a clock that is set is noticed after this time.
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// A source that fails for less than this is not reported: at the start the feed may still create the log
/// that is sampled. Bounds grow from the first failure on, reported or not.
const FAILURE_GRACE: Duration = Duration::from_secs(1);

/// Samples the end of a source's log.
pub struct LogSampler {
    engine: Engine,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    pace: SamplePace,
    schema: SchemaFollower,
    tier: TierWatch,
    failures: FailureStreak,
    /// The time of the next reading of the database's clock; `None`: the source has none.
    next_reading: Option<Mono>,
    /// The time since which the tier has not reached the sampled end.
    behind_since: Option<Mono>,
}

impl LogSampler {
    /// Creates a sampler that asks `source` at this pace and reports the components `source` and `log` to
    /// `health`.
    #[must_use]
    pub fn new(
        engine: Engine,
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
        pace: SamplePace,
    ) -> Self {
        let schema = SchemaFollower::new(engine.clone(), Arc::clone(&source));
        let tier = TierWatch::new(source.orders_timelines());
        let failures = FailureStreak::default();
        let (next_reading, behind_since) = (Some(Mono(0)), None);
        Self {
            engine,
            source,
            clock,
            health,
            pace,
            schema,
            tier,
            failures,
            next_reading,
            behind_since,
        }
    }

    /// Also prepares `origins` again whenever the source's schema was altered.
    #[must_use]
    pub fn with_origins(mut self, origins: Vec<SchemaDependent>) -> Self {
        self.schema.prepare(origins);
        self
    }

    /// Samples until it is dropped.
    pub async fn run(mut self) {
        let period = self.pace.fastest;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let began = Instant::now();
            let result = self.sample().await;
            let pause = self.pace.pause(result);
            if pause != period {
                ticks.reset_at(began + pause);
            }
        }
    }

    /// Takes one sample.
    async fn sample(&mut self) -> SampleResult {
        let asked = self.clock.mono();
        let answer = match tokio::time::timeout(SAMPLE_TIMEOUT, self.source.sample()).await {
            Ok(answer) => answer.map_err(|err| err.to_string()),
            Err(_) => Err(format!("no answer within {SAMPLE_TIMEOUT:?}")),
        };
        let answered = self.clock.mono();
        let sample = match answer {
            Ok(sample) => sample,
            Err(detail) => {
                if self.failures.outlasts_grace(asked, answered) {
                    self.health.optional("source", false, detail);
                }
                return SampleResult::Unproven;
            }
        };
        self.failures = FailureStreak::default();
        self.health.optional("source", true, "answers");
        let log = sample.end.log();
        let result = match self.schema.proven_at(&sample, &self.health).await {
            Some(position) => {
                self.engine.sample(log, asked, position);
                SampleResult::Proves(answered.since(asked))
            }
            None if self.schema.is_pending() => SampleResult::Pending,
            None => SampleResult::Unproven,
        };
        self.read_clock(log).await;
        self.tier.report(&self.engine, log, self.clock.mono(), &self.health).await;
        self.follow_up(asked, sample.end.lsn).await;
        result
    }

    /// Reads the database's clock, if that is due. Without an answer the last reading stays, whose turns widen with its age.
    async fn read_clock(&mut self, log: Log) {
        let asked = self.clock.mono();
        if self.next_reading.is_none_or(|next| asked < next) {
            return;
        }
        self.next_reading = Some(asked + CLOCK_PERIOD);
        let answer = tokio::time::timeout(SAMPLE_TIMEOUT, self.source.clock()).await;
        let answered = self.clock.mono();
        match answer {
            Ok(Ok(Some(shown))) => {
                self.engine.record_clock(log, ClockReading { asked, answered, shown });
            }
            Ok(Ok(None)) => self.next_reading = None,
            Ok(Err(err)) => tracing::debug!(error = %err, "the database's clock could not be read"),
            Err(_) => tracing::debug!("the database's clock was not read in time"),
        }
    }

    /// Reports how far the tier is behind the sampled end, and nudges a log that does not reach it.
    async fn follow_up(&mut self, asked: Mono, end: Lsn) {
        let status = self.engine.status();
        let applied: Lsn = status.applied;
        match status.bound {
            Some(bound) if bound >= LATE_BOUND => {
                let detail = format!(
                    "commits of the last {bound:.1?} may be missing here: {applied} is applied, the \
                     log ends at {end}"
                );
                self.health.optional("log", false, detail);
            }
            Some(_) => self.health.optional("log", true, "is applied as it arrives"),
            None => {}
        }
        if applied >= end {
            self.behind_since = None;
            return;
        }
        let since = *self.behind_since.get_or_insert(asked);
        if self.clock.mono().since(since) >= NUDGE_AFTER {
            self.behind_since = None;
            if let Err(err) = self.source.nudge().await {
                tracing::debug!(error = %err, "the log could not be nudged");
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
        let pace = SamplePace::constant(Duration::from_millis(2));
        let sampled = Arc::<FailingSource>::clone(&source);
        let sampler = LogSampler::new(engine, sampled, clock, health, pace);
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
