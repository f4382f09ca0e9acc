//! One running Tidegate: the parts, put together from a configuration.

mod audit;
mod connect;
mod events;
mod follow;
mod metrics;
mod orders;
mod renew;
mod sample;
mod serve;
mod standby;

use std::sync::Arc;
use std::time::Duration;

use cache::shared::SharedTier;
use cache::{Engine, EngineOptions, SystemClock};
use coherence::Clock;
use contract::Contracts;
use control::{Health, Journal};
use edge::data::DataFace;
use feed::{Feed, Source};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use thiserror::Error;

use crate::config::{Config, ConfigError, GovernorMode};
use audit::Audit;
use metrics::FollowMetrics;
use renew::Renewer;
use standby::Standbys;

pub(crate) use serve::Listening;

/// How many invalidations `/api/v1/invalidations` remembers.
const JOURNAL: usize = 10_000;

/// A node that is ready to follow and to serve.
pub(crate) struct Node {
    engine: Engine,
    contracts: Arc<Contracts>,
    /// The source's name and address, for error messages.
    followed: (String, String),
    source: Arc<dyn Source>,
    standbys: Standbys,
    feed: Mutex<Option<(Box<dyn Feed>, Renewer)>>,
    /// Where change events are posted, if they are.
    posted: Option<events::Posted>,
    data: DataFace,
    /// Contracts that keep a filter of their ids.
    filtered: Vec<connect::Filtered>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
    journal: Arc<Journal>,
    registry: Mutex<Registry>,
    follow_metrics: FollowMetrics,
    gateway: Option<edge::Gateway>,
    audit: Arc<Audit>,
    sample_every: Duration,
    longest_ttl: Duration,
}

/// Why a node can't start.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration asks for something that is not there yet or makes no sense.
    #[error("{0}")]
    Unfit(String),
    /// The database can't be reached, or has to be set up by a person.
    #[error("[source.{name}] {url}: {error}")]
    Feed {
        /// The source's name.
        name: String,
        /// Its address, without secrets.
        url: String,
        /// What is the matter.
        error: feed::FeedError,
    },
    /// A contract does not fit its database.
    #[error(transparent)]
    Origin(#[from] cache::OriginError),
    /// The shared tier can't be used.
    #[error("[shared] {url}: {error}")]
    Shared {
        /// Its address, without secrets.
        url: String,
        /// What is the matter.
        error: cache::TierError,
    },
    /// A service can't be asked as its contract says.
    #[error(transparent)]
    Service(#[from] edge::ServiceError),
    /// The upstream can't be used.
    #[error("[upstream] {0}")]
    Gateway(String),
    /// An address is taken or can't be bound.
    #[error("can't listen on {address}: {source}; is another process using it? see [listen]")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A listener broke.
    #[error("a listener stopped: {0}")]
    Serve(std::io::Error),
}

impl Node {
    /// Connects to the shared tier and the database and checks that both can be used. Nothing is
    /// followed or served yet. `sample_every`: how often the bound is renewed.
    ///
    /// # Errors
    /// [`NodeError`]: what is missing, and how to get it.
    pub(crate) async fn build(config: &Config, sample_every: Duration) -> Result<Self, NodeError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let mut registry = Registry::default();
        let (name, source) = match config.sources.iter().collect::<Vec<_>>()[..] {
            [only] => only,
            [] => {
                let text = "there is no [source.NAME]: Tidegate proves freshness from a database's \
                            log, so it needs one, such as url = \"postgres://…\"";
                return Err(NodeError::Unfit(text.into()));
            }
            _ => {
                let text = "there is more than one [source.NAME]; one process follows one \
                            database: run one for each";
                return Err(NodeError::Unfit(text.into()));
            }
        };
        for warning in &config.warnings {
            tracing::warn!(contract = warning.contract, fix = warning.fix, "{}", warning.message);
        }
        let contracts = Arc::new(config.contracts.clone());
        let audited = config.audit.reads_per_second > 0.0;
        let mut database =
            connect::database(name, source, &contracts, audited, &clock, &mut registry).await?;
        let shared = connect::shared(config, &clock, &mut registry).await?;
        let options = EngineOptions {
            local_bytes: config.local_bytes,
            assured: config.assured,
            shared_timeout: config.shared.timeout,
            load_timeout: source.load_timeout,
            governor: config.governor == GovernorMode::On,
            ..EngineOptions::default()
        };
        let cache_metrics = cache::Metrics::new(&mut registry);
        let engine = Engine::new(options, shared, Arc::clone(&clock), cache_metrics);
        let gateway = connect::gateway(config, &engine, &clock, &mut registry)?;
        let follow_metrics = FollowMetrics::new(&mut registry);
        database.faces.extend(connect::services(&contracts, &clock, &mut registry)?);
        let filtered = connect::filtered(&database.faces);
        let data = DataFace::new(engine.clone(), database.faces);
        let audit = Audit::new(&config.audit, &engine, database.truths, &clock, &mut registry);
        let data = audit.listen(data);
        let posted = database.inbox.zip(source.events.as_ref());
        let posted = posted.map(|(inbox, events)| events::Posted::new(name, inbox, events));
        Ok(Self {
            posted,
            engine,
            contracts,
            followed: (name.clone(), source.url.to_string()),
            source: database.source,
            standbys: database.standbys,
            feed: Mutex::new(Some((database.feed, database.renewer))),
            data,
            filtered,
            clock,
            health: Arc::default(),
            journal: Arc::new(Journal::new(JOURNAL)),
            registry: Mutex::new(registry),
            follow_metrics,
            gateway,
            audit,
            sample_every,
            longest_ttl: config.longest_ttl(),
        })
    }

    /// Waits until answers are proven fresh.
    ///
    /// # Errors
    /// It took longer than `patience`.
    pub(crate) async fn proven(&self, patience: Duration) -> anyhow::Result<()> {
        let proven = async {
            while self.engine.standing().bound.is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        Ok(tokio::time::timeout(patience, proven).await?)
    }

    /// What a drill can only learn from inside.
    pub(crate) fn inside(&self) -> Arc<dyn Fn() -> drill::Inside + Send + Sync> {
        let metrics = self.follow_metrics.clone();
        Arc::new(move || {
            let ms = |quantile| metrics.lag_at(quantile).map(|lag| lag.as_secs_f64() * 1e3);
            drill::Inside {
                invalidations: metrics.commits(),
                commit_to_gone_ms: ms(0.5).zip(ms(0.99)),
                worst_bound_ms: None,
            }
        })
    }

    /// How many entries commits have marked instead of removing them, and how many more
    /// invalidations were merged with an earlier one.
    pub(crate) fn softened(&self) -> (u64, u64) {
        let standing = self.engine.standing();
        (standing.marked, standing.merged)
    }

    /// How things stand, for people and dashboards.
    fn status(
        engine: &Engine,
        contracts: &Contracts,
        posted: Option<&events::Posted>,
    ) -> serde_json::Value {
        let standing = engine.standing();
        serde_json::json!({
            "events": posted.map(events::Posted::shown),
            "epoch": standing.epoch.map(|epoch| epoch.to_string()),
            "applied": standing.applied.to_string(),
            "watermark": standing.watermark.to_string(),
            "bound_ms": standing.bound.map(|bound| bound.as_secs_f64() * 1e3),
            "entries": standing.entries,
            "bytes": standing.bytes,
            "tombstones": standing.tombstones,
            "absent_filters": filters(engine),
            "services": services(contracts),
        })
    }
}

/// The filters of ids that exist, by contract.
fn filters(engine: &Engine) -> serde_json::Map<String, serde_json::Value> {
    let filters = engine.filters().into_iter();
    let shown = filters.map(|filter| {
        let state = serde_json::json!({
            "state": filter.state.as_str(),
            "keys": filter.keys,
            "bytes": filter.bytes,
        });
        (filter.name.to_string(), state)
    });
    shown.collect()
}

/// The services that give values, by contract, and what bounds of their answers rest on.
fn services(contracts: &Contracts) -> serde_json::Map<String, serde_json::Value> {
    let shown = contracts.iter().filter_map(|contract| {
        let service = contract.service.as_ref()?;
        let said = serde_json::json!({
            "http": service.url.as_str(),
            "proof": contract.evidence().as_str(),
            "lag_ms": contract.lag.as_secs_f64() * 1e3,
        });
        Some((contract.name.clone(), said))
    });
    shown.collect()
}

type Shared = Arc<dyn SharedTier>;
