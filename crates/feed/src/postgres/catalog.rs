//! Queries of the catalogue: the server, the tables and the publication.

use std::collections::HashMap;

use database::postgres::{ColumnType, Connection, driver_error};

use crate::error::FeedError;
use crate::table::{TableName, TrackedTable};

const OPERATION: &str = "reading the catalogue";

/// The server's settings, and the connection's role on it.
pub(super) struct ServerInfo {
    pub(super) version: i32,
    pub(super) wal_level: String,
    pub(super) may_replicate: bool,
    pub(super) may_create: bool,
    pub(super) role: String,
    /// Slots that may still be created.
    pub(super) slots_left: i64,
    pub(super) max_wal_senders: i32,
    /// −1: no limit.
    pub(super) max_slot_wal_keep_size: i32,
}

pub(super) async fn server_info(connection: &Connection) -> Result<ServerInfo, FeedError> {
    let sql = "select current_setting('server_version_num')::int, \
                 current_setting('wal_level'), \
                 (select rolsuper or rolreplication from pg_roles where rolname = current_user), \
                 has_database_privilege(current_database(), 'create'), \
                 current_user::text, \
                 current_setting('max_replication_slots')::int8 \
                   - (select count(*) from pg_replication_slots), \
                 current_setting('max_wal_senders')::int, \
                 (select setting::int from pg_settings where name = 'max_slot_wal_keep_size')";
    let row = connection.row(OPERATION, sql, &[]).await?;
    Ok(ServerInfo {
        version: row.get(0),
        wal_level: row.get(1),
        may_replicate: row.get(2),
        may_create: row.get(3),
        role: row.get(4),
        slots_left: row.get(5),
        max_wal_senders: row.get(6),
        max_slot_wal_keep_size: row.get::<_, Option<i32>>(7).unwrap_or(-1),
    })
}

/// A tracked table in the catalogue.
pub(super) struct Table {
    pub(super) partitioned: bool,
    pub(super) ordinary: bool,
    pub(super) unlogged: bool,
    /// Whether the role owns it.
    pub(super) owned: bool,
    pub(super) columns: Vec<String>,
    /// The replica identity's columns, whose old values updates and deletes contain. If empty,
    /// updates and deletes can't be published.
    pub(super) identity: Vec<String>,
    /// Whether the primary key is deferrable, so that it is no replica identity.
    pub(super) deferrable_key: bool,
    pub(super) may_use_schema: bool,
    /// The columns that the role may select: origins read the columns of contracts too.
    pub(super) readable: Vec<String>,
}

/// Returns a table, or `None` if it does not exist.
pub(super) async fn table(
    connection: &Connection,
    name: &TableName,
) -> Result<Option<Table>, FeedError> {
    let sql = "select c.relkind in ('r', 'p'), c.relkind = 'p', c.relpersistence = 'u', \
                 pg_has_role(c.relowner, 'usage'), \
                 array(select attname::text from pg_attribute \
                       where attrelid = c.oid and attnum > 0 and not attisdropped), \
                 array(select a.attname::text from pg_attribute a where a.attrelid = c.oid \
                       and a.attnum > 0 and not a.attisdropped \
                       and (c.relreplident = 'f' or exists ( \
                         select from pg_index i where i.indrelid = c.oid and i.indisvalid \
                         and array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts \
                         and (c.relreplident = 'd' and i.indisprimary and i.indimmediate \
                              or c.relreplident = 'i' and i.indisreplident)))), \
                 has_schema_privilege(n.oid, 'usage'), \
                 array(select attname::text from pg_attribute \
                       where attrelid = c.oid and attnum > 0 and not attisdropped \
                       and has_column_privilege(c.oid, attnum, 'select')), \
                 exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary \
                         and not i.indimmediate) \
               from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2";
    let rows = connection.rows(OPERATION, sql, &[&name.schema, &name.table]).await?;
    Ok(rows.first().map(|row| Table {
        ordinary: row.get(0),
        partitioned: row.get(1),
        unlogged: row.get(2),
        owned: row.get(3),
        columns: row.get(4),
        identity: row.get(5),
        may_use_schema: row.get(6),
        readable: row.get(7),
        deferrable_key: row.get(8),
    }))
}

/// Returns the types of columns of a table.
pub(super) async fn types(
    connection: &Connection,
    name: &TableName,
    columns: &[String],
) -> Result<HashMap<String, ColumnType>, FeedError> {
    let rows = connection.rows(OPERATION, ColumnType::QUERY, &[&name.quoted(), &columns]).await?;
    let types = rows.iter().map(ColumnType::from_row).collect::<Result<Vec<_>, _>>();
    let types = types.map_err(|err| driver_error(OPERATION, &err))?;
    Ok(types.into_iter().map(|column| (column.column.clone(), column)).collect())
}

/// A publication in the catalogue.
pub(super) struct Publication {
    /// Whether the role owns it.
    pub(super) owned: bool,
    /// Whether it publishes inserts, updates, deletes and truncates.
    pub(super) all_operations: bool,
    pub(super) via_root: bool,
    pub(super) tables: Vec<PublishedTable>,
}

/// A table of a publication.
pub(super) struct PublishedTable {
    pub(super) name: TableName,
    pub(super) filtered: bool,
    /// `None` before PostgreSQL 15, which publishes all columns.
    pub(super) columns: Option<Vec<String>>,
}

/// Returns a publication, or `None` if it does not exist.
pub(super) async fn publication(
    connection: &Connection,
    name: &str,
    version: i32,
) -> Result<Option<Publication>, FeedError> {
    let sql = "select pg_has_role(pubowner, 'usage'), \
                 pubinsert and pubupdate and pubdelete and pubtruncate, pubviaroot \
               from pg_publication where pubname = $1";
    let rows = connection.rows(OPERATION, sql, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let details = match version {
        150_000.. => "rowfilter is not null, attnames::text[]",
        _ => "false, null::text[]",
    };
    let sql = format!(
        "select schemaname::text, tablename::text, {details} \
         from pg_publication_tables where pubname = $1"
    );
    let tables = connection.rows(OPERATION, &sql, &[&name]).await?;
    let tables = tables.iter().map(|row| PublishedTable {
        name: TableName { schema: row.get(0), table: row.get(1) },
        filtered: row.get(2),
        columns: row.get(3),
    });
    Ok(Some(Publication {
        owned: row.get(0),
        all_operations: row.get(1),
        via_root: row.get(2),
        tables: tables.collect(),
    }))
}

/// Returns a text that differs after the tracked tables, or their part in the publication, have
/// been altered: dropped and created again, rewritten, columns changed, added to or removed from
/// the publication.
///
/// The log contains none of these changes, though some alter the values of rows, or keep later
/// changes from being published.
pub(super) async fn fingerprint(
    connection: &Connection,
    publication: &str,
    tracked: &[TrackedTable],
) -> Result<String, FeedError> {
    let names: Vec<String> =
        tracked.iter().map(|tracked| TableName::parse(&tracked.table).unquoted()).collect();
    let sql = "select coalesce(string_agg(t.name || ' ' || coalesce(( \
                 select concat_ws(' ', c.oid, pg_relation_filenode(c.oid), c.relreplident, \
                   c.relrowsecurity, c.relhassubclass, ( \
                   select string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod, \
                     attisdropped, attmissingval), ',' order by attnum) \
                   from pg_attribute where attrelid = c.oid and attnum > 0)) \
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname || '.' || c.relname = t.name), 'gone'), ';' order by t.name), '') \
               || coalesce((select concat_ws(' ', p, array( \
                   select pt::text from pg_publication_tables pt where pt.pubname = p.pubname \
                   and pt.schemaname || '.' || pt.tablename = any($1) order by 1)) \
                 from pg_publication p where p.pubname = $2), 'no publication') \
               from unnest($1::text[]) as t(name)";
    Ok(connection.row(OPERATION, sql, &[&names, &publication]).await?.get(0))
}
