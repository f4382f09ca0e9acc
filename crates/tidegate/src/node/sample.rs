//! Asks the primary how long its log is: what the staleness bound is proven with.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{Clock, Log, Lsn, Mono};
use control::Health;
use feed::Source;

/// A log that does not get to a sampled end in this time is nudged: the end of an idle log may lie
/// on WAL that nobody will flush or send (page header, hint bits).
const STUCK: Duration = Duration::from_millis(500);

/// A log that is applied so much later is called late; contracts look at the bound themselves.
const LATE: Duration = Duration::from_secs(2);

/// How long the primary has for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A source that fails for less than this is not reported: at the start the feed may still be making the
/// log whose end is asked for. Bounds grow from the first failure on, reported or not.
const GRACE: Duration = Duration::from_secs(1);

/// Samples for ever, every `interval`.
pub(crate) async fn sample(
    engine: Engine,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    interval: Duration,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut behind_since = None;
    let mut failing = Failing::default();
    loop {
        ticks.tick().await;
        let asked = clock.mono();
        let answer = match tokio::time::timeout(PATIENCE, source.log_end()).await {
            Ok(answer) => answer.map_err(|err| err.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        let end = match answer {
            Ok(end) => end,
            Err(detail) => {
                if failing.lasts(asked, clock.mono()) {
                    health.optional("source", false, detail);
                }
                continue;
            }
        };
        failing = Failing::default();
        health.optional("source", true, "answers");
        let log = Log { system: end.system, timeline: end.timeline, server: 0 };
        let end = end.lsn;
        engine.sample(log, asked, end);
        let standing = engine.standing();
        let applied: Lsn = standing.applied;
        match standing.bound {
            Some(bound) if bound >= LATE => {
                let detail = format!(
                    "what was committed {bound:.1?} ago is not applied here: {applied} is, the log \
                     ends at {end}"
                );
                health.optional("log", false, detail);
            }
            Some(_) => health.optional("log", true, "is applied as it comes"),
            None => {}
        }
        if applied >= end {
            behind_since = None;
            continue;
        }
        let since = *behind_since.get_or_insert(asked);
        if clock.mono().since(since) >= STUCK {
            behind_since = None;
            if let Err(err) = source.nudge().await {
                tracing::debug!(error = %err, "the log could not be nudged");
            }
        }
    }
}

/// Since when every question has failed.
#[derive(Debug, Default)]
struct Failing(Option<Mono>);

impl Failing {
    /// A question that was asked at `asked` has failed by `now`: whether none has been answered for
    /// [`GRACE`].
    fn lasts(&mut self, asked: Mono, now: Mono) -> bool {
        now.since(*self.0.get_or_insert(asked)) >= GRACE
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

    /// Fails so many questions, then answers. Each takes a quarter of a second on its own clock.
    struct FailsFirst {
        questions: u64,
        asked: AtomicU64,
        health: Arc<Health>,
        /// What had been said of it when it was asked next: whether it works.
        first_said: OnceLock<bool>,
    }

    impl Clock for FailsFirst {
        fn mono(&self) -> Mono {
            Mono(self.asked.load(Relaxed) * 250_000_000)
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    #[async_trait]
    impl Source for FailsFirst {
        async fn log_end(&self) -> Result<LogEnd, FeedError> {
            if let Some(said) = self.health.readiness().components.get("source") {
                self.first_said.get_or_init(|| said.ok);
            }
            if self.asked.fetch_add(1, Relaxed) < self.questions {
                return Err(FeedError::Malformed("it has no change log yet".into()));
            }
            Ok(LogEnd { system: 1, timeline: 1, lsn: Lsn(1) })
        }

        async fn emit(&self, _: &LogMessage) -> Result<Lsn, FeedError> {
            unreachable!("nobody orders anything")
        }

        async fn nudge(&self) -> Result<(), FeedError> {
            Ok(())
        }

        async fn identity(&self) -> Result<Identity, FeedError> {
            unreachable!("nobody wants to know")
        }
    }

    /// The first that is said of a source that fails so many questions: whether it works.
    async fn first_said(questions: u64) -> bool {
        let source = Arc::new(FailsFirst {
            questions,
            asked: AtomicU64::default(),
            health: Arc::default(),
            first_said: OnceLock::new(),
        });
        let (clock, health) =
            (Arc::<FailsFirst>::clone(&source) as Arc<dyn Clock>, Arc::clone(&source.health));
        let shared = Arc::new(MemoryTier::new(Arc::clone(&clock), 1 << 20));
        let options = EngineOptions::default();
        let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
        let every = Duration::from_millis(2);
        let asked = Arc::<FailsFirst>::clone(&source);
        let sampling = tokio::spawn(sample(engine, asked, clock, health, every));
        loop {
            if let Some(said) = source.first_said.get() {
                sampling.abort();
                return *said;
            }
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_source_whose_log_is_still_being_made_is_not_called_broken() {
        assert!(first_said(3).await);
    }

    #[tokio::test]
    async fn a_source_that_goes_on_failing_is_called_broken() {
        assert!(!first_said(4).await);
    }
}
