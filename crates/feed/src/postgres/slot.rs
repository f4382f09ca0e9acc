//! The replication slot: its holder and position, and creating it.

use coherence::Lsn;
use database::postgres::{ConnectConfig, Connection};
use database::quoting;

use super::connection::connect;
use crate::error::{FeedError, SetupError, SetupIssue};

const OPERATION: &str = "reading the replication slot";

/// The state of the slot in `pg_replication_slots`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum SlotState {
    /// It does not exist.
    Missing,
    /// The log that it needs was removed; it stays unusable.
    Lost,
    /// A process holds it.
    Held,
    /// It exists and is not held.
    Free,
}

/// Reads the slot's state.
///
/// # Errors
/// [`FeedError::Setup`] if another kind of slot has the name, or one that decodes two-phase commits.
pub(super) async fn state(
    connection: &Connection,
    config: &ConnectConfig,
    name: &str,
) -> Result<SlotState, FeedError> {
    let sql = "select coalesce(plugin, ''), slot_type, coalesce(database, ''), active, \
                 coalesce(wal_status, ''), two_phase from pg_replication_slots where slot_name = $1";
    let rows = connection.rows(OPERATION, sql, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(SlotState::Missing) };
    let (plugin, kind, database): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let (active, wal_status): (bool, &str) = (row.get(3), row.get(4));
    // The creating process holds the slot at once; the plugin is filled in a little later.
    let being_created = active && plugin.is_empty() && kind == "logical";
    if being_created && database == config.url.database() {
        return Ok(SlotState::Held);
    }
    if plugin != "pgoutput" || kind != "logical" || database != config.url.database() {
        let description = format!(
            "The replication slot `{name}` belongs to something else ({kind}, plugin {plugin:?}, \
             database {database:?})."
        );
        let rename =
            "-- set another name in the source's configuration (slot), or, if the slot is unused:";
        let drop = format!("select pg_drop_replication_slot({});", quoting::literal(name));
        let issues = vec![SetupIssue::new(description, [rename.to_owned(), drop])];
        return Err(SetupError { database: config.url.name(), issues }.into());
    }
    if row.get(5) {
        let description = format!(
            "The replication slot `{name}` was created for two-phase commits: a transaction that was prepared \
             is sent before it commits, and its `commit prepared` would be missed."
        );
        let drop = format!("select pg_drop_replication_slot({});", quoting::literal(name));
        let then = "-- the nodes then create it again, and all entries are void";
        let issues = vec![SetupIssue::new(description, [drop, then.to_owned()])];
        return Err(SetupError { database: config.url.name(), issues }.into());
    }
    Ok(match (active, wal_status) {
        (true, _) => SlotState::Held,
        (false, "lost") => SlotState::Lost,
        (false, _) => SlotState::Free,
    })
}

/// Creates the slot. This waits until all transactions that are open now have ended, so it uses a
/// connection of its own without a statement timeout.
pub(super) async fn create(config: &ConnectConfig, name: &str) -> Result<(), FeedError> {
    let connection = connect(config).await?;
    let sql = format!(
        "set statement_timeout = 0; select pg_create_logical_replication_slot({}, 'pgoutput')",
        quoting::literal(name)
    );
    tracing::info!(slot = name, "creating a replication slot; this waits for open transactions");
    Ok(connection.run(&sql).await?)
}

/// Drops an unusable slot.
pub(super) async fn drop_slot(connection: &Connection, name: &str) -> Result<(), FeedError> {
    let sql = format!("select pg_drop_replication_slot({})", quoting::literal(name));
    Ok(connection.run(&sql).await?)
}

/// Returns the position after which everything will be sent. Valid only while this node holds the
/// slot: otherwise the position moves.
pub(super) async fn position(connection: &Connection, name: &str) -> Result<Lsn, FeedError> {
    let sql = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
    let row = connection.row(OPERATION, sql, &[&name]).await?;
    let text: Option<&str> = row.get(0);
    let text = text.unwrap_or_default();
    text.parse().map_err(|err| FeedError::Malformed(format!("the slot's position: {err}")))
}
