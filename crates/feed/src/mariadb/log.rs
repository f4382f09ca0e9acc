//! The binary log: its identity and positions, and appending requests to it.

use coherence::{ClockTime, Lsn};
use database::mariadb::{Connection, Rows};
use database::quoting::{mariadb_identifier, mariadb_literal};

use super::position::BinlogPosition;
use crate::error::FeedError;
use crate::event::Identity;
use contract::fnv1a;

/// The table that requests are written to, in the URL's database.
pub(super) const REQUEST_TABLE: &str = "tidegate_orders";
/// Its column with the request's JSON.
pub(super) const MESSAGE_COLUMN: &str = "message";

/// The beginning of the texts by which a node checks that a relay passes on the log.
pub(super) const BEAT_PREFIX: &str = "tidegate.beat ";

/// Queries the position of the session's consistent snapshot, or of the last commit if it has none.
const SNAPSHOT: &str = "show status like 'binlog_snapshot_%'";

/// Queries how often the server was told to replicate from another one. From then on its log may leave out the
/// changes that it receives, and they are older than on the other server.
const REPLICATION_STARTS: &str = "show global status like 'com_start_%slave%'";

/// Returns the log's identity and end.
pub(super) async fn end(connection: &Connection) -> Result<(Identity, BinlogPosition), FeedError> {
    // The position comes first: if the log is reset in between, the old position is attributed to the
    // new log, where it proves nothing.
    let statements = [SNAPSHOT, "show global status like 'com_reset'", REPLICATION_STARTS];
    let results = connection.query("reading the end of the log", &statements).await?;
    let count = |rows: &Rows| -> Option<u64> {
        rows.first()?;
        rows.iter().map(|row| row.get(1)?.as_deref()?.parse::<u64>().ok()).sum()
    };
    let counts = results.get(1).and_then(count).zip(results.get(2).and_then(count));
    let (resets, replications) =
        counts.ok_or_else(|| FeedError::Malformed("no count of resets".into()))?;
    let mut server_started = format!("{} {resets}", connection.server().started);
    if replications > 0 {
        server_started += &format!(" {replications}");
    }
    let system = fnv1a(connection.server().instance.bytes());
    let timeline = fnv1a(server_started.bytes()) as u32;
    Ok((Identity { system, timeline, server_started }, position(results.first())?))
}

/// Returns the end of the log, and the last transaction of each domain in it: `0-1-42,1-1-7`.
pub(super) async fn last_transactions(
    connection: &Connection,
) -> Result<(BinlogPosition, String), FeedError> {
    let statements = [SNAPSHOT, "select @@global.gtid_binlog_pos"];
    let results = connection.query("reading the end of the log", &statements).await?;
    let last = results.get(1).and_then(|rows| rows.first()?.first()?.clone());
    let last = last.ok_or_else(|| FeedError::Malformed("no gtid_binlog_pos".into()))?;
    Ok((position(results.first())?, last))
}

/// Returns the last transaction of each domain up to a position, or `None` if the server does not tell.
pub(super) async fn transactions_until(
    connection: &Connection,
    file: &str,
    position: BinlogPosition,
) -> Result<Option<String>, FeedError> {
    let sql = format!("select binlog_gtid_pos({}, {})", mariadb_literal(file), position.offset());
    let row = connection.row("reading the ids of transactions", &sql).await?;
    Ok(row.into_iter().next().flatten())
}

/// Returns the time that the server's clock shows.
pub(super) async fn clock(connection: &Connection) -> Result<ClockTime, FeedError> {
    let results = connection.query("reading the clock", &["select @@timestamp"]).await?;
    let text = results.first().and_then(|rows| rows.first()?.first()?.clone()).unwrap_or_default();
    let time = ClockTime::parse_seconds(&text);
    time.ok_or_else(|| FeedError::Malformed(format!("the time {text:?}")))
}

/// Returns the position up to which every new snapshot shows every commit.
pub(super) async fn visible(connection: &Connection) -> Result<Lsn, FeedError> {
    // The server takes the snapshot and records its position while nothing can commit.
    let statements = ["start transaction with consistent snapshot", SNAPSHOT, "commit"];
    let results = connection.query("reading the snapshot's position", &statements).await?;
    Ok(position(results.get(1))?.lsn())
}

/// Appends a request and returns a position at or past the end of its commit. The row is inserted and
/// deleted in one transaction: the log contains both, and the table stays empty.
pub(super) async fn append(
    connection: &Connection,
    database: &str,
    text: &str,
) -> Result<Lsn, FeedError> {
    let table = format!("{}.{REQUEST_TABLE}", mariadb_identifier(database));
    let statements = [
        "start transaction".to_owned(),
        format!("insert into {table}({MESSAGE_COLUMN}) values ({})", mariadb_literal(text)),
        format!("delete from {table} where id = last_insert_id()"),
        "commit".to_owned(),
    ];
    connection.run("writing to the log", &statements).await?;
    Ok(end(connection).await?.1.lsn())
}

fn position(rows: Option<&Rows>) -> Result<BinlogPosition, FeedError> {
    let status = |name: &str| {
        let row = rows?.iter().find(|row| row.first() == Some(&Some(name.to_owned())))?;
        row.get(1)?.clone()
    };
    let file = status("Binlog_snapshot_file").unwrap_or_default();
    let offset = status("Binlog_snapshot_position").unwrap_or_default();
    let position = offset.parse().ok().and_then(|offset| BinlogPosition::new(&file, offset));
    position.ok_or_else(|| FeedError::Malformed(format!("position {offset:?} in file {file:?}")))
}
