//! Columns that a value reads and its contract does not watch.

use thiserror::Error;

use crate::mapping::sql::{Piece, SqlDialect, pieces};

/// Columns of the contract's table that the statement of its value reads and `from.columns` leaves out: in its
/// conditions and expressions too.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "the value of contract `{contract}` reads `{}`, which `from.columns` leaves out: an update of it alone would \
     invalidate nothing, and the bound would claim that the old value is fresh",
    columns.join("`, `")
)]
pub struct UnwatchedColumns {
    /// The contract.
    pub contract: String,
    /// The columns.
    pub columns: Vec<String>,
}

impl UnwatchedColumns {
    /// The remedy, for display.
    pub const REMEDY: &str = "add it to `columns`, or remove `columns` so that every change counts";

    /// Returns the columns of `read` that are not `watched`; `None` if there are none, or if every column is watched,
    /// which an empty list means.
    pub fn find(contract: &str, watched: &[String], read: &[String]) -> Option<Self> {
        if watched.is_empty() {
            return None;
        }
        let columns: Vec<String> =
            read.iter().filter(|column| !watched.contains(column)).cloned().collect();
        (!columns.is_empty()).then(|| Self { contract: contract.to_owned(), columns })
    }
}

/// Words that may stand in a statement without being a column, although a column may have the name.
const KEYWORDS: [&str; 31] = [
    "and", "as", "asc", "between", "by", "case", "desc", "distinct", "else", "end", "false", "for",
    "from", "group", "having", "in", "interval", "is", "like", "limit", "mod", "not", "null",
    "offset", "or", "order", "select", "then", "true", "when", "where",
];

/// Returns the names that a statement on `table` may read as its columns, for databases that can't be asked. Output names
/// after `as`, and names of functions, are not among them. `None`: the statement reads another table or a view too, or is
/// too complicated to tell.
pub fn names_read(sql: &str, dialect: SqlDialect, table: &str) -> Option<Vec<String>> {
    let words = words(sql, dialect);
    let is = |at: usize, word: &str| matches!(words.get(at), Some(Word::Plain(text)) if text.eq_ignore_ascii_case(word));
    let count = |word: &str| (0..words.len()).filter(|at| is(*at, word)).count();
    if count("select") != 1
        || count("from") != 1
        || count("join") + count("straight_join") + count("with") > 0
    {
        return None;
    }
    let from = (0..words.len()).find(|at| is(*at, "from"))?;
    let end = (from + 1..words.len()).find(|at| is(*at, "where"))?;
    let sources = &words[from + 1..end];
    // `p`, or `shop.p`.
    let at = if sources.get(1) == Some(&Word::Sign('.')) { 2 } else { 0 };
    let Some(Word::Plain(name) | Word::Quoted(name)) = sources.get(at) else { return None };
    if !name.eq_ignore_ascii_case(table) || sources.contains(&Word::Sign(',')) {
        return None;
    }
    let mut names = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let name = match word {
            Word::Plain(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => continue,
            Word::Plain(text) if KEYWORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) => {
                continue;
            }
            Word::Plain(text) | Word::Quoted(text) => text,
            Word::Sign(_) => continue,
        };
        let follows = |sign: char| words.get(at + 1) == Some(&Word::Sign(sign));
        let is_output = at > 0 && is(at - 1, "as");
        let is_table = (from..end).contains(&at);
        if !(is_output || is_table || follows('(') || follows('.')) {
            names.push(name.clone());
        }
    }
    Some(names)
}

/// A word of a statement, without comments. Texts and parameters are the sign `'`.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Word {
    Plain(String),
    Quoted(String),
    Sign(char),
}

pub(super) fn words(sql: &str, dialect: SqlDialect) -> Vec<Word> {
    let mut words = Vec::new();
    // Plain text comes in single characters.
    let mut is_open = false;
    for piece in pieces(sql, dialect) {
        let was_open = std::mem::take(&mut is_open);
        match piece {
            Piece::Plain(text) => {
                for c in text.chars() {
                    let is_letter = c.is_alphanumeric() || c == '_' || c == '$';
                    match words.last_mut() {
                        Some(Word::Plain(word)) if is_letter && (was_open || is_open) => {
                            word.push(c);
                        }
                        _ if is_letter => words.push(Word::Plain(c.to_string())),
                        _ if c.is_whitespace() => {}
                        _ => words.push(Word::Sign(c)),
                    }
                    is_open = is_letter;
                }
            }
            Piece::Name(name) => {
                let inner = name.get(1..name.len().saturating_sub(1)).unwrap_or_default();
                // A quote inside is doubled; brackets have no such form.
                let quote = name.get(..1).filter(|quote| *quote != "[").unwrap_or("\"");
                words.push(Word::Quoted(inner.replace(&quote.repeat(2), quote)));
            }
            Piece::Comment(_) | Piece::Text(_) | Piece::Parameter(_) => {
                words.push(Word::Sign('\''))
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_conditions_and_expressions_are_read() {
        let read = |sql: &str| names_read(sql, SqlDialect::mariadb(""), "p");
        for (sql, names) in [
            (
                "select cents * 100 / p.rate as price, left(name, 3) from shop.p where id = $id and not hidden",
                Some(vec!["cents", "rate", "name", "id", "hidden"]),
            ),
            (
                "select `Price Cents` as name from `p` where Id = $id",
                Some(vec!["Price Cents", "Id"]),
            ),
            ("select 'x hidden' as a, b -- hidden\n from p where id = $id", Some(vec!["b", "id"])),
            ("select a from view_of_p where id = $id", None),
            ("select a from p, q where p.id = $id", None),
            ("select a from p join q on p.id = q.id where p.id = $id", None),
            ("select a from p where id = $id and b in (select b from q)", None),
        ] {
            let names = names.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(read(sql), names, "{sql}");
        }
    }

    #[test]
    fn quoted_names_are_read() {
        let read = |sql, dialect| names_read(sql, dialect, "p").expect("one table");
        let names = read("select [Rate] from p where id = $id", SqlDialect::Sqlite);
        assert_eq!(names, ["Rate", "id"]);
        let names = read("select `a b` from p where p.`id` = $id", SqlDialect::mariadb(""));
        assert_eq!(names, ["a b", "id"]);
    }

    #[test]
    fn every_column_watched_without_a_list() {
        let all = ["a", "b"].map(str::to_owned);
        assert_eq!(UnwatchedColumns::find("price", &[], &all), None);
        assert_eq!(UnwatchedColumns::find("price", &all, &all), None);
        let missed = UnwatchedColumns::find("price", &all[..1], &all).expect("one is missed");
        assert_eq!(missed.columns, ["b"]);
        assert!(missed.to_string().contains("`price` reads `b`"), "{missed}");
    }
}
