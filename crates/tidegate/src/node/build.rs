//! Builds a node from its configuration.

use std::sync::Arc;
use std::time::Duration;

use ::listen::ListenerMetrics;
use ::node::{AuditLoop, FollowMetrics, Health, Journal, Renewer, check_claim};
use access::{AuditLog, Gate, TokenWatch};
use cache::{Chance, Engine, EngineOptions, SystemClock, ThreadChance};
use coherence::{Clock, Coverage};
use contract::Contracts;
use edge::PageAuditor;
use edge::data::DataApi;
use feed::{Feed, Source};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::audit::{HttpPeers, PeersToken, SampledAnswers};
use super::connect::{self, FilteredContract, Standbys};
use super::error::NodeError;
use super::listen::Served;
use super::posted_events::PostedEvents;
use crate::config::{self, Config};
use crate::http_client::Client;

/// The invalidations that `/api/v1/invalidations` can show.
const JOURNAL_RECORDS: usize = 10_000;

/// A node that is ready to follow and to serve.
pub(crate) struct Node {
    pub(super) engine: Engine,
    pub(super) contracts: Arc<Contracts>,
    /// The source's name and address, for error messages.
    pub(super) source_name: (String, String),
    pub(super) source: Arc<dyn Source>,
    /// The name under which the database tracks the leader.
    pub(super) slot: String,
    pub(super) standbys: Standbys,
    /// The origins whose statements depend on the source's schema.
    pub(super) origins: Vec<Arc<dyn cache::Origin>>,
    pub(super) feed: Mutex<Option<(Box<dyn Feed>, Renewer)>>,
    /// The endpoint of posted change events, if the source has one.
    pub(super) posted_events: Option<PostedEvents>,
    pub(super) data: DataApi,
    pub(super) gate: Gate,
    /// The access tokens; `None`: none are needed.
    pub(super) tokens: Option<Arc<TokenWatch>>,
    pub(super) audit_log: Option<AuditLog>,
    pub(super) filtered: Vec<FilteredContract>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<dyn Chance>,
    pub(super) health: Arc<Health>,
    pub(super) journal: Arc<Journal>,
    pub(super) registry: Mutex<Registry>,
    pub(super) follow_metrics: FollowMetrics,
    pub(super) gateway: Option<edge::Gateway>,
    pub(super) listener_metrics: [ListenerMetrics; 4],
    pub(super) audit: Arc<AuditLoop>,
    pub(super) page_audit: Option<Arc<PageAuditor>>,
    pub(super) sale: Option<sale::Sale>,
    pub(super) longest_ttl: Duration,
}

impl Node {
    /// Connects to the shared tier and to the database and checks that both can be used. Nothing is followed
    /// or served yet.
    ///
    /// # Errors
    /// [`NodeError`]: what is missing, and how to get it.
    pub(crate) async fn build(config: &Config) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let chance: Arc<dyn Chance> = Arc::new(ThreadChance);
        let mut registry = Registry::default();
        let (name, source) = only_source(config)?;
        config.findings.log();
        let access = Access::open(config, &clock, &mut registry)?;
        let peers_token = config.audit.peers_token.clone().map(PeersToken::read).transpose()?;
        let contracts = connect::resolve_tables(name, source, &config.contracts).await?;
        let contracts = Arc::new(contracts);
        let audited = config.audit.reads_per_second > 0.0;
        let mut database = connect::database(
            name,
            source,
            &config.contracts,
            &contracts,
            audited,
            &clock,
            &mut registry,
        )
        .await?;
        let shared = connect::shared_tier(config, &clock, &mut registry).await?;
        let slot = source.events.as_ref().map_or(&source.slot, |events| &events.slot).clone();
        match check_claim(&*shared, &*database.source, &slot).await {
            // A tier that is away is identified when it answers: before that, nothing is read from it or stored in it.
            Err(error) if !connect::is_away(&error) => {
                return Err(NodeError::Shared { url: config.shared.url.to_string(), error });
            }
            Ok(()) | Err(_) => {}
        }
        let options = EngineOptions {
            local_bytes: config.local.bytes,
            assured: config.local.assured,
            shared_timeout: config.shared.timeout,
            load_timeout: source.load_timeout,
            governor: config.governor,
            coverage: Coverage::of(contracts.mappings()),
            ..EngineOptions::default()
        };
        let cache_metrics = cache::Metrics::new(&mut registry);
        let engine = Engine::new(options, shared, Arc::clone(&clock), cache_metrics);
        let gateway = connect::gateway(config, &engine, &clock, &mut registry)?;
        let listener_metrics = ListenerMetrics::register(super::listen::NAMES, &mut registry);
        let follow_metrics = FollowMetrics::new(&mut registry);
        let page_audit = page_auditor(config, gateway.as_ref(), &follow_metrics, &mut registry);
        let origins = origins_of(&database);
        database.served.extend(connect::services(&contracts, &clock, &mut registry)?);
        let sale = connect::sale(config, &clock, &mut registry).await?;
        let filtered = connect::filtered_contracts(&database.served);
        let data = DataApi::new(engine.clone(), database.served, access.gate.clone());
        let audit = AuditLoop::new(
            &config.audit,
            &engine,
            database.audit_targets,
            Arc::new(HttpPeers { client: Client::new(), token: peers_token }),
            &clock,
            Arc::clone(&chance),
            &mut registry,
        );
        let data = match audit.observe() {
            Some(sampler) => data.with_sampler(Arc::new(SampledAnswers(sampler))),
            None => data,
        };
        let posted_events = database.inbox.zip(source.events.as_ref()).map(|(inbox, events)| {
            PostedEvents { source: name.to_owned(), secret: events.secret.clone(), inbox }
        });
        Ok(Self {
            engine,
            contracts,
            source_name: (name.to_owned(), source.url.to_string()),
            source: database.source,
            slot,
            standbys: database.standbys,
            origins,
            feed: Mutex::new(Some((database.feed, database.renewer))),
            posted_events,
            data,
            gate: access.gate,
            tokens: access.tokens,
            audit_log: access.audit_log,
            filtered,
            clock,
            chance,
            health: Arc::default(),
            journal: Arc::new(Journal::new(JOURNAL_RECORDS)),
            registry: Mutex::new(registry),
            follow_metrics,
            gateway,
            listener_metrics,
            audit,
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
            while self.engine.status().bound.is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        Ok(tokio::time::timeout(timeout, proven).await?)
    }

    /// Returns a reader of the figures that a drill can't measure from outside.
    pub(crate) fn drill_metrics(&self) -> Arc<dyn Fn() -> drill::TargetMetrics + Send + Sync> {
        let metrics = self.follow_metrics.clone();
        Arc::new(move || {
            let ms = |quantile| metrics.lag_at(quantile).map(|lag| lag.as_secs_f64() * 1e3);
            drill::TargetMetrics {
                invalidations: metrics.commits(),
                commit_to_gone_ms: ms(0.5).zip(ms(0.99)),
                worst_bound_ms: None,
            }
        })
    }

    /// Returns the number of entries that commits made soft-stale instead of removing them, and of further
    /// invalidations that were merged with an earlier one.
    pub(crate) fn soft_invalidations(&self) -> (u64, u64) {
        let status = self.engine.status();
        (status.soft_stale, status.merged)
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
    /// Reads the tokens and opens the audit log.
    fn open(
        config: &Config,
        clock: &Arc<dyn Clock>,
        registry: &mut Registry,
    ) -> Result<Self, NodeError> {
        let metrics = access::Metrics::new(registry);
        let options = config.access.clone();
        let watch = |file| TokenWatch::open(file, metrics.clone(), &**clock).map(Arc::new);
        let tokens = options.tokens.map(watch).transpose()?;
        let open = |log| AuditLog::open(log, Arc::clone(clock), metrics.clone());
        let audit_log = options.audit_log.as_ref().map(open).transpose()?;
        let gate = Gate::new(options.hosts, tokens.clone(), Arc::clone(clock), metrics.clone());
        Ok(Self { gate, tokens, audit_log })
    }
}

/// Returns the origins of a database: those of the readers, and the auditor's own.
fn origins_of(database: &connect::Database) -> Vec<Arc<dyn cache::Origin>> {
    let served = database.served.iter().map(|served| Arc::clone(&served.origin));
    let audited = database.audit_targets.values().map(|target| Arc::clone(&target.origin));
    served.chain(audited).collect()
}

/// Returns the auditor of the gateway's pages; `None` without a gateway, or where it is switched off.
fn page_auditor(
    config: &Config,
    gateway: Option<&edge::Gateway>,
    follow: &FollowMetrics,
    registry: &mut Registry,
) -> Option<Arc<PageAuditor>> {
    let rate = config.audit.pages_per_second;
    let gateway = gateway.filter(|_| rate > 0.0)?;
    let tables = follow.changed_tables().clone();
    let changed_since = Arc::new(move |us| tables.since(us));
    Some(Arc::new(gateway.audit_pages(rate, changed_since, registry)))
}

fn only_source(config: &Config) -> Result<(&str, &config::Source), NodeError> {
    match config.sources.iter().collect::<Vec<_>>()[..] {
        [(name, source)] => Ok((name, source)),
        [] => {
            let text = "there is no [source.NAME]: Tidegate proves freshness from a database's \
                        log, so it needs one, such as url = \"postgres://…\"";
            Err(NodeError::Unsuitable(text.into()))
        }
        _ => {
            let text = "there is more than one [source.NAME]; one process follows one \
                        database: run one for each";
            Err(NodeError::Unsuitable(text.into()))
        }
    }
}
