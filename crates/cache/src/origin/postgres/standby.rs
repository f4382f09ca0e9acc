//! Loads from a standby, each with what the standby said of itself.
//!
//! Three things are asked on one connection, sent together: first how far the standby has replayed, in
//! a statement of its own, which has ended before the next one takes its snapshot; then the value; and
//! with it, behind its snapshot, of which system and timeline all of this was. So a promotion or a switch
//! to another timeline in between is seen.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::{Log, Replayed};
use contract::{Contract, Key};
use parking_lot::Mutex;
use tokio_postgres::config::Host;
use tokio_postgres::{Config, Statement};

use super::{
    AsText, Lent, PostgresOrigin, PostgresPool, Rows, classify, in_one_snapshot, query, read_row,
    unavailable,
};
use crate::origin::{
    Ask, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, loaded, side_by_side,
};
use crate::together::together;

/// How far the standby has replayed; nothing but that, so that it can stand first.
const REPLAYED: &str = "select pg_last_wal_replay_lsn()::text";

/// What the server is: `primary`, or system and timeline. The timeline is the receiver's, which is never
/// behind that of what is replayed; where it does not stream, nothing tells the present timeline.
const STANDING: &str = "case when pg_is_in_recovery() then concat( \
     (select system_identifier from pg_control_system()), ' ', \
     coalesce((select coalesce(received_tli::text, 'hidden') from pg_stat_wal_receiver), 'none')) \
     else 'primary' end";

/// How long a standby has for a look.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// A standby of a PostgreSQL primary.
pub struct Standby {
    name: String,
    loads: PostgresPool,
    connections: usize,
    /// For [`look`](Self::look), so that it never waits for loads.
    looks: PostgresPool,
    known: Mutex<Option<Replayed>>,
}

impl Standby {
    /// Opens lazily, and is asked for nothing before the first [`look`](Self::look). `source` is the
    /// primary's name; `connections` and `timeout` are as those of [`PostgresPool::new`].
    ///
    /// # Errors
    /// The URL can't be read, or does not name exactly one server.
    pub fn new(
        source: &str,
        url: &str,
        connections: usize,
        timeout: Duration,
    ) -> Result<Self, OriginError> {
        let looks = PostgresPool::new(url, 1, LOOK_LIMIT)?;
        let loads = PostgresPool::new(url, connections, timeout)?;
        let name = format!("{source}@{}", address(url)?);
        Ok(Self { name, loads, connections, looks, known: Mutex::default() })
    }

    /// What it is called in metrics and logs: the source's name and its own address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks it how it stands. Until a look fails, it is asked for loads, as far as it is near enough.
    ///
    /// # Errors
    /// Why it can't be used: it does not answer in time, is no standby (any more), or may not say on
    /// which timeline it is ([`Broken`](OriginErrorKind::Broken)).
    pub async fn look(&self) -> Result<Replayed, OriginError> {
        let looked = match tokio::time::timeout(LOOK_LIMIT, self.ask()).await {
            Ok(looked) => looked,
            Err(_) => Err(OriginError {
                kind: OriginErrorKind::Timeout,
                message: format!("no answer within {LOOK_LIMIT:?}"),
            }),
        };
        *self.known.lock() = looked.as_ref().ok().copied();
        looked
    }

    async fn ask(&self) -> Result<Replayed, OriginError> {
        // Not used again if this is given up: behind a wire that was cut, a connection stays open for long.
        let lent = Lent(Some(self.looks.pool.get().await.map_err(|err| unavailable(&err))?));
        let sql = format!("{REPLAYED}, {STANDING}");
        let statement = lent.client().prepare_cached(&sql).await.map_err(|err| classify(&err))?;
        let row = lent.client().query_one(&statement, &[]).await.map_err(|err| classify(&err))?;
        lent.give_back();
        replayed(row.get(0), row.get(1))
    }

    /// Remembers what a load has told.
    fn heard(&self, told: &Result<Replayed, OriginError>) {
        let mut known = self.known.lock();
        match (told, known.as_mut()) {
            (Ok(told), Some(known)) if known.upto < told.upto => *known = *told,
            // What is out of use comes back by a look only.
            (Ok(_), _) => {}
            (Err(_), _) => *known = None,
        }
    }
}

/// `host:port`, of which there has to be one: another server is another standby.
fn address(url: &str) -> Result<String, OriginError> {
    let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
    let config: Config =
        url.parse().map_err(|err| broken(format!("a standby's url can't be read: {err}")))?;
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts() {
        [Host::Tcp(host)] => Ok(format!("{host}:{port}")),
        [Host::Unix(folder)] => Ok(format!("{}:{port}", folder.display())),
        hosts => {
            let message =
                format!("a standby's url names {} hosts; write one url for each", hosts.len());
            Err(broken(message))
        }
    }
}

/// What a server said: how far it was, and afterwards what it is.
fn replayed(upto: Option<&str>, standing: &str) -> Result<Replayed, OriginError> {
    let refused =
        |why: &str| Err(OriginError { kind: OriginErrorKind::Refused, message: why.to_owned() });
    if standing == "primary" {
        return refused("it is a primary: it was promoted, or never was a standby");
    }
    let (system, timeline) = standing.split_once(' ').unwrap_or((standing, ""));
    match timeline {
        "none" => return refused("it does not stream from its primary"),
        "hidden" => {
            return Err(OriginError {
                kind: OriginErrorKind::Broken,
                message: "the role may not see which timeline it follows; on the primary: \
                          grant pg_read_all_stats to the role"
                    .into(),
            });
        }
        _ => {}
    }
    let parse = || {
        let log = Log { system: system.parse().ok()?, timeline: timeline.parse().ok()?, server: 0 };
        Some(Replayed { log, upto: upto?.parse().ok()? })
    };
    parse().ok_or_else(|| OriginError {
        kind: OriginErrorKind::Broken,
        message: format!("it has replayed {upto:?} and stands at {standing:?}"),
    })
}

/// One contract's values, as a standby shows them.
struct StandbyOrigin {
    contract: Contract,
    standby: Arc<Standby>,
    load: String,
}

impl PostgresOrigin {
    /// Has the primary's standbys asked first, as long as they are near enough.
    #[must_use]
    pub fn with_standbys(mut self, standbys: &[Arc<Standby>]) -> Self {
        let origin = |standby: &Arc<Standby>| {
            let (contract, load) = (self.contract.clone(), self.select(STANDING));
            let standby = Arc::clone(standby);
            Arc::new(StandbyOrigin { contract, standby, load }) as Arc<dyn Origin>
        };
        self.standbys = standbys.iter().map(origin).collect();
        self
    }
}

impl StandbyOrigin {
    async fn connection(&self) -> Result<(Lent, Statement), OriginError> {
        let object = self.standby.loads.pool.get().await.map_err(|err| unavailable(&err))?;
        let lent = Lent(Some(object));
        let first = lent.client().prepare_cached(REPLAYED).await.map_err(|err| classify(&err))?;
        Ok((lent, first))
    }

    /// What was loaded, and how far the standby was before.
    fn read(&self, id: &str, first: &Rows, rows: Rows) -> Result<Loaded, OriginError> {
        let rows = rows.map_err(|err| classify(&err))?;
        let first = first.as_ref().map_err(classify)?;
        let (content, columns, standing) = read_row(&self.contract, id, &rows)?;
        let upto = first.first().and_then(|row| row.get(0));
        let told = replayed(upto, standing.unwrap_or_default());
        self.standby.heard(&told);
        let loaded = loaded(&self.contract, id, content, &columns, None)?;
        Ok(Loaded { replayed: Some(told?), ..loaded })
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

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let (lent, first) = self.connection().await?;
        let load = lent.client().prepare_cached(&self.load).await.map_err(|err| classify(&err))?;
        let text = AsText(id);
        let steps = [query(lent.client(), &first, None), query(lent.client(), &load, Some(&text))];
        let mut answers = together(steps).await.into_iter();
        let (Some(first), Some(rows)) = (answers.next(), answers.next()) else {
            let message = "two statements were not answered twice".into();
            return Err(OriginError { kind: OriginErrorKind::Broken, message });
        };
        // Each of the two was a transaction of its own, so none is open.
        lent.give_back();
        self.read(id, &first, rows)
    }

    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let ours = asks.iter().map(|ask| {
            let origin: &dyn Any = ask.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| Arc::ptr_eq(&other.standby, &self.standby))
        });
        let Some(ours) = ours.collect::<Option<Vec<_>>>() else {
            return Ok(side_by_side(asks).await);
        };
        let (lent, first) = self.connection().await?;
        let questions: Vec<_> =
            ours.iter().zip(asks).map(|(origin, ask)| (&*origin.load, AsText(ask.id))).collect();
        let (first, answers) = in_one_snapshot(lent, Some(&first), &questions).await?;
        let first = first.unwrap_or_else(|| Ok(Vec::new()));
        let items = asks.iter().zip(ours).zip(answers);
        let items = items.map(|((ask, origin), rows)| origin.read(ask.id, &first, rows));
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}
