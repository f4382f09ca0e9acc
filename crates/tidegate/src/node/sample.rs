//! Asks the primary how long its log is: what the staleness bound is proven with.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{Clock, Log, Lsn};
use control::Health;
use feed::Source;

/// A log that does not get to a sampled end in this time is nudged: the end of an idle log may lie
/// on WAL that nobody will flush or send (page header, hint bits).
const STUCK: Duration = Duration::from_millis(500);

/// A log that is applied so much later is called late; contracts look at the bound themselves.
const LATE: Duration = Duration::from_secs(2);

/// How long the primary has for its answer.
const PATIENCE: Duration = Duration::from_secs(1);

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
    loop {
        ticks.tick().await;
        let asked = clock.mono();
        let end = match tokio::time::timeout(PATIENCE, source.log_end()).await {
            Ok(Ok(end)) => end,
            Ok(Err(err)) => {
                health.optional("source", false, err.to_string());
                continue;
            }
            Err(_) => {
                health.optional("source", false, format!("no answer within {PATIENCE:?}"));
                continue;
            }
        };
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
