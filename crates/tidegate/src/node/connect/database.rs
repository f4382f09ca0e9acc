//! The source database: its log, its origins and its auditor's connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ::database::DatabaseUrl;
use ::database::{mariadb, postgres};
use ::node::{
    AuditTarget, Renewer, key_columns, renewed_columns, scoped_contracts, tracked_tables,
    warn_unfollowed,
};
use cache::ThreadChance;
use cache::origin::mariadb::{MariaDbOrigin, MariaDbPool, MariaDbStandby};
use cache::origin::postgres::{PostgresOrigin, PostgresPool, Standby};
use cache::origin::sqlite::{SqliteOrigin, SqlitePool};
use coherence::Clock;
use contract::{Contract, Contracts, SqlDialect, TextForms, split_table_name, table_name};
use edge::data::ServedContract;
use feed::{
    DebeziumMetrics, EventInbox, Feed, MariaDbFeed, MariaDbOptions, MariaDbSource, MessageKeys,
    PostgresFeed, PostgresOptions, PostgresSource, SchemaScope, Source, SqliteFeed, SqliteOptions,
};
use prometheus_client::registry::Registry;

use super::contracts::{audit_target, served_contract};
use super::standbys::{FollowedLog, Standbys};
use crate::config;
use crate::node::error::NodeError;

/// A connected source.
pub(crate) struct Database {
    pub(crate) feed: Box<dyn Feed>,
    pub(crate) renewer: Renewer,
    pub(crate) source: Arc<dyn feed::Source>,
    pub(crate) served: Vec<ServedContract>,
    pub(crate) standbys: Standbys,
    /// The keys of the messages in its log.
    pub(crate) message_keys: MessageKeys,
    /// The receiver of posted change events, if the source has one.
    pub(crate) inbox: Option<EventInbox>,
    /// The forms of the columns that tags are made of.
    pub(crate) forms: TextForms,
    /// The audited contracts, over connections of the auditor's own.
    pub(crate) audit_targets: BTreeMap<Arc<str>, AuditTarget>,
    /// The statements that a start runs on the database, and a check does not.
    pub(crate) planned: Vec<String>,
}

/// Whether the database may be altered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Changes {
    /// It is, as at a start.
    Applied,
    /// It is not: the statements are only returned.
    Planned,
}

/// Returns the contracts with the tables that their names mean in the database: a name without a schema leaves
/// the choice to the role's search path.
pub(crate) async fn resolve_tables(
    name: &str,
    source: &config::Source,
    contracts: &Contracts,
) -> Result<Contracts, NodeError> {
    let DatabaseUrl::Postgres(url) = &source.url else { return Ok(contracts.clone()) };
    let mut resolved = BTreeMap::new();
    for table in contracts.tables(name) {
        let (None, bare_name) = split_table_name(table) else { continue };
        let schema = feed::postgres::resolve_table(url, &bare_name).await.map_err(|error| {
            NodeError::Feed { name: name.to_owned(), url: source.url.to_string(), error }
        })?;
        if let Some(schema) = schema.filter(|schema| schema != "public") {
            tracing::info!(table, schema, "the role's search path leads to this schema");
            resolved.insert(table.to_owned(), table_name(Some(&schema), &bare_name));
        }
    }
    Ok(contracts.clone().with_tables(name, |table| resolved.get(table).cloned()))
}

/// Connects to a source and prepares the queries of its contracts, which have been resolved. `configured`: the
/// same contracts as they are in the configuration. `audit`: whether the auditor gets
/// connections.
#[expect(clippy::too_many_arguments, reason = "each is another part of the node")]
pub(crate) async fn database(
    name: &str,
    source: &config::Source,
    configured: &Contracts,
    contracts: &Contracts,
    audit: bool,
    changes: Changes,
    clock: &Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Database, NodeError> {
    let renews = matches!(source.url, DatabaseUrl::Postgres(_));
    let tables = tracked_tables(name, contracts, renews);
    let metrics = feed::Metrics::new(registry);
    let message_keys = message_keys(name, source, clock)?;
    let (mut served, mut targets, mut planned) = (Vec::new(), BTreeMap::new(), Vec::new());
    let url = source.url.to_string();
    let failed = |error| NodeError::Feed { name: name.to_owned(), url: url.clone(), error };
    let loaded = contracts.iter().filter(|contract| contract.value.is_some());
    let audited = |contract: &Contract| audit && contract.is_cached() && !contract.immutable;
    match &source.url {
        DatabaseUrl::Postgres(url) => {
            let publication =
                source.events.as_ref().map_or(&source.publication, |events| &events.publication);
            let scope = scoped_contracts(name, configured, contracts, SqlDialect::Postgres);
            let scope = Arc::new(SchemaScope::new(url, publication, scope));
            let (feed, inbox) = match &source.events {
                Some(events) => {
                    let mut options = feed::postgres::debezium::DebeziumOptions::new(
                        name,
                        url.clone(),
                        tables.clone(),
                        Arc::clone(clock),
                    );
                    options.key_and_tag_columns = key_columns(name, contracts);
                    options.schema = Some(Arc::clone(&scope));
                    options.publication.clone_from(&events.publication);
                    options.slot.clone_from(&events.slot);
                    options.beat_interval = events.beat;
                    options.metrics = metrics;
                    options.message_keys = message_keys.clone();
                    options.debezium_metrics = DebeziumMetrics::new(registry);
                    let warnings = feed::postgres::debezium::prepare(&options).await;
                    warn(&warnings.map_err(failed)?);
                    let (feed, inbox) = feed::postgres::debezium::follow(options);
                    (feed, Some(inbox))
                }
                None => {
                    let mut options =
                        PostgresOptions::new(name, url.clone(), tables.clone(), Arc::clone(clock));
                    options.publication.clone_from(&source.publication);
                    options.slot.clone_from(&source.slot);
                    options.schema = Some(Arc::clone(&scope));
                    options.metrics = metrics;
                    options.message_keys = message_keys.clone();
                    let prepared = match changes {
                        Changes::Applied => feed::postgres::prepare(&options).await,
                        Changes::Planned => feed::postgres::check(&options).await,
                    };
                    let prepared = prepared.map_err(failed)?;
                    warn(&prepared.warnings);
                    planned = prepared.planned;
                    let feed = PostgresFeed::new(options);
                    (Box::new(feed) as Box<dyn Feed>, None)
                }
            };
            let server = postgres::CurrentServer::default();
            let log = PostgresSource::of_server(url, server.clone()).with_schema(scope);
            let log = Arc::new(log.with_message_keys(message_keys.clone()));
            let standby = |url: &DatabaseUrl| match url {
                DatabaseUrl::Postgres(url) => {
                    Some(Standby::new(name, url, source.connections, source.load_timeout))
                }
                _ => None,
            };
            let (standbys, own_standbys) =
                Standbys::connect(name, source, &*log, registry, standby).await?;
            let pool = |connections| {
                PostgresPool::of_server(url, connections, source.load_timeout, server.clone())
            };
            let (pool, own) = (pool(source.connections), pool(1));
            for contract in loaded {
                let origin = PostgresOrigin::prepare(contract.clone(), pool.clone()).await?;
                let origin = origin.with_standbys(&own_standbys);
                let with_origin = served_contract(contract, contracts, Arc::new(origin));
                if audited(contract) {
                    let origin = PostgresOrigin::prepare(contract.clone(), own.clone()).await?;
                    targets.extend([audit_target(&with_origin, origin)]);
                }
                served.push(with_origin);
            }
            // After the origins, which report a value that the database refuses.
            if let Some(schema) = log.schema().await.map_err(failed)? {
                warn_unfollowed(&schema.unfollowed, &BTreeSet::new());
            }
            let forms = feed::postgres::text_forms(url, name, &tables).await.map_err(failed)?;
            let renewer = Renewer::new(name, contracts, Arc::new(own), Arc::new(ThreadChance));
            Ok(Database {
                feed,
                renewer,
                source: log,
                served,
                audit_targets: targets,
                standbys,
                message_keys,
                inbox,
                forms,
                planned,
            })
        }
        DatabaseUrl::MariaDb(url) => {
            let mut options =
                MariaDbOptions::new(name, url.clone(), tables.clone(), Arc::clone(clock));
            options.slot.clone_from(&source.slot);
            options.renewed = renewed_columns(name, contracts, MariaDbPool::PROJECTION_DIALECT);
            options.metrics = metrics;
            let server = mariadb::CurrentServer::default();
            options.server = server.clone();
            options.message_keys = message_keys.clone();
            let (feed, inbox) = mariadb_feed(options, source, registry).await.map_err(failed)?;
            let pool = |connections| {
                MariaDbPool::of_server(url, connections, source.load_timeout, server.clone())
            };
            let (pool, own) = (pool(source.connections), pool(1));
            let log = MariaDbSource::of_server(url, server.clone());
            let log = Arc::new(log.with_message_keys(message_keys.clone()));
            let standby = |url: &DatabaseUrl| match url {
                DatabaseUrl::MariaDb(url) => {
                    let primary = (own.clone(), Arc::new(FollowedLog(log.clone())) as _);
                    let (connections, timeout) = (source.connections, source.load_timeout);
                    Some(Ok(MariaDbStandby::new(name, url, primary, connections, timeout)))
                }
                _ => None,
            };
            let (standbys, own_standbys) =
                Standbys::connect(name, source, &*log, registry, standby).await?;
            for contract in loaded {
                let origin = MariaDbOrigin::prepare(contract.clone(), pool.clone()).await?;
                let origin = origin.with_standbys(&own_standbys);
                let with_origin = served_contract(contract, contracts, Arc::new(origin));
                if audited(contract) {
                    let origin = MariaDbOrigin::prepare(contract.clone(), own.clone()).await?;
                    targets.extend([audit_target(&with_origin, origin)]);
                }
                served.push(with_origin);
            }
            let scope =
                scoped_contracts(name, configured, contracts, MariaDbPool::PROJECTION_DIALECT);
            let unfollowed = feed::mariadb::unfollowed_reads(url, &scope).await.map_err(failed)?;
            warn_unfollowed(&unfollowed, &BTreeSet::new());
            let forms = feed::mariadb::text_forms(url, name, &tables).await.map_err(failed)?;
            Ok(Database {
                feed,
                renewer: match &inbox {
                    Some(_) => Renewer::disabled(),
                    None => Renewer::new(name, contracts, Arc::new(own), Arc::new(ThreadChance)),
                },
                source: log,
                served,
                audit_targets: targets,
                standbys,
                message_keys,
                inbox,
                forms,
                planned,
            })
        }
        DatabaseUrl::Sqlite(path) => {
            let mut options = SqliteOptions::new(name, path, tables.clone(), Arc::clone(clock));
            options.metrics = metrics;
            options.message_keys = message_keys.clone();
            feed::sqlite::prepare(&options).map_err(failed)?;
            // One pool: a connection that no load uses any more would keep the write-ahead log of a replaced
            // file open for the whole process.
            let own = SqlitePool::new(path, source.load_timeout);
            let pool = own.clone().with_log_end(feed::sqlite::LOG_END_SQL);
            for contract in loaded {
                let origin = SqliteOrigin::prepare(contract.clone(), pool.clone())?;
                let with_origin = served_contract(contract, contracts, Arc::new(origin));
                if audited(contract) {
                    let origin = SqliteOrigin::prepare(contract.clone(), own.clone())?;
                    targets.extend([audit_target(&with_origin, origin)]);
                }
                served.push(with_origin);
            }
            // After the origins, as on PostgreSQL.
            let scope = scoped_contracts(name, configured, contracts, SqlDialect::Sqlite);
            let unfollowed = feed::sqlite::unfollowed_reads(path, &scope).map_err(failed)?;
            warn_unfollowed(&unfollowed, &BTreeSet::new());
            let forms = feed::sqlite::text_forms(path, name, &tables).map_err(failed)?;
            options.release = Some(Arc::new(move || own.close_idle()));
            let feed = Box::new(SqliteFeed::new(options));
            let source = Arc::new(feed.source().with_message_keys(message_keys.clone()));
            let (renewer, standbys) = (Renewer::disabled(), Standbys::default());
            Ok(Database {
                feed,
                renewer,
                source,
                served,
                audit_targets: targets,
                standbys,
                message_keys,
                inbox: None,
                forms,
                planned,
            })
        }
    }
}

/// Returns the feed of a MariaDB's log, and the receiver of posted events if Debezium reads it.
async fn mariadb_feed(
    options: MariaDbOptions,
    source: &config::Source,
    registry: &mut Registry,
) -> Result<(Box<dyn Feed>, Option<EventInbox>), feed::FeedError> {
    let Some(events) = &source.events else {
        warn(&feed::mariadb::prepare(&options).await?);
        return Ok((Box::new(MariaDbFeed::new(options)), None));
    };
    let mut options = feed::mariadb::debezium::DebeziumOptions::new(options);
    options.beat_interval = events.beat;
    options.metrics = DebeziumMetrics::new(registry);
    warn(&feed::mariadb::debezium::prepare(&options).await?);
    let (feed, inbox) = feed::mariadb::debezium::follow(options);
    Ok((feed, Some(inbox)))
}

/// Returns the keys of the messages in a source's log.
fn message_keys(
    name: &str,
    source: &config::Source,
    clock: &Arc<dyn Clock>,
) -> Result<MessageKeys, NodeError> {
    let Some(from) = &source.message_keys else { return Ok(MessageKeys::default()) };
    let keys = from.keys(|path| std::fs::read_to_string(path)).map_err(|why| {
        NodeError::Unsuitable(format!("[source.{name}] message_keys_file = {why}"))
    })?;
    Ok(MessageKeys::new(keys, Arc::clone(clock)))
}

fn warn(warnings: &[feed::SetupIssue]) {
    for warning in warnings {
        tracing::warn!(fix = warning.remedy.join(" "), "{}", warning.description);
    }
}
