//! The tables that a role sees.

use contract::table_name;
use database::postgres::PostgresUrl;
use tokio_postgres::Row;

use super::connection::{connect, connect_config};
use crate::error::FeedError;
use crate::survey::{SurveyedColumn, SurveyedTable, TableKind};

const OPERATION: &str = "reading the catalogue";

const TABLES: &str = "\
    select n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'u', \
      exists (select from pg_inherits i join pg_class k on k.oid = i.inhrelid \
              where i.inhparent = c.oid and not k.relispartition), \
      array(select a.attname::text from pg_attribute a \
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum), \
      array(select format_type(a.atttypid, null) from pg_attribute a \
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum), \
      array(select a.attname::text from pg_index i \
            cross join lateral unnest(i.indkey::int2[]) with ordinality k(attnum, at) \
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum \
            where i.indrelid = c.oid and i.indisprimary and i.indimmediate and k.at <= i.indnkeyatts \
            order by k.at) \
    from pg_class c join pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition \
      and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%' \
      and has_schema_privilege(n.oid, 'usage') \
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e') \
    order by n.nspname <> 'public', 1, 2";

/// Returns the tables and views in the schemas that the role may use, without those of extensions.
///
/// # Errors
/// [`FeedError::Unavailable`], or [`FeedError::Setup`] where the login is refused.
pub async fn survey(url: &PostgresUrl) -> Result<Vec<SurveyedTable>, FeedError> {
    let connection = connect(&connect_config(url)).await?;
    let rows = connection.rows(OPERATION, TABLES, &[]).await?;
    Ok(rows.iter().map(table).collect())
}

fn table(row: &Row) -> SurveyedTable {
    let (schema, table): (String, String) = (row.get(0), row.get(1));
    let (names, types): (Vec<String>, Vec<String>) = (row.get(5), row.get(6));
    let columns = names.into_iter().zip(types);
    let obstacle = match (row.get::<_, &str>(2), row.get(3), row.get(4)) {
        ("v" | "m", ..) => Some("it is a view"),
        ("f", ..) => Some("it is a foreign table, whose changes are not in the log"),
        (_, true, _) => Some("it is unlogged, so its changes are not in the log"),
        (_, _, true) => Some("other tables inherit from it"),
        _ => None,
    };
    SurveyedTable {
        name: table_name((schema != "public").then_some(&schema), &table),
        kind: TableKind::of(obstacle),
        columns: columns.map(|(name, data_type)| SurveyedColumn { name, data_type }).collect(),
        key: row.get(7),
    }
}
