//! Loads from a standby, each with the standby's report on itself.
//!
//! Three reads are sent together on one connection: first the replayed position, in a statement of its own,
//! which ends before the next one takes its snapshot; then the value; and with it, behind its snapshot, the
//! system and timeline of all of this. So a promotion or a switch to another timeline in between is noticed.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::{Log, Replayed};
use contract::{Item, Key};
use database::postgres::{BorrowedConnection, PostgresUrl, ServerRole, SessionId, database_id};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio_postgres::Statement;

use super::origin::{PostgresOrigin, PreparedStatements, Statements};
use super::pool::{PostgresPool, column_error, origin_error};
use super::query::{Rows, in_one_snapshot, query};
use super::reader::ReadRow;
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::loaded_rows;
use crate::origin::sql::item;

/// Reads the replayed position and nothing else, so that it can run first.
const REPLAYED: &str = "select pg_last_wal_replay_lsn()::text";

/// The first statement of a load: the replayed position, and the process that reports it.
const FIRST: &str = "select pg_last_wal_replay_lsn()::text, pg_backend_pid()";

/// A column for the server's state: `primary`, or system, database and timeline. The timeline is the receiver's, which
/// is never behind the timeline of the replayed log. While the standby does not stream, nothing reports the
/// present timeline.
const STATE: &str = "case when pg_is_in_recovery() then concat( \
     (select system_identifier from pg_control_system()), ' ', \
     (select oid from pg_database where datname = current_database()), ' ', \
     coalesce((select coalesce(received_tli::text, 'hidden') from pg_stat_wal_receiver), 'none')) \
     else 'primary' end";

/// The time limit of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A standby of a PostgreSQL primary.
pub struct Standby {
    name: String,
    loads: PostgresPool,
    connections: usize,
    /// For [`probe`](Self::probe), so that it never waits for loads.
    probes: PostgresPool,
    known: Mutex<Option<Replayed>>,
}

impl Standby {
    /// Creates a standby without connections. It gets no loads before the first [`probe`](Self::probe).
    /// `source` is the primary's name; `connections` and `timeout` are as for [`PostgresPool::new`].
    ///
    /// # Errors
    /// The URL does not name exactly one server.
    pub fn new(
        source: &str,
        url: &PostgresUrl,
        connections: usize,
        timeout: Duration,
    ) -> Result<Self, OriginError> {
        // Another server is another standby.
        let [address] = url.hosts() else {
            return Err(OriginError::broken(format!(
                "a standby's url names {} hosts; write one url for each",
                url.hosts().len()
            )));
        };
        // Whether it is a standby is part of its report, which each load checks.
        let pool = |connections, timeout| {
            PostgresPool::with_role(url, ServerRole::Any, connections, timeout)
        };
        let (probes, loads) = (pool(1, PROBE_TIMEOUT), pool(connections, timeout));
        let name = format!("{source}@{address}");
        Ok(Self { name, loads, connections, probes, known: Mutex::default() })
    }

    /// Returns its name in metrics and logs: the source's name and its own address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it for its replayed position. Until a probe fails, it gets loads while its lag is acceptable.
    ///
    /// # Errors
    /// The reason why it can't be used: it does not answer in time, is no standby (any more), or may not
    /// report its timeline ([`Broken`](OriginErrorKind::Broken)).
    pub async fn probe(&self) -> Result<Replayed, OriginError> {
        let probed = match tokio::time::timeout(PROBE_TIMEOUT, self.ask()).await {
            Ok(probed) => probed,
            Err(_) => Err(OriginError::timeout(format!("no answer within {PROBE_TIMEOUT:?}"))),
        };
        *self.known.lock() = probed.as_ref().ok().copied();
        probed
    }

    async fn ask(&self) -> Result<Replayed, OriginError> {
        // Closed if this future is dropped: behind a cut wire, a connection stays open for long.
        let connection = self.probes.borrow().await?;
        let client = connection.client();
        let sql = format!("{REPLAYED}, {STATE}");
        let statement = client.prepare_cached(&sql).await.map_err(|err| origin_error(&err))?;
        let row = client.query_one(&statement, &[]).await.map_err(|err| origin_error(&err))?;
        connection.release();
        parse_report(row.get(0), row.get(1))
    }

    /// Records the report of a load.
    fn record(&self, report: &Result<Replayed, OriginError>) {
        let mut known = self.known.lock();
        match (report, known.as_mut()) {
            (Ok(report), Some(known)) if known.upto < report.upto => *known = *report,
            // Only a probe brings an unused standby back.
            (Ok(_), _) => {}
            (Err(_), _) => *known = None,
        }
    }
}

/// Parses a standby's report: its replayed position, and its [`STATE`] afterwards.
fn parse_report(upto: Option<&str>, state: &str) -> Result<Replayed, OriginError> {
    let refused =
        |why: &str| Err(OriginError { kind: OriginErrorKind::Refused, message: why.to_owned() });
    if state == "primary" {
        return refused("it is a primary: it was promoted, or never was a standby");
    }
    let mut words = state.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (system, oid, timeline) = (word(), word(), word());
    match timeline {
        "none" => return refused("it does not stream from its primary"),
        "hidden" => {
            return Err(OriginError::broken(
                "the role may not see which timeline it follows; on the primary: \
                 grant pg_read_all_stats to the role",
            ));
        }
        _ => {}
    }
    let parse = || {
        let system = database_id(system.parse().ok()?, oid.parse().ok()?);
        let log = Log { system, timeline: timeline.parse().ok()?, server: 0 };
        Some(Replayed { log, upto: upto?.parse().ok()? })
    };
    parse().ok_or_else(|| {
        OriginError::broken(format!("it has replayed {upto:?} and reports the state {state:?}"))
    })
}

/// The values of one contract, as a standby shows them.
struct StandbyOrigin {
    standby: Arc<Standby>,
    /// Those of the primary, where they are prepared again when a definition is altered.
    statements: Arc<PreparedStatements>,
}

impl PostgresOrigin {
    /// Adds the primary's standbys. They are asked before the primary while their lag is acceptable.
    #[must_use]
    pub fn with_standbys(mut self, standbys: &[Arc<Standby>]) -> Self {
        let origin = |standby: &Arc<Standby>| {
            let (standby, statements) = (Arc::clone(standby), Arc::clone(&self.statements));
            Arc::new(StandbyOrigin { standby, statements }) as Arc<dyn Origin>
        };
        self.standbys = standbys.iter().map(origin).collect();
        self
    }
}

impl StandbyOrigin {
    async fn connection(&self) -> Result<(BorrowedConnection, Statement), OriginError> {
        let connection = self.standby.loads.borrow().await?;
        let first = connection.client().prepare_cached(FIRST).await;
        Ok((connection, first.map_err(|err| origin_error(&err))?))
    }

    /// Reads a loaded value, and the position that the standby had replayed before.
    async fn read(
        &self,
        statements: &Statements,
        session: SessionId,
        item: &Item<'_>,
        first: &Rows,
        rows: Rows,
    ) -> Result<Loaded, OriginError> {
        let rows = match rows {
            Ok(rows) => rows,
            Err(err) => {
                return Err(statements.reader.failure(&self.standby.loads, item, &err).await);
            }
        };
        let missing = || OriginError::broken("the standby did not report its position");
        let first = first.as_ref().map_err(origin_error)?.first().ok_or_else(missing)?;
        session.check(first.try_get(1).map_err(|err| column_error(&err))?)?;
        // A standby has a clock of its own, so it is not asked for values that change by the primary's.
        let ReadRow { content, rows, report, .. } = statements.reader.read(session, item, &rows)?;
        let upto = first.try_get(0).map_err(|err| column_error(&err))?;
        let report = parse_report(upto, report.unwrap_or_default());
        self.standby.record(&report);
        let loaded = loaded_rows(statements.reader.contract(), item, content, &rows, None)?;
        Ok(Loaded { replayed: Some(report?), ..loaded })
    }
}

#[async_trait]
impl Origin for StandbyOrigin {
    fn name(&self) -> &str {
        &self.standby.name
    }

    fn concurrency(&self) -> Option<usize> {
        Some(self.standby.connections)
    }

    fn replayed(&self) -> Option<Replayed> {
        *self.standby.known.lock()
    }

    async fn prepare_again(&self, schema: u64) -> Result<(), OriginError> {
        self.standby.loads.renew(schema);
        Ok(())
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let statements = self.statements.get()?;
        let load = statements.with_report(STATE);
        let (connection, first) = self.connection().await?;
        let client = connection.client();
        let load = client.prepare_cached(&load).await.map_err(|err| origin_error(&err))?;
        let item = item(statements.reader.contract(), id)?;
        let parameters = statements.parameters(&item);
        let steps = [query(client, &first, None), query(client, &load, Some(&parameters))];
        let mut answers = join_all(steps).await.into_iter();
        let (Some(first), Some(rows)) = (answers.next(), answers.next()) else {
            return Err(OriginError::broken("two statements did not get two answers"));
        };
        // Each of the two was a transaction of its own, so none is open.
        let session = client.id();
        connection.release();
        self.read(&statements, session, &item, &first, rows).await
    }

    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_standby = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| Arc::ptr_eq(&other.standby, &self.standby))
        });
        let Some(origins) = same_standby.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let statements = origins.iter().map(|origin| origin.statements.get());
        let Ok(statements) = statements.collect::<Result<Vec<_>, _>>() else {
            return Ok(load_separately(items).await);
        };
        let named = statements.iter().zip(items);
        let named = named.map(|(these, named)| item(these.reader.contract(), named.id));
        let Ok(named) = named.collect::<Result<Vec<_>, _>>() else {
            return Ok(load_separately(items).await);
        };
        let loads: Vec<String> = statements.iter().map(|these| these.with_report(STATE)).collect();
        let (connection, first) = self.connection().await?;
        let parameters = statements.iter().zip(&named).map(|(these, item)| these.parameters(item));
        let queries: Vec<_> = loads.iter().map(String::as_str).zip(parameters).collect();
        let session = connection.client().id();
        let (first, answers) = in_one_snapshot(connection, Some(&first), &queries).await?;
        let first = first.unwrap_or_else(|| Ok(Vec::new()));
        let mut loaded = Vec::with_capacity(items.len());
        for ((item, statements), rows) in named.iter().zip(&statements).zip(answers) {
            loaded.push(self.read(statements, session, item, &first, rows).await);
        }
        Ok(LoadedMany { items: loaded, one_snapshot: true })
    }
}
