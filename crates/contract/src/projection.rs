//! Values that are nothing but columns of their row, so that the log alone tells them.

use crate::affected::{Image, Known, View};
use crate::contract::Contract;
use crate::key::Key;
use crate::row::{Cell, JsonForm, Op, Row, RowChange};
use crate::sql::{Piece, pieces};
use crate::tag::Tag;

/// Names that SQL takes for functions although they are written like columns.
const FUNCTIONS: [&str; 11] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
];

/// What a contract's `value` takes from its row: the JSON names and the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projection {
    fields: Vec<(String, String)>,
}

/// What a row change makes of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// Its new content; `None`: there is no such row any more.
    Value(Option<String>, Vec<Tag>),
    /// The log does not tell all of it.
    Unknown,
}

impl Contract {
    /// What `value` takes from the row, if it is of the form
    ///
    /// ```sql
    /// select <column> [as <name>], … from <table> where <key> = $id
    /// ```
    ///
    /// with the table and key of `from`. Anything else may depend on more than the row.
    ///
    /// # Errors
    /// Why it is not, for people.
    pub fn projection(&self) -> Result<Projection, &'static str> {
        const FORM: &str = "`value` is not `select <columns> from <table> where <key> = $id`";
        let (Some(value), Some(from)) = (&self.value, &self.from) else {
            return Err("it has no `value` or no `from`");
        };
        if !self.key.variants().is_empty() || self.key.has_tenant() {
            return Err("its key holds more than the row's id");
        }
        let words = words(value).ok_or(FORM)?;
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
        let mut table = next()?.name().ok_or(FORM)?;
        after = next()?;
        if after.is(".") {
            table = format!("{table}.{}", next()?.name().ok_or(FORM)?);
            after = next()?;
        }
        let rest = [next()?.name(), Some(next()?.text.clone()), Some(next()?.text.clone())];
        let asks = [Some(from.key.clone()), Some("=".to_owned()), Some("$id".to_owned())];
        if !after.is("where") || rest != asks || words.next().is_some() {
            return Err(FORM);
        }
        if !from.is(&from.source, &table) {
            return Err("`value` reads another table than `from` names");
        }
        let watched = self.watched_columns();
        let watches = |column: &str| watched.is_empty() || watched.contains(&column);
        if !fields.iter().all(|(_, column)| watches(column)) {
            return Err("`value` reads columns that `from.columns` leaves out");
        }
        Ok(Projection { fields })
    }
}

impl Projection {
    /// The columns, in the order of the value; some perhaps twice.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(_, column)| column.as_str())
    }

    /// What `change` makes of the entries of `contract`, whose projection this is. Says nothing about
    /// entries that it leaves as they are. Changes of one transaction apply in their order.
    pub fn renewed(&self, contract: &Contract, change: &RowChange) -> Vec<(Key, Renewed)> {
        let about = contract.from.as_ref().is_some_and(|f| f.is(&change.source, &change.table));
        let view = View { contract, change, key_columns: contract.key_columns() };
        if !about || change.op == Op::Truncate || view.leaves_alone() {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(1);
        // A key of one column: a projection has no other.
        let id = |image| match view.column(image, view.key_columns.first()?) {
            Known::Value(id) => Some(id),
            Known::Null | Known::Unknown => None,
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
            out.push((key, Renewed::Value(None, contract.tags_for(&row))));
        }
        if let Some(id) = new
            && let Ok(key) = contract.key(id)
        {
            let renewed = match (self.json(&view), tags(contract, &view)) {
                (Some(json), Some(tags)) => Renewed::Value(Some(json), tags),
                _ => Renewed::Unknown,
            };
            out.push((key, renewed));
        }
        out
    }

    /// As PostgreSQL's `row_to_json` writes it. `None`: the log does not tell a column or what its
    /// text means, or tells it in a form that it should not have.
    fn json(&self, view: &View<'_>) -> Option<String> {
        let mut json = String::from("{");
        let form = |column: &str| {
            let forms = view.change.forms.iter();
            forms.into_iter().find(|(name, _)| name == column).map(|(_, form)| *form)
        };
        for (at, (name, column)) in self.fields.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            json.push_str(&quoted(name));
            json.push(':');
            match view.column(Image::New, column) {
                Known::Unknown => return None,
                Known::Null => json.push_str("null"),
                // Not the column's bytes: they were not UTF-8.
                Known::Value(text) if text.contains(char::REPLACEMENT_CHARACTER) => return None,
                Known::Value(text) => match form(column)? {
                    JsonForm::Text => json.push_str(&quoted(text)),
                    JsonForm::Number if is_number(text) => json.push_str(text),
                    JsonForm::Number => json.push_str(&quoted(text)),
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

/// The entry's tags. `None`: a column that names or tags it is not told.
fn tags(contract: &Contract, view: &View<'_>) -> Option<Vec<Tag>> {
    let new = |column: &str| view.column(Image::New, column);
    let told = contract.load_columns().into_iter().all(|column| new(column) != Known::Unknown);
    told.then(|| {
        contract.tags_of(|column| match new(column) {
            Known::Value(text) => Some(text),
            Known::Null | Known::Unknown => None,
        })
    })
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text always has a JSON form")
}

/// A number of RFC 8259 §6, as far as databases write them: without an exponent.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole) && digits(part)
}

/// A word of a statement.
struct Word {
    text: String,
    /// Quoted, so that it is a name and never anything else.
    quoted: bool,
}

impl Word {
    fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }

    /// The word as the name of a column or table.
    fn name(&self) -> Option<String> {
        let first = self.text.chars().next()?;
        let plain = first.is_ascii_alphabetic() || first == '_';
        let plain = plain && !FUNCTIONS.contains(&self.text.as_str());
        (self.quoted || plain).then(|| self.text.clone())
    }
}

/// The words of a statement, names folded to lower case as PostgreSQL folds them. `None`: there is
/// something in it that this does not look through.
fn words(sql: &str) -> Option<Vec<Word>> {
    let (mut words, mut plain) = (Vec::new(), String::new());
    for piece in pieces(sql.trim_end().trim_end_matches(';')) {
        let word = match piece {
            Piece::Plain(text) => {
                plain.push_str(text);
                continue;
            }
            Piece::Comment(_) => None,
            Piece::Text(_) => return None,
            Piece::Name(name) => {
                let name = name.strip_prefix('"')?.strip_suffix('"')?;
                Some(Word { text: name.to_owned(), quoted: true })
            }
            Piece::Parameter(name) => Some(Word { text: name.to_owned(), quoted: false }),
        };
        plain_words(&std::mem::take(&mut plain), &mut words)?;
        words.extend(word);
    }
    plain_words(&plain, &mut words)?;
    Some(words)
}

fn plain_words(text: &str, words: &mut Vec<Word>) -> Option<()> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            ',' | '.' | '=' => 1,
            _ if is_part(first) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
            _ => return None,
        };
        words.push(Word { text: rest[..end].to_ascii_lowercase(), quoted: false });
        rest = rest[end..].trim_start();
    }
    Some(())
}

#[cfg(test)]
#[path = "projection_tests.rs"]
mod tests;
