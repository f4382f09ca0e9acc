//! Connections to one server.

use std::time::Duration;

use coherence::Lsn;
use database::mariadb::{ConnectConfig, MariaDbUrl, Pool, READ_ONLY, ResultSet};

use super::value::text;
use crate::origin::error::OriginError;

/// The name of every operation; [`OriginError`]s don't show it.
const OPERATION: &str = "loading";

/// The log contains the text of a `char` without the spaces that pad it.
const UNPADDED: &str = "set session sql_mode = replace(@@sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')";

/// A pool of connections to one server.
#[derive(Clone)]
pub struct MariaDbPool(Pool);

impl MariaDbPool {
    /// Creates a pool without connections: the first load opens the first one. `timeout` limits each
    /// statement in the server as well (`max_statement_time`).
    #[must_use]
    pub fn new(url: &MariaDbUrl, connections: usize, timeout: Duration) -> Self {
        let session = vec![
            "set names utf8mb4".to_owned(),
            READ_ONLY.to_owned(),
            UNPADDED.to_owned(),
            format!("set session max_statement_time = {}", timeout.as_secs_f64()),
        ];
        let config = ConnectConfig { url: url.clone(), session, max_packet_bytes: None };
        Self(Pool::new(&config, connections, timeout))
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
        Ok(self.0.run(OPERATION, &[sql]).await?.pop())
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

    /// Runs the statements in one transaction with one snapshot, sent as one packet. Returns the result of
    /// each, and the end of the log.
    pub(super) async fn snapshot(
        &self,
        statements: &[String],
    ) -> Result<(Vec<ResultSet>, Option<Lsn>), OriginError> {
        let mut packet = vec!["start transaction"];
        packet.extend(statements.iter().map(String::as_str));
        packet.extend(["show status like 'binlog_snapshot_%'", "commit"]);
        let results = self.0.run(OPERATION, &packet).await?;
        let mut results = results.into_iter().skip(1);
        let found: Vec<ResultSet> = results.by_ref().take(statements.len()).collect();
        // The log contains every commit that a snapshot shows.
        let end = results.next().map(|result| result.rows).unwrap_or_default();
        let status = |name: &str| {
            let row = end.iter().find(|row| row.first().and_then(text).as_deref() == Some(name))?;
            text(row.get(1)?)
        };
        let seen = status("Binlog_snapshot_file").zip(status("Binlog_snapshot_position"));
        let seen = seen.and_then(|(file, offset)| Lsn::in_binlog(&file, offset.parse().ok()?));
        Ok((found, seen))
    }
}
