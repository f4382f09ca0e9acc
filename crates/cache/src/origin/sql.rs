//! The SQL that all databases have in common.

use coherence::ClockTime;
use contract::{Contract, Item, SqlDialect, TableColumn, UnwatchedColumns, split_table_name};

use super::error::OriginError;
use super::load::TimedChange;

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

/// Checks that the statement reads no column that `from.columns` leaves out, as far as its text tells. `columns` are those
/// of the contract's table, whose names the database compares without case.
///
/// # Errors
/// It reads one.
pub(super) fn check_watched(
    contract: &Contract,
    value: &str,
    dialect: SqlDialect,
    columns: &[String],
) -> Result<(), OriginError> {
    let table = contract.from.as_ref().map(|from| split_table_name(&from.table).1);
    let names_of = |sql: &str| contract::names_read(sql, dialect, table.as_ref()?);
    let mut names = names_of(value).unwrap_or_default();
    names.extend(contract.changes_at.as_deref().and_then(names_of).unwrap_or_default());
    let is_read = |column: &&String| names.iter().any(|name| name.eq_ignore_ascii_case(column));
    let lower = |column: &str| column.to_ascii_lowercase();
    let read: Vec<String> = columns.iter().filter(is_read).map(|column| lower(column)).collect();
    let watched: Vec<String> = contract.watched_columns().into_iter().map(lower).collect();
    match UnwatchedColumns::find(&contract.name, &watched, &read) {
        Some(found) => Err(OriginError::broken(format!("{found}; {}", UnwatchedColumns::REMEDY))),
        None => Ok(()),
    }
}

/// A joined table has its rows' entries under a column of another type than the contract's own table.
pub(super) fn other_type(
    contract: &Contract,
    own: TableColumn<'_>,
    joined: TableColumn<'_>,
) -> OriginError {
    OriginError::broken(format!(
        "contract {}: {}.{} is matched with {}.{}, which is of another kind of type, so that equal values may have \
         different texts and a change miss its entries. Give both columns one type",
        contract.name, joined.table, joined.column, own.table, own.column
    ))
}

/// A contract's `value`, without a closing semicolon.
pub(super) struct ValueStatement {
    sql: String,
    dialect: SqlDialect,
    /// The variants of the key that it selects by, in the order of the key.
    variants: Vec<String>,
    /// The contract's `changes_at`, with parameters among those of the value and the same numbers.
    changes: Option<String>,
}

impl ValueStatement {
    /// Checks the parameters of `value`.
    ///
    /// # Errors
    /// It does not take `$id`, or one that is neither that nor a variant of the key.
    pub(super) fn new(
        contract: &Contract,
        value: &str,
        dialect: SqlDialect,
    ) -> Result<Self, OriginError> {
        let sql = value.trim_end().trim_end_matches(';').to_owned();
        let names = contract::number_parameters(&sql, dialect).names;
        let mut variants: Vec<&str> = contract.key.variants();
        let is_known = |name: &String| name == "id" || variants.contains(&name.as_str());
        if !names.iter().any(|name| name == "id") || !names.iter().all(is_known) {
            return Err(OriginError::broken(format!(
                "contract {}: `value` takes the parameters {names:?}; it has to take $id, and no others than \
                 the variants of the key {}",
                contract.name, contract.key
            )));
        }
        let changes = contract.changes_at.as_ref();
        let changes = changes.map(|sql| sql.trim_end().trim_end_matches(';').to_owned());
        let of_changes =
            changes.as_ref().map(|sql| contract::number_parameters(sql, dialect).names);
        let of_changes = of_changes.unwrap_or_default();
        if let Some(name) = of_changes.iter().find(|name| !is_known(name)) {
            return Err(OriginError::broken(format!(
                "contract {}: `changes_at` takes ${name}; it may take $id and the variants of the key {}",
                contract.name, contract.key
            )));
        }
        variants.retain(|variant| names.iter().chain(&of_changes).any(|name| name == variant));
        let variants = variants.into_iter().map(str::to_owned).collect();
        Ok(Self { sql, dialect, variants, changes })
    }

    /// Returns the variants that it selects by.
    pub(super) fn variants(&self) -> &[String] {
        &self.variants
    }

    /// Returns the SQL with its parameters replaced. `replacement` gets 0 for the id, and the number of a variant
    /// from 1 on.
    pub(super) fn sql(&self, replacement: impl Fn(usize) -> String) -> String {
        self.replaced(&self.sql, replacement)
    }

    /// Returns the SQL of the contract's `changes_at` in the same way.
    pub(super) fn changes_sql(&self, replacement: impl Fn(usize) -> String) -> Option<String> {
        self.changes.as_ref().map(|sql| self.replaced(sql, replacement))
    }

    fn replaced(&self, sql: &str, replacement: impl Fn(usize) -> String) -> String {
        contract::replace_parameters(sql, self.dialect, |name| {
            let variant = self.variants.iter().position(|variant| variant == name);
            replacement(variant.map_or(0, |at| at + 1))
        })
    }

    /// Returns the values of the variants that it selects by.
    pub(super) fn values<'i>(&self, item: &'i Item<'_>) -> Vec<&'i str> {
        let value = |variant: &String| {
            let found = item.variants.iter().find(|(name, _)| name == variant);
            found.map_or("", |(_, value)| value.as_str())
        };
        self.variants.iter().map(value).collect()
    }
}

/// Returns the next of the times in the texts of seconds since 1970, after `now`, a time at or before the value was computed.
///
/// # Errors
/// A text is no number.
pub(super) fn next_change(
    contract: &Contract,
    texts: impl Iterator<Item = String>,
    (now, shown): (ClockTime, ClockTime),
) -> Result<Option<TimedChange>, OriginError> {
    let mut next: Option<ClockTime> = None;
    for text in texts {
        if text.trim().parse::<f64>().is_err() {
            return Err(not_a_time(contract, &text));
        }
        // A number that is no time is one before 1970, which has passed, or one that never comes.
        let time = ClockTime::parse_seconds(&text).filter(|time| *time > now);
        next = [next, time].into_iter().flatten().min();
    }
    Ok(next.map(|at| TimedChange { at, shown: Some(shown) }))
}

pub(super) fn not_a_time(contract: &Contract, found: &str) -> OriginError {
    OriginError::broken(format!(
        "contract {}: `changes_at` returned {found:?}, which is no number of seconds since 1970; write \
         `unix_timestamp(valid_until)` on MariaDB, `unixepoch(valid_until)` on SQLite",
        contract.name
    ))
}

/// Parses the text by which a reader names a value.
pub(super) fn item<'a>(contract: &'a Contract, text: &'a str) -> Result<Item<'a>, OriginError> {
    contract.item(text).map_err(|err| OriginError::bad_request(err.to_string()))
}
