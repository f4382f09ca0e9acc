//! The tables that a user sees in the database of the URL.

use database::mariadb::{Connection, MariaDbUrl};
use database::quoting::mariadb_literal;

use super::catalog::{self, Table};
use super::connection::{connect, connect_config};
use super::log::REQUEST_TABLE;
use crate::error::FeedError;
use crate::survey::{SurveyedColumn, SurveyedTable, TableKind};
use crate::table::TableName;

const OPERATION: &str = "reading the catalogue";

/// Returns the tables and views of the database.
///
/// # Errors
/// [`FeedError::Unavailable`], or [`FeedError::Setup`] where the login is refused.
pub async fn survey(url: &MariaDbUrl) -> Result<Vec<SurveyedTable>, FeedError> {
    let connection = connect(&connect_config(url)).await?;
    let schema = url.database();
    let sql = format!(
        "select table_name from information_schema.tables where table_schema = {} order by 1",
        mariadb_literal(schema)
    );
    let rows = connection.rows(OPERATION, &sql).await?.into_iter();
    let names = rows.filter_map(|row| row.into_iter().next()?);
    let mut tables = Vec::new();
    for name in names.filter(|name| name != REQUEST_TABLE) {
        let full = TableName { schema: schema.to_owned(), table: name.clone() };
        let Some(table) = catalog::table(&connection, &full).await? else { continue };
        tables.push(SurveyedTable {
            name: contract::table_name(None, &name),
            kind: TableKind::of(obstacle(&table)),
            key: key(&connection, &full).await?,
            columns: table.columns.into_iter().filter(|it| it.readable).map(column).collect(),
        });
    }
    Ok(tables)
}

/// Returns a column with as much of its type as decides whether its texts are ids.
fn column(column: catalog::Column) -> SurveyedColumn {
    let catalog::Column { name, definition, collation, .. } = column;
    let mut data_type = definition.data_type;
    if definition.full_type.contains("zerofill") {
        data_type += " zerofill";
    }
    if !collation.is_empty() {
        data_type += &format!(" collate {collation}");
    }
    SurveyedColumn { name, data_type }
}

fn obstacle(table: &Table) -> Option<String> {
    match table.engine.as_str() {
        "" => Some("it is a view".to_owned()),
        "InnoDB" if table.is_versioned => Some("it has system versioning".to_owned()),
        "InnoDB" if !table.cascades.is_empty() => Some(
            "a foreign key changes its rows along with those of another table, which is not logged"
                .to_owned(),
        ),
        "InnoDB" => None,
        engine => Some(format!("its engine is {engine}, not InnoDB")),
    }
}

async fn key(connection: &Connection, name: &TableName) -> Result<Vec<String>, FeedError> {
    let sql = format!(
        "select column_name from information_schema.statistics where index_name = 'PRIMARY' \
           and binary table_schema = {} and binary table_name = {} order by seq_in_index",
        mariadb_literal(&name.schema),
        mariadb_literal(&name.table)
    );
    let rows = connection.rows(OPERATION, &sql).await?.into_iter();
    Ok(rows.filter_map(|row| row.into_iter().next()?).collect())
}
