//! Builds a node from its configuration.

use std::sync::Arc;
use std::time::Duration;

use ::node::{FollowMetrics, Health, PeerClient};
use access::{Gate, TokenWatch};
use contract::{Contracts, TextForms};
use edge::PageAuditor;
use edge::data::DataApi;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::audit::{HttpPeers, PeersToken};
use super::connect::{self, Changes};
use super::error::NodeError;
use super::installation::{Installation, NodeParts};
use super::kept::Kept;
use super::listen::Served;
use super::tls::TlsListeners;
use crate::config::{Config, Settings};

/// A node that is ready to follow and to serve, by one configuration.
pub(crate) struct Node {
    /// The parts of its process that other configurations use before and after it.
    pub(super) kept: Arc<Kept>,
    pub(super) settings: Settings,
    /// The sources, the main one first: at least one.
    pub(super) sources: Vec<Installation>,
    /// The contracts of all sources.
    pub(super) contracts: Arc<Contracts>,
    pub(super) data: DataApi,
    pub(super) gate: Gate,
    /// The access tokens; `None`: none are needed.
    pub(super) tokens: Option<Arc<TokenWatch>>,
    pub(super) health: Arc<Health>,
    pub(super) registry: Mutex<Registry>,
    pub(super) gateway: Option<edge::Gateway>,
    pub(super) page_audit: Option<Arc<PageAuditor>>,
    pub(super) sale: Option<(sale::Sale, sale::jobs::Jobs)>,
    pub(super) longest_ttl: Duration,
}

impl Node {
    /// Connects to the shared tier and to the databases and checks that all can be used. Nothing is followed
    /// or served yet.
    ///
    /// # Errors
    /// [`NodeError`]: what is missing, and how to get it.
    pub(crate) async fn build(config: &Config) -> Result<Self, NodeError> {
        require_source(config)?;
        let kept = Arc::new(Kept::open(config, Changes::Applied)?);
        let node = Box::pin(Self::assemble(config, Changes::Applied, kept)).await?;
        if let (Some((_, jobs)), Some(options)) = (&node.sale, &config.sale) {
            jobs.record_kinds().await.map_err(|error| NodeError::Sale {
                url: options.url.to_string(),
                error: Box::new(error.into()),
            })?;
        }
        Ok(node)
    }

    /// As [`build`](Self::build), without the changes in the databases that a start makes.
    pub(super) async fn check(config: &Config) -> Result<(), NodeError> {
        require_source(config)?;
        let kept = Arc::new(Kept::open(config, Changes::Planned)?);
        Box::pin(Self::assemble(config, Changes::Planned, kept)).await.map(drop)
    }

    /// As [`build`](Self::build), in a process that serves by another configuration, which has the same values of
    /// keys that need a restart. Nothing is altered anywhere unless all of it can be used.
    pub(super) async fn replacement(config: &Config, kept: &Arc<Kept>) -> Result<Self, NodeError> {
        require_source(config)?;
        // The listeners read the files themselves: here they are only checked.
        TlsListeners::open(config, &mut Registry::default())?;
        let assemble = |changes| Box::pin(Self::assemble(config, changes, Arc::clone(kept)));
        assemble(Changes::Planned).await?;
        assemble(Changes::Applied).await
    }

    async fn assemble(
        config: &Config,
        changes: Changes,
        kept: Arc<Kept>,
    ) -> Result<Self, NodeError> {
        let mut registry = Registry::default();
        if changes == Changes::Applied {
            config.findings.log();
        }
        let (gate, tokens) = access(config, &kept)?;
        let token = config.audit.peers_token.clone().map(PeersToken::read).transpose()?;
        let peers = HttpPeers::new(&config.audit.peers, &config.client_tls, token)?;
        let peers: Arc<dyn PeerClient> = Arc::new(peers);
        let health = Arc::new(Health::within(&kept.health));
        let named = config.main_first();
        let mut contracts = config.contracts.clone();
        for (name, source) in &named {
            contracts = connect::resolve_tables(name, source, &contracts).await?;
        }
        let (mut sources, mut served) = (Vec::new(), Vec::new());
        let mut forms = TextForms::default();
        for (name, source) in &named {
            let is_only = named.len() == 1;
            let parts = NodeParts {
                config,
                changes,
                configured: &config.contracts,
                contracts: &contracts,
                memory: config.local.shared_by(named.len()),
                kept: &kept,
                peers: &peers,
                health: if is_only { Arc::clone(&health) } else { health.of_source(name).into() },
            };
            let registry = match is_only {
                true => &mut registry,
                false => {
                    registry.sub_registry_with_label(("source".into(), (*name).to_owned().into()))
                }
            };
            let (source, values) =
                Installation::connect(parts, name, source, &mut forms, registry).await?;
            sources.push(source);
            served.push(values);
        }
        let (main, others) = sources.split_first().ok_or_else(no_source)?;
        let others = others.iter().map(|other| (other.name.to_string(), other.engine.clone()));
        let others = others.collect();
        let metrics = match changes {
            Changes::Applied => Arc::clone(&kept.edge_metrics),
            // A check shows nothing in the metrics of the gateway that serves.
            Changes::Planned => Arc::new(edge::Metrics::new(&mut Registry::default())),
        };
        let (main, clock, metrics) = (&main.engine, &kept.clock, &metrics);
        let gateway = connect::gateway(config, &contracts, &forms, main, others, clock, metrics)?;
        let page_audit = page_auditor(config, gateway.as_ref(), &sources, &mut registry);
        let sale = kept.sale(config).await?;
        let data = DataApi::new(served, gate.clone());
        Ok(Self {
            kept,
            settings: config.settings.clone(),
            sources,
            contracts: Arc::new(contracts),
            data,
            gate,
            tokens,
            health,
            registry: Mutex::new(registry),
            gateway,
            page_audit,
            sale,
            longest_ttl: config.longest_ttl(),
        })
    }

    /// Waits until answers have a proven bound.
    ///
    /// # Errors
    /// There is no proven bound within `timeout`.
    pub(crate) async fn wait_proven(&self, timeout: Duration) -> anyhow::Result<()> {
        let proven = async {
            for source in &self.sources {
                while source.engine.status().bound.is_none() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        };
        Ok(tokio::time::timeout(timeout, proven).await?)
    }

    /// Returns a reader of the figures that a drill can't measure from outside.
    pub(crate) fn drill_metrics(&self) -> Arc<dyn Fn() -> drill::TargetMetrics + Send + Sync> {
        let metrics: Vec<_> =
            self.sources.iter().map(|source| source.follow_metrics.clone()).collect();
        Arc::new(move || {
            // The slowest source's.
            let ms = |quantile| {
                let lags = metrics.iter().filter_map(|metrics| metrics.lag_at(quantile));
                lags.max().map(|lag| lag.as_secs_f64() * 1e3)
            };
            drill::TargetMetrics {
                invalidations: metrics.iter().map(FollowMetrics::commits).sum(),
                commit_to_gone_ms: ms(0.5).zip(ms(0.99)),
                worst_bound_ms: None,
            }
        })
    }

    /// Returns the number of entries that commits made soft-stale instead of removing them, and of further
    /// invalidations that were merged with an earlier one.
    pub(crate) fn soft_invalidations(&self) -> (u64, u64) {
        let status = self.sources.iter().map(|source| source.engine.status());
        status.fold((0, 0), |(soft, merged), status| {
            (soft + status.soft_stale, merged + status.merged)
        })
    }

    /// Returns the listeners that this node has besides those of every node.
    #[must_use]
    pub(crate) fn served(&self) -> Served {
        Served { gateway: self.gateway.is_some(), sale: self.sale.is_some() }
    }
}

/// Reads the access tokens. Returns the access rules with them.
fn access(
    config: &Config,
    Kept { clock, access_metrics, .. }: &Kept,
) -> Result<(Gate, Option<Arc<TokenWatch>>), NodeError> {
    let options = config.access.clone();
    let watch = |file| TokenWatch::open(file, access_metrics.clone(), &**clock).map(Arc::new);
    let tokens = options.tokens.map(watch).transpose()?;
    let certificates = options.client_ca.map(|_| options.clients);
    let clock = Arc::clone(clock);
    let gate =
        Gate::new(options.hosts, tokens.clone(), certificates, clock, access_metrics.clone());
    Ok((gate, tokens))
}

/// Returns the auditor of the gateway's pages; `None` without a gateway, or where it is switched off.
fn page_auditor(
    config: &Config,
    gateway: Option<&edge::Gateway>,
    sources: &[Installation],
    registry: &mut Registry,
) -> Option<Arc<PageAuditor>> {
    let rate = config.audit.pages_per_second;
    let gateway = gateway.filter(|_| rate > 0.0)?;
    let tables: Vec<_> =
        sources.iter().map(|source| source.follow_metrics.changed_tables().clone()).collect();
    let changed_since = Arc::new(move |us| {
        // Of all logs, or none: a table of a log that this node does not read may have changed too.
        let tables = tables.iter().map(|tables| tables.since(us)).collect::<Option<Vec<_>>>();
        tables.map(|tables| tables.concat())
    });
    Some(Arc::new(gateway.audit_pages(rate, changed_since, registry)))
}

pub(super) fn require_source(config: &Config) -> Result<(), NodeError> {
    if config.sources.is_empty() { Err(no_source()) } else { Ok(()) }
}

fn no_source() -> NodeError {
    let text = "there is no [source.NAME]: Tidegate proves freshness from a database's \
                log, so it needs one, such as url = \"postgres://…\"";
    NodeError::Unsuitable(text.into())
}
