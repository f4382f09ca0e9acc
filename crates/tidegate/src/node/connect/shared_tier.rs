//! The shared tier.

use std::sync::Arc;
use std::time::Duration;

use cache::shared::{MemoryTier, RedisMetrics, RedisOptions, RedisTier, SharedUrl};
use cache::{SharedTier, TierError};
use coherence::Clock;
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::node::error::NodeError;

/// The further attempts to reach a Redis that does not answer at the start, and the pause between them.
const CONNECT_RETRIES: u32 = 10;
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Connects to the shared tier.
pub(crate) async fn shared_tier(
    config: &Config,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Arc<dyn SharedTier>, NodeError> {
    let failed = |error| NodeError::Shared { url: config.shared.url.to_string(), error };
    Ok(match config.shared.redis().map_err(failed)? {
        None => Arc::new(MemoryTier::new(Arc::clone(clock), config.local.bytes)),
        Some(mut options) => {
            options.metrics = RedisMetrics::new(registry);
            Arc::new(redis(&config.shared.url, options).await?)
        }
    })
}

/// Waits for a server that does not answer yet: nodes and Redis may be started at the same time.
async fn redis(url: &SharedUrl, options: RedisOptions) -> Result<RedisTier, NodeError> {
    let mut retries = 0;
    loop {
        match RedisTier::connect(options.clone()).await {
            Ok(tier) => return Ok(tier),
            Err(err @ (TierError::Unavailable(_) | TierError::Timeout(_)))
                if retries < CONNECT_RETRIES =>
            {
                retries += 1;
                tracing::warn!(%url, error = %err, "the shared tier does not answer yet");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(NodeError::Shared { url: url.to_string(), error }),
        }
    }
}
