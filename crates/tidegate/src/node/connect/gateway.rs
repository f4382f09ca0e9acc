//! The gateway before the upstream.

use std::collections::BTreeMap;
use std::sync::Arc;

use cache::Engine;
use coherence::Clock;
use contract::{Contracts, TextForms};
use edge::{Gateway, GatewayOptions, Metrics};

use crate::config::Config;
use crate::node::error::NodeError;

/// Creates the gateway; `None` without an `[upstream]`. `contracts`: those of all sources, with the tables that their
/// names mean; `forms`: those of the columns that tags are made of; `engine`: that of the main source; `others`: those
/// of the other sources by name.
pub(crate) fn gateway(
    config: &Config,
    contracts: &Contracts,
    forms: &TextForms,
    engine: &Engine,
    others: BTreeMap<String, Engine>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Gateway>, NodeError> {
    let Some(options) = &config.gateway else { return Ok(None) };
    let routes = options.routes.with_sources(contracts, forms, &others);
    let options = GatewayOptions { routes, ..options.clone() };
    Gateway::with_others(options, engine.clone(), others, Arc::clone(metrics), Arc::clone(clock))
        .map(Some)
        .map_err(|err| NodeError::Gateway(err.to_string()))
}
