//! The forms of the columns of tables.

use std::path::Path;

use contract::{TextForm, TextForms};
use database::sqlite::driver_error;

use super::catalog;
use super::connection::open;
use crate::error::FeedError;
use crate::table::TrackedTable;

const OPERATION: &str = "reading the types of columns";

/// Returns the forms of the columns of `tables`.
///
/// # Errors
/// The schema can't be read.
pub fn text_forms(
    path: &Path,
    source: &str,
    tables: &[TrackedTable],
) -> Result<TextForms, FeedError> {
    let connection = open(path)?;
    let mut forms = TextForms::default();
    for TrackedTable { table, columns, .. } in tables {
        let types = catalog::types(&connection, table).map_err(driver_error(OPERATION))?;
        for needed in columns {
            let found = types.iter().find(|(column, _)| column.eq_ignore_ascii_case(needed));
            if let Some(form) = found.and_then(|(_, declared)| TextForm::of_sqlite_type(declared)) {
                forms.insert(source, table, needed, form);
            }
        }
    }
    Ok(forms)
}
