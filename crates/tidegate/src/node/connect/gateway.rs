//! The gateway before the upstream.

use std::sync::Arc;

use cache::Engine;
use coherence::Clock;
use edge::{Gateway, GatewayOptions};
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::node::error::NodeError;

/// Creates the gateway; `None` without an `[upstream]`.
pub(crate) fn gateway(
    config: &Config,
    engine: &Engine,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Option<Gateway>, NodeError> {
    let Some(upstream) = &config.upstream else { return Ok(None) };
    let mut options = GatewayOptions::new(upstream.url.clone());
    options.first_byte_timeout = upstream.timeout;
    options.routes = config.routes.with_contracts(&config.contracts);
    let metrics = edge::Metrics::new(registry);
    Gateway::new(options, engine.clone(), metrics, Arc::clone(clock))
        .map(Some)
        .map_err(|err| NodeError::Gateway(err.to_string()))
}
