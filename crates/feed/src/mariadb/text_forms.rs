//! The forms of the columns of tables.

use contract::{TextForm, TextForms};
use database::mariadb::MariaDbUrl;

use super::catalog::{self, same_column};
use super::connection::{connect, connect_config};
use crate::error::FeedError;
use crate::table::{TableName, TrackedTable};

/// Returns the forms of the columns of `tables`.
///
/// # Errors
/// The catalogue can't be read.
pub async fn text_forms(
    url: &MariaDbUrl,
    source: &str,
    tables: &[TrackedTable],
) -> Result<TextForms, FeedError> {
    let connection = connect(&connect_config(url)).await?;
    let mut forms = TextForms::default();
    for TrackedTable { table, columns, .. } in tables {
        let name = TableName::parse_in(table, url.database());
        let found = catalog::table(&connection, &name).await?;
        let found = found.map(|table| table.columns).unwrap_or_default();
        for needed in columns {
            let column = found.iter().find(|column| same_column(&column.name, needed));
            if let Some(form) =
                column.and_then(|c| TextForm::of_mariadb_type(&c.definition.full_type))
            {
                forms.insert(source, table, needed, form);
            }
        }
    }
    Ok(forms)
}
