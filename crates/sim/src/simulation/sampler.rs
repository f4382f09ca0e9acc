//! The sampler of a node: the end of the primary's log, at intervals.

use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{Clock, Log};
use tokio::time::sleep;

use super::environment::{Environment, Peer};
use super::recorder::{Participant, Tone};
use super::trace::TraceEvent;

/// Samples the end of the primary's log, as the binary's sampler does.
pub(super) async fn sample(
    env: Arc<Environment>,
    node: usize,
    generation: u64,
    engine: Engine,
    clock: Arc<dyn Clock>,
) {
    const STUCK: Duration = Duration::from_millis(500);
    let mut behind_since = None;
    loop {
        sleep(env.setup.sample_every).await;
        env.until_running(node, generation).await;
        let (left, asked) = (env.now(), clock.mono());
        let there = env.transmit(node, generation, Peer::Database).await;
        let turned = env.now();
        let end = {
            let db = env.db.lock();
            (there.is_ok() && db.up).then(|| (Log { server: 0, ..db.log }, db.end))
        };
        let Some((log, end)) = end else { continue };
        if env.transmit(node, generation, Peer::Database).await.is_err() {
            continue;
        }
        env.recorder.record_exchange(
            [Participant::Node(node), Participant::Database],
            [left, turned, env.now()],
            || "end of the log?".into(),
            || (end.0.to_string(), Tone::Faint),
        );
        engine.sample(log, asked, end);
        env.note(Some(node), TraceEvent::Sampled(end.0));
        if engine.status().applied >= end {
            behind_since = None;
            continue;
        }
        let since = *behind_since.get_or_insert(asked);
        if clock.mono().since(since) >= STUCK {
            behind_since = None;
            if env.transmit(node, generation, Peer::Database).await.is_ok() {
                env.write_empty_commit();
            }
        }
    }
}
