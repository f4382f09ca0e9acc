//! Projections: values that consist only of columns of their row, so that the log contains them.

use crate::mapping::change::{ColumnValue, ContractChange, Image};
use crate::mapping::row::{Cell, JsonForm, Op, Row, RowChange};
use crate::mapping::sql::{Piece, SqlDialect, pieces};
use crate::mapping::table::TableMapping;
use crate::model::contract::Contract;
use crate::naming::key::Key;
use crate::naming::table::table_name;
use crate::naming::tag::Tag;

/// SQL functions that are written without parentheses, like columns.
const FUNCTIONS: [&str; 15] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "rownum",
    "session_user",
    "user",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];

/// The columns that a contract's `value` selects, with their JSON names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    fields: Vec<(String, String)>,
}

/// The content of an entry after a row change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projected {
    /// The new content and tags; `None`: the row does not exist any more.
    Value(Option<String>, Vec<Tag>),
    /// The log does not contain all of it.
    Unknown,
}

impl Contract {
    /// Returns the projection of `value`, if it is of the form
    ///
    /// ```sql
    /// select <column> [as <name>], … from <table> where <key> = $id
    /// ```
    ///
    /// with the table and key of `from`, in SQL of this dialect. Any other statement may depend on more than the
    /// row.
    ///
    /// # Errors
    /// The reason why `value` is not a projection.
    pub fn projection(&self, dialect: SqlDialect) -> Result<Projection, &'static str> {
        const FORM: &str = "`value` is not `select <columns> from <table> where <key> = $id`";
        let (Some(value), Some(from)) = (&self.value, &self.from) else {
            return Err("it has no `value` or no `from`");
        };
        if !self.key.variants().is_empty() || self.key.has_tenant() {
            return Err("its key contains more than the row's id");
        }
        if !self.joins.is_empty() {
            return Err("its values are made from several tables");
        }
        if self.changes_at.is_some() {
            return Err("its values change by the clock, and the log does not contain when");
        }
        let words = words(value, dialect).ok_or(FORM)?;
        let mut words = words.iter();
        let mut next = || words.next().ok_or(FORM);
        if !next()?.is("select") {
            return Err(FORM);
        }
        let mut fields = Vec::new();
        let mut after;
        loop {
            let column = next()?.name().ok_or(FORM)?;
            after = next()?;
            let mut name = column.clone();
            if after.is("as") {
                name = next()?.name().ok_or(FORM)?;
                after = next()?;
            }
            fields.push((name, column));
            if !after.is(",") {
                break;
            }
        }
        if !after.is("from") {
            return Err(FORM);
        }
        let (mut schema, mut table) = (None, next()?.name().ok_or(FORM)?);
        after = next()?;
        if after.is(".") {
            schema = Some(std::mem::replace(&mut table, next()?.name().ok_or(FORM)?));
            after = next()?;
        }
        let table = table_name(schema.as_deref(), &table);
        let same = |one: &str, other: &str| match dialect.ignores_case_of_columns() {
            true => one.eq_ignore_ascii_case(other),
            false => one == other,
        };
        let key = next()?.name().ok_or(FORM)?;
        let is_key = same(&key, &from.key) && next()?.text == "=" && next()?.text == "$id";
        if !after.is("where") || !is_key || words.next().is_some() {
            return Err(FORM);
        }
        if !from.is_table(&from.source, &table) {
            return Err("`value` reads another table than `from` names");
        }
        let watched = self.watched_columns();
        let watches =
            |column: &str| watched.is_empty() || watched.iter().any(|other| same(other, column));
        if !fields.iter().all(|(_, column)| watches(column)) {
            return Err("`value` reads columns that `from.columns` leaves out");
        }
        Ok(Projection { fields })
    }

    /// Checks that a key filter may answer for this contract: an id without a row has no value, and the
    /// process may store the filter.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check_absent_filter(&self) -> Result<(), &'static str> {
        // A statement that aggregates or reads another table may have a value without a row. The source's own
        // dialect decides when its ids are scanned.
        let in_mariadb = || self.projection(SqlDialect::mariadb(""));
        self.projection(SqlDialect::Postgres).or_else(|why| in_mariadb().map_err(|_| why))?;
        if self.staleness.is_zero() {
            return Err(
                "its budget is zero, and nothing in a process proves an answer to be current",
            );
        }
        if !self.tiers.local || self.ttl.is_zero() {
            return Err("it may not be cached in the process, which is where the filter is");
        }
        Ok(())
    }
}

impl Projection {
    /// Returns the columns in the order of the value, possibly with duplicates.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(_, column)| column.as_str())
    }

    /// Returns the entries of `contract`, whose projection this is, that `change` renews, with their new
    /// content. Apply the changes of one transaction in their order.
    pub fn project(&self, contract: &Contract, change: &RowChange) -> Vec<(Key, Projected)> {
        let Some(from) = &contract.from else { return Vec::new() };
        let view = ContractChange::new(TableMapping::own(contract, from), change);
        if !from.is_table(&change.source, &change.table)
            || change.op == Op::Truncate
            || view.is_irrelevant()
        {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(1);
        // The key of a contract with a projection has one column.
        let id = |image| match view.canonical(image, view.key_columns.first()?) {
            ColumnValue::Text(id) => Some(id),
            ColumnValue::Null | ColumnValue::Unknown => None,
        };
        let (old, new) = match change.op {
            Op::Insert => (None, id(Image::New)),
            Op::Update => (id(Image::Old), id(Image::New)),
            Op::Delete | Op::Truncate => (id(Image::Old), None),
        };
        if let Some(id) = old.filter(|_| old != new)
            && let Ok(key) = contract.key(id)
        {
            let row = Row::from_iter([(view.key_columns[0], Cell::Text(id.to_owned()))]);
            out.push((key, Projected::Value(None, contract.tags_for(&row))));
        }
        if let Some(id) = new
            && let Ok(key) = contract.key(id)
        {
            let projected = match (self.json(&view), new_tags(&view)) {
                (Some(json), Some(tags)) => Projected::Value(Some(json), tags),
                _ => Projected::Unknown,
            };
            out.push((key, projected));
        }
        out
    }

    /// Returns the value as PostgreSQL's `row_to_json` writes it. `None`: the log does not contain a
    /// column or its JSON form, or the text does not have that form.
    fn json(&self, view: &ContractChange<'_>) -> Option<String> {
        let mut json = String::from("{");
        for (at, (name, column)) in self.fields.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            json.push_str(&quoted(name));
            json.push(':');
            match view.column(Image::New, column) {
                ColumnValue::Unknown => return None,
                ColumnValue::Null => json.push_str("null"),
                // The column's bytes were not UTF-8, so this is not their text.
                ColumnValue::Text(text) if text.contains(char::REPLACEMENT_CHARACTER) => {
                    return None;
                }
                ColumnValue::Text(text) => match view.form(column)? {
                    JsonForm::Text | JsonForm::Padded => json.push_str(&quoted(text)),
                    JsonForm::Number | JsonForm::FixedNumber if is_number(text) => {
                        json.push_str(text);
                    }
                    JsonForm::Number | JsonForm::FixedNumber => json.push_str(&quoted(text)),
                    JsonForm::Boolean => json.push_str(match text {
                        "t" => "true",
                        "f" => "false",
                        _ => return None,
                    }),
                    JsonForm::Json => json.push_str(text),
                },
            }
        }
        json.push('}');
        Some(json)
    }
}

/// Returns the entry's tags. `None`: a column of its key or tags is unknown.
fn new_tags(view: &ContractChange<'_>) -> Option<Vec<Tag>> {
    let new = |column: &str| view.canonical(Image::New, column);
    let contract = view.table.contract;
    let mut columns = contract.load_columns().into_iter();
    let known = columns.all(|column| new(column) != ColumnValue::Unknown);
    known.then(|| {
        contract.tags_of(|column| match new(column) {
            ColumnValue::Text(text) => Some(text),
            ColumnValue::Null | ColumnValue::Unknown => None,
        })
    })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("any text can be written as a JSON string")
}

/// Returns whether `text` is a number of RFC 8259 §6, in the form in which databases write it.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (text, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole)
        && !has_leading_zero
        && digits(part)
        && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

/// A word of a statement.
struct Word {
    text: String,
    /// Whether the word is quoted, so that it is always a name.
    quoted: bool,
}

impl Word {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text.eq_ignore_ascii_case(word)
    }

    /// Returns the word if it can be the name of a column or table.
    fn name(&self) -> Option<String> {
        let first = self.text.chars().next()?;
        let plain = first.is_ascii_alphabetic() || first == '_';
        let is_function = |name: &&str| self.text.eq_ignore_ascii_case(name);
        let plain = plain && !FUNCTIONS.iter().any(is_function);
        (self.quoted || plain).then(|| self.text.clone())
    }
}

/// Returns the words of a statement, with names as the database returns them: PostgreSQL folds them to lower case.
/// `None`: the statement has syntax that a projection can't have.
fn words(sql: &str, dialect: SqlDialect) -> Option<Vec<Word>> {
    let (mut words, mut plain) = (Vec::new(), String::new());
    for piece in pieces(sql.trim_end().trim_end_matches(';'), dialect) {
        let word = match piece {
            Piece::Plain(text) => {
                plain.push_str(text);
                continue;
            }
            Piece::Comment(_) => None,
            Piece::Text(_) => return None,
            Piece::Name(name) => {
                let unquoted = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
                let name = unquoted('"').or_else(|| unquoted('`'))?;
                Some(Word { text: name.to_owned(), quoted: true })
            }
            Piece::Parameter(name) => Some(Word { text: name.to_owned(), quoted: false }),
        };
        plain_words(&std::mem::take(&mut plain), dialect, &mut words)?;
        words.extend(word);
    }
    plain_words(&plain, dialect, &mut words)?;
    Some(words)
}

fn plain_words(text: &str, dialect: SqlDialect, words: &mut Vec<Word>) -> Option<()> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            ',' | '.' | '=' => 1,
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            _ => return None,
        };
        let text = match dialect {
            SqlDialect::Postgres => rest[..end].to_ascii_lowercase(),
            SqlDialect::MariaDb { .. } | SqlDialect::Sqlite => rest[..end].to_owned(),
        };
        words.push(Word { text, quoted: false });
        rest = rest[end..].trim_start();
    }
    Some(())
}

#[cfg(test)]
#[path = "projection_tests.rs"]
mod tests;
