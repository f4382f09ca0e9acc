//! The gateway before the upstream.

use std::sync::Arc;

use cache::Engine;
use coherence::Clock;
use contract::{Contracts, TextForms};
use edge::{Gateway, GatewayOptions};
use prometheus_client::registry::Registry;

use crate::config::Config;
use crate::node::error::NodeError;

/// Creates the gateway; `None` without an `[upstream]`. `contracts`: those of the configuration, with the tables
/// that their names mean; `forms`: those of the columns that tags are made of.
pub(crate) fn gateway(
    config: &Config,
    contracts: &Contracts,
    forms: &TextForms,
    engine: &Engine,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Option<Gateway>, NodeError> {
    let Some(options) = &config.gateway else { return Ok(None) };
    let routes = options.routes.with_contracts(contracts, forms);
    let options = GatewayOptions { routes, ..options.clone() };
    let metrics = edge::Metrics::new(registry);
    Gateway::new(options, engine.clone(), metrics, Arc::clone(clock))
        .map(Some)
        .map_err(|err| NodeError::Gateway(err.to_string()))
}
