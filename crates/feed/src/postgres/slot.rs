//! The replication slot: who holds it, where it stands, making it.

use coherence::Lsn;

use super::server::{Control, Server};
use crate::error::{FeedError, Problem, Setup};
use crate::tracked::quote_text;

/// What `pg_replication_slots` says about ours.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// There is none.
    Missing,
    /// The log it needs was removed; it will never work again.
    Lost,
    /// Somebody holds it.
    Held,
    /// Nobody holds it.
    Free,
}

/// Looks at the slot.
///
/// # Errors
/// [`FeedError::Setup`] if the name belongs to something else.
pub(super) async fn state(
    control: &Control,
    server: &Server,
    name: &str,
) -> Result<State, FeedError> {
    let sql = "select coalesce(plugin, ''), slot_type, coalesce(database, ''), active, \
                 coalesce(wal_status, '') from pg_replication_slots where slot_name = $1";
    let rows = control.rows(LOOKING, sql, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(State::Missing) };
    let (plugin, kind, database): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let (active, wal_status): (bool, &str) = (row.get(3), row.get(4));
    // Whoever makes one has it first, and its plugin is filled in a moment later.
    let in_the_making = active && plugin.is_empty() && kind == "logical";
    if in_the_making && database == server.database() {
        return Ok(State::Held);
    }
    if plugin != "pgoutput" || kind != "logical" || database != server.database() {
        let what = format!(
            "The replication slot `{name}` belongs to something else ({kind}, plugin {plugin:?}, \
             database {database:?})."
        );
        let fix =
            "-- give another name in the source's configuration (slot), or, if nobody uses it:";
        let drop = format!("select pg_drop_replication_slot({});", quote_text(name));
        let problems = vec![Problem::new(what, [fix.to_owned(), drop])];
        return Err(Setup { database: server.name(), problems }.into());
    }
    Ok(match (active, wal_status) {
        (true, _) => State::Held,
        (false, "lost") => State::Lost,
        (false, _) => State::Free,
    })
}

/// Makes the slot. Waits until the transactions that are open now have ended, so it has a
/// connection of its own without a time limit.
pub(super) async fn make(server: &Server, name: &str) -> Result<(), FeedError> {
    let connection = server.connect().await?;
    let sql = format!(
        "set statement_timeout = 0; select pg_create_logical_replication_slot({}, 'pgoutput')",
        quote_text(name)
    );
    tracing::info!(slot = name, "making a replication slot; this waits for open transactions");
    connection.run(&sql).await
}

/// Removes a slot that will never work again.
pub(super) async fn remove(control: &Control, name: &str) -> Result<(), FeedError> {
    control.run(&format!("select pg_drop_replication_slot({})", quote_text(name))).await
}

/// Everything after this will be sent. Only for who holds the slot: else it moves.
pub(super) async fn position(control: &Control, name: &str) -> Result<Lsn, FeedError> {
    let sql = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
    let row = control.row(LOOKING, sql, &[&name]).await?;
    let text: Option<&str> = row.get(0);
    let text = text.unwrap_or_default();
    text.parse().map_err(|err| FeedError::Malformed(format!("the slot's position: {err}")))
}

const LOOKING: &str = "looking at the replication slot";
