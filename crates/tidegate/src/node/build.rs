//! Builds a node from its configuration.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::listen::ListenerMetrics;
use ::node::{FollowMetrics, Health, PeerClient};
use access::{AuditLog, AuditLogError, Gate, TokenWatch};
use cache::{Chance, SystemClock, ThreadChance};
use coherence::Clock;
use contract::{Contracts, TextForms};
use edge::PageAuditor;
use edge::data::DataApi;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::audit::{HttpPeers, PeersToken};
use super::connect::{self, Changes};
use super::error::NodeError;
use super::installation::{Installation, NodeParts};
use super::listen::Served;
use super::tls::TlsListeners;
use crate::config::Config;

/// A node that is ready to follow and to serve.
pub(crate) struct Node {
    /// The sources, the main one first: at least one.
    pub(super) sources: Vec<Installation>,
    /// The contracts of all sources.
    pub(super) contracts: Arc<Contracts>,
    pub(super) data: DataApi,
    pub(super) gate: Gate,
    /// The access tokens; `None`: none are needed.
    pub(super) tokens: Option<Arc<TokenWatch>>,
    pub(super) audit_log: Option<AuditLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<dyn Chance>,
    pub(super) health: Arc<Health>,
    pub(super) registry: Mutex<Registry>,
    pub(super) gateway: Option<edge::Gateway>,
    pub(super) listener_metrics: [ListenerMetrics; 4],
    pub(super) tls: TlsListeners,
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
        let node = Box::pin(Self::assemble(config, Changes::Applied)).await?;
        if let (Some((_, jobs)), Some(options)) = (&node.sale, &config.sale) {
            jobs.record_kinds().await.map_err(|error| NodeError::Sale {
                url: options.url.to_string(),
                error: Box::new(error.into()),
            })?;
        }
        Ok(node)
    }

    /// As [`build`](Self::build), with or without the changes in the databases that a start makes.
    pub(super) async fn assemble(config: &Config, changes: Changes) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let chance: Arc<dyn Chance> = Arc::new(ThreadChance);
        let mut registry = Registry::default();
        require_source(config)?;
        config.findings.log();
        let access = Access::open(config, changes, &clock, &mut registry)?;
        let tls = TlsListeners::open(config, &mut registry)?;
        let token = config.audit.peers_token.clone().map(PeersToken::read).transpose()?;
        let peers = HttpPeers::new(&config.audit.peers, &config.client_tls, token)?;
        let peers: Arc<dyn PeerClient> = Arc::new(peers);
        let health = Arc::<Health>::default();
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
                clock: &clock,
                chance: &chance,
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
        let (main, clock_ref) = (&main.engine, &clock);
        let gateway =
            connect::gateway(config, &contracts, &forms, main, others, clock_ref, &mut registry)?;
        let listener_metrics = ListenerMetrics::register(super::listen::NAMES, &mut registry);
        let page_audit = page_auditor(config, gateway.as_ref(), &sources, &mut registry);
        let sale = connect::sale(config, &clock, &mut registry).await?;
        let data = DataApi::new(served, access.gate.clone());
        Ok(Self {
            sources,
            contracts: Arc::new(contracts),
            data,
            gate: access.gate,
            tokens: access.tokens,
            audit_log: access.audit_log,
            clock,
            chance,
            health,
            registry: Mutex::new(registry),
            gateway,
            listener_metrics,
            tls,
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

/// The access rules of a node, with the files behind them.
struct Access {
    gate: Gate,
    tokens: Option<Arc<TokenWatch>>,
    audit_log: Option<AuditLog>,
}

impl Access {
    /// Reads the tokens and opens the audit log. A check leaves no record in it.
    fn open(
        config: &Config,
        changes: Changes,
        clock: &Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Result<Self, NodeError> {
        let metrics = access::Metrics::new(registry);
        let options = config.access.clone();
        let watch = |file| TokenWatch::open(file, metrics.clone(), &**clock).map(Arc::new);
        let tokens = options.tokens.map(watch).transpose()?;
        let open = |log| AuditLog::open(log, Arc::clone(clock), metrics.clone());
        let audit_log = match (&options.audit_log, changes) {
            (Some(log), Changes::Applied) => Some(open(log)?),
            (Some(log), Changes::Planned) => {
                check_writable(&log.file)?;
                None
            }
            (None, _) => None,
        };
        let certificates = options.client_ca.map(|_| options.clients);
        let (hosts, clock) = (options.hosts, Arc::clone(clock));
        let gate = Gate::new(hosts, tokens.clone(), certificates, clock, metrics.clone());
        Ok(Self { gate, tokens, audit_log })
    }
}

/// Checks that an audit log can be appended to, or that its folder exists.
fn check_writable(file: &Path) -> Result<(), AuditLogError> {
    let failed = |source| AuditLogError::Io { path: file.to_owned(), source };
    match OpenOptions::new().append(true).open(file) {
        Ok(_) => Ok(()),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            folder.map_or(Ok(()), |folder| folder.metadata().map(drop)).map_err(failed)
        }
        Err(err) => Err(failed(err)),
    }
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
