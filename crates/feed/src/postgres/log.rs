//! The write-ahead log: its identity and end, and appending messages to it.

use coherence::{ClockTime, Log, Lsn, server_digest};
use database::postgres::{Connection, DatabaseIdentity, IDENTITY_SQL};

use super::schema::{DigestStatement, FollowedSchema, parse_digest};
use crate::error::FeedError;
use crate::event::{Identity, LogEnd, LogSample};
use crate::message::LogMessage;

/// The prefix of the messages by which a node checks that a relay passes on the log.
pub(super) const BEAT_PREFIX: &str = "tidegate.beat";

const NUDGE_PREFIX: &str = "tidegate.nudge";

const READING_END: &str = "reading the end of the log";

const END_TABLES: &str = "pg_current_wal_insert_lsn() lsn";

/// Returns the columns of the database's identity and of the log's end. Not the flush position: with
/// `synchronous_commit = off` a commit is acknowledged first and flushed later.
fn end_columns() -> String {
    format!("{IDENTITY_SQL}, lsn")
}

/// Returns the identity of the connected database.
pub(super) async fn identity(connection: &Connection) -> Result<Identity, FeedError> {
    // After a crash of one of its processes the server restarts without a new start time, but it
    // discards its statistics.
    let sql = format!(
        "select {IDENTITY_SQL}, \
         coalesce((select extract(epoch from stats_reset) from pg_stat_bgwriter)::text, '')"
    );
    let row = connection.row("reading the database's identity", &sql, &[]).await?;
    let (identity, reset): (&str, &str) = (row.get(0), row.get(1));
    let malformed = || FeedError::Malformed(format!("the database's identity: {identity:?}"));
    let DatabaseIdentity { system, timeline, started } =
        DatabaseIdentity::parse(identity).ok_or_else(malformed)?;
    Ok(Identity { system, timeline, server_started: format!("{started} {reset}") })
}

/// Returns the end of the log.
pub(super) async fn end(connection: &Connection) -> Result<LogEnd, FeedError> {
    let sql = format!("select concat_ws(' ', {}) from {END_TABLES}", end_columns());
    Ok(parse_end(&connection.text(READING_END, &sql).await?)?.0)
}

/// Returns the time that the server's clock shows.
pub(super) async fn clock(connection: &Connection) -> Result<ClockTime, FeedError> {
    let sql = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint::text";
    let text = connection.text("reading the clock", sql).await?;
    let time = text.parse().ok().and_then(ClockTime::from_micros);
    time.ok_or_else(|| FeedError::Malformed(format!("the time {text:?}")))
}

/// Prepares the statement of [`sample`].
pub(super) async fn prepare_sample(
    connection: &Connection,
    schema: &FollowedSchema,
) -> Result<DigestStatement, FeedError> {
    schema.prepare(connection, &format!("{}, ", end_columns()), &format!("from {END_TABLES}")).await
}

/// Returns the end of the log, and the digest of the schema in one snapshot that was taken before.
pub(super) async fn sample(
    connection: &Connection,
    statement: &DigestStatement,
) -> Result<LogSample, FeedError> {
    let text = statement.execute(READING_END, connection).await?;
    let (end, digest) = parse_end(&text)?;
    Ok(LogSample { end, schema: Some(parse_digest(digest)?) })
}

/// Parses the end of the log. Returns the rest of the text too.
fn parse_end(text: &str) -> Result<(LogEnd, &str), FeedError> {
    let parse = || {
        // The identity has four words.
        let (lsn_at, _) = text.match_indices(' ').nth(3)?;
        let (identity, rest) = (&text[..lsn_at], &text[lsn_at + 1..]);
        let DatabaseIdentity { system, timeline, started } = DatabaseIdentity::parse(identity)?;
        let server = Log { system, timeline, server: server_digest(&started) }.run().server;
        let (lsn, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        Some((LogEnd { system, timeline, server, lsn: lsn.parse().ok()? }, rest))
    };
    parse().ok_or_else(|| FeedError::Malformed(format!("the end of the log: {text:?}")))
}

/// Appends a request and returns a position at or past the end of its commit.
pub(super) async fn emit(connection: &Connection, json: &str) -> Result<Lsn, FeedError> {
    append(connection, LogMessage::PREFIX, json).await?;
    flushed(connection).await
}

/// Appends a beat and returns a position at or past the end of its commit.
pub(super) async fn emit_beat(connection: &Connection, beat: &str) -> Result<Lsn, FeedError> {
    append(connection, BEAT_PREFIX, beat).await?;
    flushed(connection).await
}

/// Appends a flushed commit that changes nothing.
pub(super) async fn nudge(connection: &Connection) -> Result<(), FeedError> {
    append(connection, NUDGE_PREFIX, "").await
}

async fn append(connection: &Connection, prefix: &str, content: &str) -> Result<(), FeedError> {
    let sql = "select pg_logical_emit_message(true, $1, $2::text)::text";
    connection.row("writing to the log", sql, &[&prefix, &content]).await?;
    Ok(())
}

/// Returns the flush position. After an [`append`] it is at or past the end of that commit, as the
/// session flushes its commits; and unlike the insert position, a feed reaches it without a nudge.
async fn flushed(connection: &Connection) -> Result<Lsn, FeedError> {
    let text = connection.text(READING_END, "select pg_current_wal_flush_lsn()::text").await?;
    text.parse().map_err(|err| FeedError::Malformed(format!("{err}")))
}
