//! The write-ahead log: its identity and end, and appending messages to it.

use coherence::Lsn;
use database::postgres::Connection;

use super::schema::{DigestStatement, FollowedSchema, parse_digest};
use crate::error::FeedError;
use crate::event::{Identity, LogEnd, LogSample};
use crate::message::LogMessage;

/// The prefix of the messages by which a node checks that a relay passes on the log.
pub(super) const BEAT_PREFIX: &str = "tidegate.beat";

const NUDGE_PREFIX: &str = "tidegate.nudge";

const READING_END: &str = "reading the end of the log";

/// The system, the timeline, and the end of the log. Not the flush position: with `synchronous_commit = off` a
/// commit is acknowledged first and flushed later.
const END_COLUMNS: &str = "system_identifier, \
                           ('x' || substr(pg_walfile_name(lsn), 1, 8))::bit(32)::bigint, lsn";

const END_TABLES: &str = "pg_control_system(), pg_current_wal_insert_lsn() lsn";

/// Returns the identity of the connected database.
pub(super) async fn identity(connection: &Connection) -> Result<Identity, FeedError> {
    // After a crash of one of its processes the server restarts without a new start time, but it
    // discards its statistics.
    let sql = "select system_identifier::text, \
                 substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), \
                 concat_ws(' ', extract(epoch from pg_postmaster_start_time()), \
                   (select extract(epoch from stats_reset) from pg_stat_bgwriter)) \
               from pg_control_system()";
    let row = connection.row("reading the database's identity", sql, &[]).await?;
    let (system, timeline): (&str, &str) = (row.get(0), row.get(1));
    let malformed = || FeedError::Malformed(format!("system {system}, timeline {timeline}"));
    Ok(Identity {
        system: system.parse().map_err(|_| malformed())?,
        timeline: u32::from_str_radix(timeline, 16).map_err(|_| malformed())?,
        server_started: row.get(2),
    })
}

/// Returns the end of the log.
pub(super) async fn end(connection: &Connection) -> Result<LogEnd, FeedError> {
    let sql = format!("select concat_ws(' ', {END_COLUMNS}) from {END_TABLES}");
    Ok(parse_end(&connection.text(READING_END, &sql).await?)?.0)
}

/// Prepares the statement of [`sample`].
pub(super) async fn prepare_sample(
    connection: &Connection,
    schema: &FollowedSchema,
) -> Result<DigestStatement, FeedError> {
    schema.prepare(connection, &format!("{END_COLUMNS}, "), &format!("from {END_TABLES}")).await
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
    let mut parts = text.splitn(4, ' ');
    let mut parse = || {
        let system = parts.next()?.parse().ok()?;
        let timeline = parts.next()?.parse().ok()?;
        let end = LogEnd { system, timeline, lsn: parts.next()?.parse().ok()? };
        Some((end, parts.next().unwrap_or_default()))
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
