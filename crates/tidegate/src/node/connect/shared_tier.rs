//! The shared tier.

use std::sync::Arc;
use std::time::Duration;

use cache::shared::{
    LateJoin, LateTier, MemoryTier, RedisMetrics, RedisOptions, RedisTier, SharedUrl,
};
use cache::{LocalMemory, SharedTier, TierError};
use coherence::Clock;
use contract::Refusals;
use prometheus_client::registry::Registry;
use tokio::time::{sleep, timeout};

use crate::config::{Config, Source};
use crate::node::error::NodeError;

/// The time that a start waits for Redis. A node without it serves within the contracts, from its origins.
const START_LIMIT: Duration = Duration::from_millis(2_500);

/// The pause between two attempts to reach a Redis that was away at the start.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Connects to the shared tier of a source. One that does not answer joins when it does. `memory`: its size,
/// where it is in this process. Returns it with the values in it that are refused because of their signature.
///
/// # Errors
/// It answers, and can't be used.
pub(crate) async fn shared_tier(
    config: &Config,
    (name, source): (&str, &Source),
    memory: LocalMemory,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<(Arc<dyn SharedTier>, Refusals), NodeError> {
    let url = &config.shared.url;
    let failed = |error| NodeError::Shared { url: url.to_string(), error };
    // The names of the main source's keys are those of a configuration with one source.
    let own_part = (!source.main).then_some(name);
    let Some(mut options) = config.shared.redis(own_part).map_err(failed)? else {
        let tier = MemoryTier::new(Arc::clone(clock), memory.bytes);
        return Ok((Arc::new(tier), Refusals::default()));
    };
    options.metrics = RedisMetrics::new(registry);
    let refusals = options.metrics.refusals.clone();
    let why = match connect_once(&options).await {
        Ok(tier) => return Ok((Arc::new(tier), refusals)),
        Err(why) if is_away(&why) => why,
        Err(error) => return Err(failed(error)),
    };
    tracing::warn!(
        %url, error = %why,
        "the shared tier is away: this node starts without it, loads from its origins, and joins when it answers"
    );
    let (tier, join) = LateTier::away(&why, options.is_divided().map_err(failed)?);
    tokio::spawn(join_late(join, url.clone(), options));
    Ok((Arc::new(tier), refusals))
}

/// Connects to the shared tier once.
///
/// # Errors
/// It does not answer, or can't be used.
pub(crate) async fn reachable_shared_tier(
    config: &Config,
    registry: &mut Registry,
) -> Result<(), NodeError> {
    let failed = |error| NodeError::Shared { url: config.shared.url.to_string(), error };
    let Some(mut options) = config.shared.redis(None).map_err(failed)? else { return Ok(()) };
    options.metrics = RedisMetrics::new(registry);
    connect_once(&options).await.map(drop).map_err(failed)
}

async fn connect_once(options: &RedisOptions) -> Result<RedisTier, TierError> {
    let connecting = timeout(START_LIMIT, RedisTier::connect(options.clone())).await;
    connecting.unwrap_or(Err(TierError::Timeout(START_LIMIT)))
}

/// Whether the tier may answer later as it is configured.
pub(crate) fn is_away(err: &TierError) -> bool {
    matches!(err, TierError::Unavailable(_) | TierError::Timeout(_))
}

/// Tries to reach the tier until it answers and can be used.
async fn join_late(join: LateJoin, url: SharedUrl, options: RedisOptions) {
    let mut logged = String::new();
    loop {
        tokio::select! {
            () = join.unused() => return,
            () = sleep(RETRY_PAUSE) => {}
        }
        match RedisTier::connect(options.clone()).await {
            Ok(tier) => {
                tracing::info!(%url, "the shared tier has joined");
                return join.join(Arc::new(tier));
            }
            Err(why) => {
                let text = why.to_string();
                // Nothing but an administrator's change helps, or a credential that is being rotated.
                if !is_away(&why) && text != logged {
                    tracing::error!(%url, error = %why, "the shared tier answers, and can't be used");
                }
                logged = text;
                join.still_away(&why);
            }
        }
    }
}
