//! From configured addresses to connected parts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache::origin::mariadb::{MariaDbOrigin, MariaDbPool};
use cache::origin::postgres::{PostgresOrigin, PostgresPool};
use cache::origin::sqlite::{SqliteOrigin, SqlitePool};
use cache::shared::{MemoryTier, RedisMetrics, RedisOptions, RedisTier, RedisTls};
use cache::{Engine, Origin, Policy, TierError};
use coherence::Clock;
use contract::{Contract, Contracts};
use edge::data::Face;
use edge::{Gateway, GatewayOptions, HttpOrigin, ServiceMetrics};
use feed::{
    DebeziumFeed, DebeziumMetrics, DebeziumOptions, Feed, Inbox, MariaDbFeed, MariaDbOptions,
    MariaDbSource, PostgresFeed, PostgresOptions, PostgresSource, SqliteFeed, SqliteOptions,
    SqliteSource, TableName, Tracked,
};
use prometheus_client::registry::Registry;

use super::renew::Renewer;
use super::standby::Standbys;
use super::{NodeError, Shared};
use crate::config::{self, Config, SharedUrl, SourceUrl};

/// How often a Redis that is not there at start is tried, and the pause between tries.
const REDIS_TRIES: u32 = 10;
const REDIS_PAUSE: Duration = Duration::from_secs(1);

/// A database: its log, its answers, its rows.
pub(super) struct Database {
    pub(super) feed: Box<dyn Feed>,
    pub(super) renewer: Renewer,
    pub(super) source: Arc<dyn feed::Source>,
    pub(super) faces: Vec<Face>,
    pub(super) standbys: Standbys,
    /// Where change events go, if they are posted.
    pub(super) inbox: Option<Inbox>,
    /// The same questions, asked over connections of the auditor's own.
    pub(super) truths: BTreeMap<Arc<str>, Truth>,
}

/// A contract as the auditor asks for it.
pub(super) struct Truth {
    pub(super) policy: Arc<Policy>,
    pub(super) origin: Arc<dyn Origin>,
}

fn truth(face: &Face, origin: impl Origin) -> (Arc<str>, Truth) {
    let policy = Arc::clone(&face.policy);
    (Arc::clone(&policy.name), Truth { policy, origin: Arc::new(origin) })
}

pub(super) async fn database(
    name: &str,
    source: &config::Source,
    contracts: &Contracts,
    audit: bool,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Database, NodeError> {
    let tables = tracked(name, contracts);
    let metrics = feed::Metrics::new(registry);
    let (mut faces, mut truths) = (Vec::new(), BTreeMap::new());
    let url = source.url.to_string();
    let failed = |error| NodeError::Feed { name: name.to_owned(), url: url.clone(), error };
    let loaded = contracts.iter().filter(|contract| contract.value.is_some());
    let audited = |contract: &Contract| audit && contract.is_cached() && !contract.immutable;
    match &source.url {
        SourceUrl::Postgres(url) => {
            let (feed, inbox) = match &source.events {
                Some(events) => {
                    let mut options = DebeziumOptions::new(name, url, tables, Arc::clone(clock));
                    options.named = named(name, contracts);
                    options.publication.clone_from(&events.publication);
                    options.slot.clone_from(&events.slot);
                    options.beat = events.beat;
                    options.metrics = metrics;
                    options.relayed = DebeziumMetrics::new(registry);
                    let warnings = feed::postgres::debezium::prepare(&options).await;
                    warn(&warnings.map_err(failed)?);
                    let (feed, inbox) = DebeziumFeed::new(options).map_err(failed)?;
                    (Box::new(feed) as Box<dyn Feed>, Some(inbox))
                }
                None => {
                    let mut options = PostgresOptions::new(name, url, tables, Arc::clone(clock));
                    options.publication.clone_from(&source.publication);
                    options.slot.clone_from(&source.slot);
                    options.metrics = metrics;
                    let prepared = feed::postgres::prepare(&options).await.map_err(failed)?;
                    warn(&prepared.warnings);
                    let feed = PostgresFeed::new(options).map_err(failed)?;
                    (Box::new(feed) as Box<dyn Feed>, None)
                }
            };
            let log = Arc::new(PostgresSource::new(url).map_err(failed)?);
            let standbys = Standbys::connect(name, source, &*log, registry).await?;
            let pool = PostgresPool::new(url, source.connections, source.load_timeout)?;
            let own = PostgresPool::new(url, 1, source.load_timeout)?;
            for contract in loaded {
                let origin = PostgresOrigin::prepare(contract.clone(), pool.clone()).await?;
                let origin = origin.with_standbys(&standbys.all);
                let face = face(contract, Arc::new(origin));
                if audited(contract) {
                    let origin = PostgresOrigin::prepare(contract.clone(), own.clone()).await?;
                    truths.extend([truth(&face, origin)]);
                }
                faces.push(face);
            }
            let renewer = Renewer::new(name, contracts, own);
            Ok(Database { feed, renewer, source: log, faces, truths, standbys, inbox })
        }
        SourceUrl::MariaDb(url) => {
            let mut options = MariaDbOptions::new(name, url, tables, Arc::clone(clock));
            options.slot.clone_from(&source.slot);
            options.metrics = metrics;
            warn(&feed::mariadb::prepare(&options).await.map_err(failed)?);
            let pool = MariaDbPool::new(url, source.connections, source.load_timeout)?;
            let own = MariaDbPool::new(url, 1, source.load_timeout)?;
            for contract in loaded {
                let origin = MariaDbOrigin::prepare(contract.clone(), pool.clone()).await?;
                let face = face(contract, Arc::new(origin));
                if audited(contract) {
                    let origin = MariaDbOrigin::prepare(contract.clone(), own.clone()).await?;
                    truths.extend([truth(&face, origin)]);
                }
                faces.push(face);
            }
            let source = Arc::new(MariaDbSource::new(url).map_err(failed)?);
            let feed = Box::new(MariaDbFeed::new(options).map_err(failed)?);
            Ok(Database {
                feed,
                renewer: Renewer::default(),
                source,
                faces,
                truths,
                standbys: Standbys::default(),
                inbox: None,
            })
        }
        SourceUrl::Sqlite(path) => {
            let mut options = SqliteOptions::new(name, path, tables, Arc::clone(clock));
            options.metrics = metrics;
            let pool = SqlitePool::new(path, source.load_timeout);
            let pool = pool.with_log_end(feed::sqlite::LOG_END);
            let own = SqlitePool::new(path, source.load_timeout);
            for contract in loaded {
                let origin = SqliteOrigin::prepare(contract.clone(), pool.clone())?;
                let face = face(contract, Arc::new(origin));
                if audited(contract) {
                    let origin = SqliteOrigin::prepare(contract.clone(), own.clone())?;
                    truths.extend([truth(&face, origin)]);
                }
                faces.push(face);
            }
            let source = Arc::new(SqliteSource::new(path));
            let feed = Box::new(SqliteFeed::new(options));
            let (renewer, standbys) = (Renewer::default(), Standbys::default());
            Ok(Database { feed, renewer, source, faces, truths, standbys, inbox: None })
        }
    }
}

fn warn(warnings: &[feed::Problem]) {
    for warning in warnings {
        tracing::warn!(fix = warning.fix.join(" "), "{}", warning.what);
    }
}

fn face(contract: &Contract, origin: Arc<dyn Origin>) -> Face {
    Face { contract: contract.clone(), policy: Arc::new(Policy::from(contract)), origin }
}

/// The contracts whose values services give.
pub(super) fn services(
    contracts: &Contracts,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Vec<Face>, NodeError> {
    let metrics = ServiceMetrics::new(registry);
    let given = contracts.iter().filter_map(|contract| Some((contract, contract.service.clone()?)));
    given
        .map(|(contract, service)| {
            let variable = |name: &str| std::env::var(name).ok();
            let (clock, metrics) = (Arc::clone(clock), metrics.clone());
            let origin = HttpOrigin::new(contract.clone(), service, variable, clock, metrics)?;
            Ok(face(contract, Arc::new(origin)))
        })
        .collect()
}

/// A contract that keeps a filter of its ids.
pub(super) struct Filtered {
    pub(super) contract: Contract,
    pub(super) policy: Arc<Policy>,
    pub(super) origin: Arc<dyn Origin>,
}

pub(super) fn filtered(faces: &[Face]) -> Vec<Filtered> {
    let asked = faces.iter().filter(|face| face.contract.absent_filter.is_some());
    let filtered = asked.map(|face| Filtered {
        contract: face.contract.clone(),
        policy: Arc::clone(&face.policy),
        origin: Arc::clone(&face.origin),
    });
    filtered.collect()
}

/// The tables that contracts refer to, with every column that any of them needs to know.
fn tracked(source: &str, contracts: &Contracts) -> Vec<Tracked> {
    let tables = contracts.tables(source).into_iter();
    tables
        .map(|table| {
            let mut tracked =
                Tracked { table: table.to_owned(), columns: Vec::new(), old_columns: Vec::new() };
            for contract in contracts.of_table(source, table) {
                add(&mut tracked.columns, &contract.key_columns());
                add(&mut tracked.columns, &contract.watched_columns());
                add(&mut tracked.columns, &contract.tag_columns());
                if let (true, Ok(value)) = (contract.renews(), contract.projection()) {
                    add(&mut tracked.columns, &value.columns().collect::<Vec<_>>());
                }
                add(&mut tracked.old_columns, &contract.beyond_identity(&[]));
            }
            tracked
        })
        .collect()
}

/// The columns of each table that keys and tags are made of.
fn named(source: &str, contracts: &Contracts) -> BTreeMap<TableName, Vec<String>> {
    let tables = contracts.tables(source).into_iter();
    tables
        .map(|table| {
            let mut named = Vec::new();
            for contract in contracts.of_table(source, table) {
                add(&mut named, &contract.key_columns());
                add(&mut named, &contract.tag_columns());
            }
            (TableName::parse(table), named)
        })
        .collect()
}

fn add(to: &mut Vec<String>, columns: &[&str]) {
    for column in columns {
        if !to.iter().any(|known| known == column) {
            to.push((*column).to_owned());
        }
    }
}

pub(super) async fn shared(
    config: &Config,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Shared, NodeError> {
    Ok(match &config.shared.url {
        SharedUrl::Memory => Arc::new(MemoryTier::new(Arc::clone(clock), config.local_bytes)),
        SharedUrl::Redis(url) => {
            let mut options = RedisOptions::new(url);
            options.prefix.clone_from(&config.shared.prefix);
            options.timeout = config.shared.timeout;
            options.sentinel = config.shared.sentinel.clone();
            options.tls = tls(&config.shared)?;
            options.metrics = RedisMetrics::new(registry);
            Arc::new(redis(&config.shared.url, options).await?)
        }
    })
}

fn tls(shared: &config::Shared) -> Result<RedisTls, NodeError> {
    let read = |name: &str, file: &Option<PathBuf>| match file {
        None => Ok(None),
        Some(path) => std::fs::read(path).map(Some).map_err(|err| {
            let why = format!("{name} = {:?}: {err}", path.display().to_string());
            NodeError::Shared { url: shared.url.to_string(), error: TierError::Unsuitable(why) }
        }),
    };
    Ok(RedisTls {
        ca: read("ca", &shared.ca)?,
        cert: read("cert", &shared.cert)?,
        key: read("key", &shared.key)?,
    })
}

/// Waits for a server that is not there yet: nodes and Redis may be started at the same time.
async fn redis(url: &SharedUrl, options: RedisOptions) -> Result<RedisTier, NodeError> {
    let mut tries = 0;
    loop {
        match RedisTier::connect(options.clone()).await {
            Ok(tier) => return Ok(tier),
            Err(err @ (TierError::Unavailable(_) | TierError::Timeout(_)))
                if tries < REDIS_TRIES =>
            {
                tries += 1;
                tracing::warn!(%url, error = %err, "the shared tier is not there yet");
                tokio::time::sleep(REDIS_PAUSE).await;
            }
            Err(error) => return Err(NodeError::Shared { url: url.to_string(), error }),
        }
    }
}

pub(super) fn gateway(
    config: &Config,
    engine: &Engine,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Option<Gateway>, NodeError> {
    let Some(upstream) = &config.upstream else { return Ok(None) };
    let mut options = GatewayOptions::new(upstream.url.clone());
    options.first_byte_timeout = upstream.timeout;
    options.routes.clone_from(&config.routes);
    let metrics = edge::Metrics::new(registry);
    Gateway::new(options, engine.clone(), metrics, Arc::clone(clock))
        .map(Some)
        .map_err(|err| NodeError::Gateway(err.to_string()))
}
