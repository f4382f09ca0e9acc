//! The forms of the columns of tables.

use contract::{TextForm, TextForms};
use database::postgres::{ColumnType, PostgresUrl, driver_error};

use super::connection::{connect, connect_config};
use crate::error::FeedError;
use crate::table::{TableName, TrackedTable};

const OPERATION: &str = "reading the types of columns";

/// Returns the forms of the columns of `tables`.
///
/// # Errors
/// The catalogue can't be read.
pub async fn text_forms(
    url: &PostgresUrl,
    source: &str,
    tables: &[TrackedTable],
) -> Result<TextForms, FeedError> {
    let connection = connect(&connect_config(url)).await?;
    let mut forms = TextForms::default();
    for TrackedTable { table, columns, .. } in tables {
        let quoted = TableName::parse(table).quoted();
        let rows = connection.rows(OPERATION, ColumnType::QUERY, &[&quoted, columns]).await?;
        for row in rows {
            let found = ColumnType::from_row(&row).map_err(|err| driver_error(OPERATION, &err))?;
            if let Some(form) = TextForm::of_postgres_type(found.base, found.is_domain) {
                forms.insert(source, table, &found.column, form);
            }
        }
    }
    Ok(forms)
}
