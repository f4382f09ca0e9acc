//! Connections to one server.

use std::time::Duration;

use coherence::bound::ServerLog;
use coherence::{Lsn, Replayed, server_digest};
use contract::fnv1a;
use database::mariadb::{
    Answer, ConnectConfig, CurrentServer, MariaDbUrl, Pool, READ_ONLY, ResultSet, ServerIdentity,
};

use super::value::text;
use crate::origin::error::OriginError;

/// The name of every operation; [`OriginError`]s don't show it.
const OPERATION: &str = "loading";

/// The log contains the text of a `char` without the spaces that pad it.
const UNPADDED: &str = "set session sql_mode = replace(@@sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')";

/// The text of a `timestamp`, and the time of day, depend on the session. The server's own setting may change at any
/// time, which is not logged, so that old and new texts would stand beside each other.
const UTC: &str = "set session time_zone = '+00:00'";

/// A pool of connections to one server.
#[derive(Clone)]
pub struct MariaDbPool(Pool);

impl MariaDbPool {
    /// Creates a pool without connections: the first load opens the first one. `timeout` limits each
    /// statement in the server as well (`max_statement_time`).
    #[must_use]
    pub fn new(url: &MariaDbUrl, connections: usize, timeout: Duration) -> Self {
        Self::of_server(url, connections, timeout, CurrentServer::default())
    }

    /// As [`new`](Self::new), with answers of the same server as all others that share `server`.
    #[must_use]
    pub fn of_server(
        url: &MariaDbUrl,
        connections: usize,
        timeout: Duration,
        server: CurrentServer,
    ) -> Self {
        let session = vec![
            "set names utf8mb4".to_owned(),
            READ_ONLY.to_owned(),
            UNPADDED.to_owned(),
            UTC.to_owned(),
            format!("set session max_statement_time = {}", timeout.as_secs_f64()),
        ];
        let config = ConnectConfig { url: url.clone(), session, max_packet_bytes: None };
        Self(Pool::of_server(&config, connections, timeout, server))
    }

    /// Returns the name of the database in the URL.
    pub(super) fn database(&self) -> &str {
        self.0.database()
    }

    /// Whether both are clones of one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }

    /// Runs one statement on a connection of the pool.
    pub(super) async fn run(&self, sql: &str) -> Result<Option<ResultSet>, OriginError> {
        Ok(self.0.run(OPERATION, &[sql]).await?.results.pop())
    }

    /// Returns the setting `sql_mode` of the pool's connections.
    pub(super) async fn sql_mode(&self) -> Result<String, OriginError> {
        let found = self.run("select @@sql_mode").await?;
        let mode = found.and_then(|result| result.rows.first().and_then(|row| text(row.first()?)));
        mode.ok_or_else(|| OriginError::broken("the database returned no sql_mode"))
    }

    /// Has the server parse one statement without running it.
    pub(super) async fn parse_statement(&self, sql: &str) -> Result<(), OriginError> {
        Ok(self.0.parse_statement(OPERATION, sql).await?)
    }

    /// Runs the statements in one transaction with one snapshot, sent as one packet.
    pub(super) async fn snapshot(&self, statements: &[String]) -> Result<Snapshot, OriginError> {
        // The log contains every commit that a snapshot shows.
        const END: &str = "show status like 'binlog_snapshot_%'";
        let Framed { results: found, last: end, server, .. } =
            self.transaction(None, statements, END).await?;
        let end = end.rows;
        let status = |name: &str| {
            let row = end.iter().find(|row| row.first().and_then(text).as_deref() == Some(name))?;
            text(row.get(1)?)
        };
        let seen = status("Binlog_snapshot_file").zip(status("Binlog_snapshot_position"));
        let seen = seen.and_then(|(file, offset)| Lsn::in_binlog(&file, offset.parse().ok()?));
        let source = LoadSource { seen, log: Some(log_of(&server)), replayed: None };
        Ok(Snapshot { results: found, source })
    }

    /// Runs `first` by itself, then the statements in one transaction, and `last` after them; all as one packet.
    pub(super) async fn transaction(
        &self,
        first: Option<&str>,
        statements: &[String],
        last: &str,
    ) -> Result<Framed, OriginError> {
        let mut packet: Vec<&str> = first.into_iter().collect();
        packet.push("start transaction");
        packet.extend(statements.iter().map(String::as_str));
        packet.extend([last, "commit"]);
        let Answer { results, server } = self.0.run(OPERATION, &packet).await?;
        let mut results = results.into_iter();
        let first = first.and_then(|_| results.next());
        let results_of_items = results.by_ref().skip(1).take(statements.len()).collect();
        let missing = || OriginError::broken("a statement has no result");
        Ok(Framed {
            first,
            results: results_of_items,
            last: results.next().ok_or_else(missing)?,
            server,
        })
    }

    /// Runs statements without a transaction, as one packet.
    pub(super) async fn run_all(
        &self,
        statements: &[&str],
    ) -> Result<(Vec<ResultSet>, ServerIdentity), OriginError> {
        let Answer { results, server } = self.0.run(OPERATION, statements).await?;
        Ok((results, server))
    }
}

/// The results of a transaction and of the statements around it.
pub(super) struct Framed {
    pub(super) first: Option<ResultSet>,
    /// The result of each statement.
    pub(super) results: Vec<ResultSet>,
    pub(super) last: ResultSet,
    /// The server that has run them.
    pub(super) server: ServerIdentity,
}

/// The results of statements that one snapshot has answered.
pub(super) struct Snapshot {
    /// The result of each statement.
    pub(super) results: Vec<ResultSet>,
    pub(super) source: LoadSource,
}

/// The log behind a snapshot.
#[derive(Clone, Copy)]
pub(super) struct LoadSource {
    /// The end of the log after the snapshot was taken.
    pub(super) seen: Option<Lsn>,
    /// The log of the primary that answered.
    pub(super) log: Option<ServerLog>,
    /// The position that the standby that answered had replayed before.
    pub(super) replayed: Option<Replayed>,
}

/// Returns the log of a server as the feed identifies it. `reset master` begins another timeline.
fn log_of(ServerIdentity { instance, started }: &ServerIdentity) -> ServerLog {
    let server = server_digest(started);
    ServerLog { system: fnv1a(instance.bytes()), timeline: None, server }
}
