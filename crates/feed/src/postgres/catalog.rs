//! Queries of the catalogue: the server, the tables and the publication.

use std::collections::HashMap;

use contract::table_name;
use database::postgres::{ColumnType, Connection, driver_error};

use crate::error::FeedError;
use crate::table::TableName;

const OPERATION: &str = "reading the catalogue";

/// The first version whose publications may contain computed columns.
pub(super) const STORED_COLUMNS_VERSION: i32 = 180_000;

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
    /// The table itself, or its partitions, that are unlogged.
    pub(super) unlogged: Vec<String>,
    /// Its partitions that are foreign tables.
    pub(super) foreign: Vec<String>,
    /// The tables that inherit from it and are no partitions.
    pub(super) children: Vec<String>,
    /// The tables that it is a partition of.
    pub(super) ancestors: Vec<TableName>,
    /// Whether the role owns it.
    pub(super) owned: bool,
    pub(super) columns: Vec<String>,
    /// The columns that the database computes from others. The log contains them only if the publication does.
    pub(super) generated: Vec<String>,
    /// Those of them that are not stored, which no publication contains.
    pub(super) computed_on_read: Vec<String>,
    /// The replica identity's columns, whose old values updates and deletes contain; for a partitioned table,
    /// those that all of its partitions have. If empty, updates and deletes can't be published.
    pub(super) identity: Vec<String>,
    /// Whether the primary key is deferrable, so that it is no replica identity.
    pub(super) deferrable_key: bool,
    /// A partition with the default replica identity, if another one has `full`.
    pub(super) narrow_partition: Option<String>,
    pub(super) may_use_schema: bool,
    /// The columns that the role may select: origins read the columns of contracts too.
    pub(super) readable: Vec<String>,
}

/// The part of the log that a table's rows have is that of its partitions, at every level.
const TABLE: &str = "\
    with c as (select c.* from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2), \
    leaf as (select l.*, l.oid::regclass::text as name from c, pg_partition_tree(c.oid) t join pg_class l on l.oid = t.relid \
             where t.isleaf and t.relid <> c.oid \
             union all select c.*, c.oid::regclass::text from c \
             where not exists (select from pg_partition_tree(c.oid) t where t.isleaf and t.relid <> c.oid)) \
    select c.relkind in ('r', 'p'), c.relkind = 'p', \
      array(select name from leaf where relpersistence = 'u' order by 1), \
      array(select name from leaf where relkind = 'f' order by 1), \
      array(select i.inhrelid::regclass::text from pg_inherits i join pg_class k on k.oid = i.inhrelid \
            where i.inhparent = c.oid and not k.relispartition order by 1), \
      pg_has_role(c.relowner, 'usage'), \
      array(select attname::text from pg_attribute \
            where attrelid = c.oid and attnum > 0 and not attisdropped), \
      array(select attname::text from pg_attribute \
            where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated <> ''), \
      array(select a.attname::text from pg_attribute a where a.attrelid = c.oid \
            and a.attnum > 0 and not a.attisdropped and not exists (select from leaf l \
              where l.relreplident <> 'f' and not exists (select from pg_index i \
                join pg_attribute la on la.attrelid = l.oid and la.attname = a.attname \
                where i.indrelid = l.oid and i.indisvalid \
                and array_position(i.indkey::int2[], la.attnum) < i.indnkeyatts \
                and (l.relreplident = 'd' and i.indisprimary and i.indimmediate \
                     or l.relreplident = 'i' and i.indisreplident)))), \
      (select min(name) from leaf where relreplident <> 'f' and c.relreplident = 'f' and leaf.oid <> c.oid), \
      has_schema_privilege(c.relnamespace, 'usage'), \
      array(select attname::text from pg_attribute \
            where attrelid = c.oid and attnum > 0 and not attisdropped \
            and has_column_privilege(c.oid, attnum, 'select')), \
      array(select an.nspname::text from pg_partition_ancestors(c.oid) with ordinality t(relid, at) \
            join pg_class a on a.oid = t.relid and a.oid <> c.oid \
            join pg_namespace an on an.oid = a.relnamespace order by t.at), \
      array(select a.relname::text from pg_partition_ancestors(c.oid) with ordinality t(relid, at) \
            join pg_class a on a.oid = t.relid and a.oid <> c.oid order by t.at), \
      exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and not i.indimmediate), \
      array(select attname::text from pg_attribute \
            where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = 'v') \
    from c";

/// Returns a table, or `None` if it does not exist.
pub(super) async fn table(
    connection: &Connection,
    name: &TableName,
) -> Result<Option<Table>, FeedError> {
    let rows = connection.rows(OPERATION, TABLE, &[&name.schema, &name.table]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (schemas, tables): (Vec<String>, Vec<String>) = (row.get(12), row.get(13));
    let ancestors = schemas.into_iter().zip(tables);
    Ok(Some(Table {
        ordinary: row.get(0),
        partitioned: row.get(1),
        unlogged: row.get(2),
        foreign: row.get(3),
        children: row.get(4),
        owned: row.get(5),
        columns: row.get(6),
        generated: row.get(7),
        identity: row.get(8),
        narrow_partition: row.get(9),
        deferrable_key: row.get(14),
        computed_on_read: row.get(15),
        may_use_schema: row.get(10),
        readable: row.get(11),
        ancestors: ancestors.map(|(schema, table)| TableName { schema, table }).collect(),
    }))
}

/// Returns the tables that the role may use, as contracts name them.
pub(super) async fn table_names(connection: &Connection) -> Result<Vec<String>, FeedError> {
    let sql = "select n.nspname::text, c.relname::text \
               from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where c.relkind in ('r', 'p') and not c.relispartition \
                 and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%' \
                 and has_schema_privilege(n.oid, 'usage') order by n.nspname <> 'public', 1, 2";
    let rows = connection.rows(OPERATION, sql, &[]).await?;
    let name = |row: &tokio_postgres::Row| {
        let (schema, table): (String, String) = (row.get(0), row.get(1));
        table_name((schema != "public").then_some(&schema), &table)
    };
    Ok(rows.iter().map(name).collect())
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
    /// Whether it contains the computed columns that are stored.
    pub(super) stored_columns: bool,
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
    let stored_columns = match version {
        STORED_COLUMNS_VERSION.. => "pubgencols = 's'",
        _ => "false",
    };
    let sql = format!(
        "select pg_has_role(pubowner, 'usage'), \
           pubinsert and pubupdate and pubdelete and pubtruncate, pubviaroot, {stored_columns} \
         from pg_publication where pubname = $1"
    );
    let rows = connection.rows(OPERATION, &sql, &[&name]).await?;
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
        stored_columns: row.get(3),
        tables: tables.collect(),
    }))
}
