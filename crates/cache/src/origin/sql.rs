//! The SQL that all databases have in common.

use contract::{Contract, SqlDialect};

use super::error::OriginError;

pub(super) fn no_such_table(contract: &str, table: &str, column: &str) -> OriginError {
    OriginError::broken(format!(
        "contract {contract}: the database has no table {table} with a column {column}, or the role may \
         not see it"
    ))
}

pub(super) fn more_than_one_row(contract: &Contract) -> OriginError {
    OriginError::broken(format!(
        "contract {}: `value` returned more than one row for one id; aggregate them",
        contract.name
    ))
}

pub(super) fn not_loadable(contract: &Contract) -> OriginError {
    OriginError::broken(format!(
        "contract {}: needs `value` and `from` to be loaded from a database",
        contract.name
    ))
}

/// Returns a contract's `value` with `$1` for its one parameter, and without a closing semicolon.
pub(super) fn numbered_statement(
    contract: &Contract,
    value: &str,
    dialect: SqlDialect,
) -> Result<String, OriginError> {
    let numbered = contract::number_parameters(value.trim_end().trim_end_matches(';'), dialect);
    if numbered.names == ["id"] {
        return Ok(numbered.sql);
    }
    Err(OriginError::broken(format!(
        "contract {}: `value` takes the parameters {:?}; it has to take $id and no other",
        contract.name, numbered.names
    )))
}
