//! A start that stops short of following and serving: each part is connected to, and nothing is altered.

use std::sync::Arc;

use cache::SystemClock;
use cache::shared::SharedUrl;
use coherence::Clock;
use prometheus_client::registry::Registry;

use super::build::{Node, require_source};
use super::connect::{self, Changes};
use super::error::NodeError;
use crate::config::{self, Config};

/// A part of a configuration, and whether a start can use it.
pub(crate) struct Probe {
    /// Its section, such as `source.shop`.
    pub(crate) part: String,
    /// Its address, without secrets.
    pub(crate) address: String,
    pub(crate) result: Result<(), NodeError>,
    /// The statements that a start runs on it.
    pub(crate) planned: Vec<String>,
}

impl Probe {
    fn new(part: &str, address: impl ToString, result: Result<(), NodeError>) -> Self {
        Self { part: part.to_owned(), address: address.to_string(), result, planned: Vec::new() }
    }
}

/// Connects to each part of a configuration, so that the error of one does not hide the others; then, if there is
/// none, does all that a start does before it follows and serves.
pub(crate) async fn probe(config: &Config) -> Vec<Probe> {
    let mut probes = Vec::new();
    if let Err(err) = require_source(config) {
        probes.push(Probe::new("source", "none", Err(err)));
    }
    for (name, source) in config.main_first() {
        probes.push(database(config, name, source).await);
    }
    if !matches!(config.shared.url, SharedUrl::Memory) {
        let reached = connect::reachable_shared_tier(config, &mut Registry::default()).await;
        probes.push(Probe::new("shared", &config.shared.url, reached));
    }
    if let Some(options) = &config.gateway {
        let reached = connect::reach_upstream(options).await;
        probes.push(Probe::new("upstream", &options.upstream, reached));
    }
    if let Some(options) = &config.sale {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let opened = connect::sale(config, &clock, &mut Registry::default()).await;
        probes.push(Probe::new("sale", &options.url, opened.map(drop)));
    }
    if probes.iter().all(|probe| probe.result.is_ok())
        && let Err(err) = Node::check(config).await
    {
        probes.push(Probe::new("node", "this process", Err(err)));
    }
    probes
}

/// Checks that there is a source to follow.
///
/// # Errors
/// [`NodeError::Unsuitable`]
pub(crate) fn check_sources(config: &Config) -> Result<(), NodeError> {
    require_source(config)
}

async fn database(config: &Config, name: &str, source: &config::Source) -> Probe {
    let part = format!("source.{name}");
    match prepare(config, name, source).await {
        Ok(planned) => Probe { planned, ..Probe::new(&part, &source.url, Ok(())) },
        Err(err) => Probe::new(&part, &source.url, Err(err.with_lines(config))),
    }
}

/// Prepares a source as a start does, and returns the statements that it would run.
async fn prepare(
    config: &Config,
    name: &str,
    source: &config::Source,
) -> Result<Vec<String>, NodeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let contracts = connect::resolve_tables(name, source, &config.contracts).await?;
    let (configured, resolved) =
        (config.contracts.of_source(name, source.main), contracts.of_source(name, source.main));
    let mut registry = Registry::default();
    let database = connect::database(
        name,
        source,
        &configured,
        &resolved,
        config.audit.reads_per_second > 0.0,
        Changes::Planned,
        &clock,
        &mut registry,
    );
    Ok(database.await?.planned)
}
