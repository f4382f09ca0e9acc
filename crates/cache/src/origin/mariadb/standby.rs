//! Loads from a replica, each with the replica's report on itself.
//!
//! A replica names the position up to which it has applied the primary's log by file and offset of that log, so it
//! can be compared with the positions of the feed. That holds for the log that the replica follows. A probe therefore
//! asks the primary once which transaction ends at that position of its present log, and compares it with the last
//! one that the replica applied. It asks again when either of them has come to follow or write another log.
//!
//! Each load reads the position in a statement of its own, which ends before the transaction takes its snapshot, and
//! in the transaction, behind its snapshot, whether applications still can't write to the replica.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::{Log, Replayed};
use database::mariadb::{MariaDbUrl, ResultSet, ServerIdentity};
use database::quoting::mariadb_literal;
use parking_lot::Mutex;

use super::pool::{Framed, LoadSource, MariaDbPool, Snapshot};
use super::replica_status::{
    REDIRECTIONS, ReplicaStatus, SETTINGS, STATUS, Upstream, check_settings, is_same_transaction,
    refused,
};
use super::value::text;
use crate::origin::error::{OriginError, OriginErrorKind};

/// The time limit of a probe that does not ask the primary for a transaction.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Identifies the log that the primary writes.
#[async_trait]
pub trait PrimaryLog: Send + Sync {
    /// Returns the log as the feed identifies it.
    ///
    /// # Errors
    /// The primary did not answer.
    async fn log(&self) -> Result<Log, OriginError>;
}

/// A replica of a MariaDB server, as a standby.
pub struct MariaDbStandby {
    name: String,
    loads: MariaDbPool,
    connections: usize,
    /// For [`probe`](Self::probe), so that it never waits for loads.
    probes: MariaDbPool,
    primary: MariaDbPool,
    primary_log: Arc<dyn PrimaryLog>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The link whose positions are those of the primary's log, as the primary has confirmed.
    link: Option<Link>,
    replayed: Option<Replayed>,
}

/// A replica's way of following a log. While it stays the same, positions are those of one log.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Link {
    upstream: Upstream,
    replica: ServerIdentity,
    redirections: String,
    log: Log,
}

impl MariaDbStandby {
    /// Creates a standby without connections. It gets no loads before the first [`probe`](Self::probe).
    /// `source` is the primary's name, `primary` and `primary_log` lead to it; `connections` and `timeout` are as for
    /// [`MariaDbPool::new`].
    #[must_use]
    pub fn new(
        source: &str,
        url: &MariaDbUrl,
        (primary, primary_log): (MariaDbPool, Arc<dyn PrimaryLog>),
        connections: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            name: format!("{source}@{}", url.address()),
            loads: MariaDbPool::new(url, connections, timeout),
            connections,
            probes: MariaDbPool::new(url, 1, PROBE_TIMEOUT),
            primary,
            primary_log,
            known: Mutex::default(),
        }
    }

    /// Returns its name in metrics and logs: the source's name and its own address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of loads that it gets at most at once.
    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    /// Returns the last position that it reported. `None`: it must not be asked.
    pub(super) fn replayed(&self) -> Option<Replayed> {
        self.known.lock().replayed
    }

    /// Asks it for its position in the primary's log. Until a probe fails, it gets loads while its lag is acceptable.
    ///
    /// # Errors
    /// The reason why it can't be used: it does not answer in time, is no replica of the primary (any more), or its
    /// position proves nothing ([`Broken`](OriginErrorKind::Broken)).
    pub async fn probe(&self) -> Result<Replayed, OriginError> {
        let probed = self.ask().await;
        self.known.lock().replayed = probed.as_ref().ok().copied();
        probed
    }

    async fn ask(&self) -> Result<Replayed, OriginError> {
        // First, so that a log that begins meanwhile is not taken for the one of the position.
        let log = self.primary_log.log().await?;
        let asked = self.probes.run_all(&[STATUS, SETTINGS, REDIRECTIONS, STATUS]).await;
        let (results, replica) = asked.map_err(explained)?;
        let [before, settings, redirections, after] = <[ResultSet; 4]>::try_from(results)
            .map_err(|_| OriginError::broken("it did not report its state"))?;
        let applied = check_settings(&settings)?;
        let (before, after) = (ReplicaStatus::parse(&before)?, ReplicaStatus::parse(&after)?);
        let link = Link {
            upstream: before.upstream.clone(),
            replica,
            redirections: first_text(&redirections),
            log,
        };
        let is_confirmed = self.known.lock().link.as_ref() == Some(&link);
        if !is_confirmed {
            if before != after {
                return refused("it applies changes right now, so its position is asked again");
            }
            self.confirm(&before, &applied, link.log).await?;
            self.known.lock().link = Some(link.clone());
        }
        Ok(Replayed { log: link.log.lineage(), upto: before.applied })
    }

    /// Checks that the primary's log has the transaction that the replica applied last at the replica's position.
    async fn confirm(
        &self,
        status: &ReplicaStatus,
        applied: &str,
        log: Log,
    ) -> Result<(), OriginError> {
        let ReplicaStatus { file, offset, .. } = status;
        let sql = format!("select binlog_gtid_pos({}, {offset})", mariadb_literal(file));
        let logged = self.primary.run(&sql).await?.map(|result| first_text(&result));
        let logged = logged.unwrap_or_default();
        if self.primary_log.log().await? != log {
            return refused("the primary has begun another log");
        }
        if !is_same_transaction(applied, &logged) {
            return refused(&format!(
                "it follows another log than the source's: at {file} {offset} it has applied {applied:?}, and the \
                 source has written {logged:?}"
            ));
        }
        Ok(())
    }

    /// Runs the statements in one transaction with one snapshot.
    pub(super) async fn snapshot(&self, statements: &[String]) -> Result<Snapshot, OriginError> {
        let framed = self.loads.transaction(Some(STATUS), statements, SETTINGS).await?;
        let replayed = self.report(&framed);
        self.record(&replayed);
        let source = LoadSource { seen: None, log: None, replayed: Some(replayed?) };
        Ok(Snapshot { results: framed.results, source })
    }

    fn report(&self, framed: &Framed) -> Result<Replayed, OriginError> {
        let missing = || OriginError::broken("it did not report its position");
        let status = ReplicaStatus::parse(framed.first.as_ref().ok_or_else(missing)?)?;
        check_settings(&framed.last)?;
        let known = self.known.lock();
        let is_of =
            |link: &&Link| link.upstream == status.upstream && link.replica == framed.server;
        match known.link.as_ref().filter(is_of) {
            Some(link) => Ok(Replayed { log: link.log.lineage(), upto: status.applied }),
            None => refused("it follows another log than the last probe has found"),
        }
    }

    /// Records the report of a load.
    fn record(&self, report: &Result<Replayed, OriginError>) {
        let known = &mut self.known.lock().replayed;
        match (report, known.as_mut()) {
            (Ok(report), Some(known)) if known.upto < report.upto => *known = *report,
            // Only a probe brings an unused standby back.
            (Ok(_), _) => {}
            (Err(_), _) => *known = None,
        }
    }
}

fn first_text(result: &ResultSet) -> String {
    result.rows.first().and_then(|row| text(row.first()?)).unwrap_or_default()
}

/// Names the remedy where the user may not read the replica's position.
fn explained(err: OriginError) -> OriginError {
    let is_denied = err.kind == OriginErrorKind::Broken && err.message.contains(" MONITOR");
    if is_denied {
        return OriginError::broken(format!(
            "the user may not read its position; on the primary: grant replica monitor on *.* to the user ({})",
            err.message
        ));
    }
    err
}
