//! The unique constraints of a table: two rows that agree in one of them can't both exist.

use database::quoting::identifier;
use rusqlite::Connection;

use super::catalog::Table;

/// The names of a row's number. A column may have one of them.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// A unique constraint, by all of its terms.
pub(super) type UniqueSet = Vec<Term>;

/// A column or expression of a unique constraint.
pub(super) struct Term {
    value: TermValue,
    /// The collation by which two values are equal.
    collation: Option<String>,
}

enum TermValue {
    Column(String),
    /// An expression, and the columns that it may read.
    Expression {
        sql: String,
        columns: Vec<String>,
    },
}

/// A unique index with an expression that could not be read from its definition.
pub(super) struct UnreadableIndex(pub(super) String);

/// Returns the unique constraints of a table.
pub(super) fn unique_sets(
    connection: &Connection,
    name: &str,
    table: &Table,
) -> rusqlite::Result<Result<Vec<UniqueSet>, UnreadableIndex>> {
    let mut sets: Vec<UniqueSet> = Vec::new();
    let taken = |rowid: &&str| table.columns.iter().any(|name| name.eq_ignore_ascii_case(rowid));
    if table.has_rowid
        && let Some(rowid) = ROWID_NAMES.into_iter().find(|rowid| !taken(rowid))
    {
        sets.push(vec![Term { value: TermValue::Column(rowid.to_owned()), collation: None }]);
    }
    let indexes: Vec<(String, Option<String>)> = connection
        .prepare(
            "select l.name, m.sql from pragma_index_list(?1) l \
             left join sqlite_master m on m.type = 'index' and m.name = l.name \
             where l.\"unique\"",
        )?
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (index, definition) in indexes {
        let parts: Vec<(Option<String>, String)> = connection
            .prepare("select name, coll from pragma_index_xinfo(?1) where key order by seqno")?
            .query_map([&index], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let texts = definition.as_deref().and_then(terms_of).unwrap_or_default();
        let complete = texts.len() == parts.len();
        let term = |(at, (column, collation)): (usize, (Option<String>, String))| {
            let value = match column {
                Some(column) => TermValue::Column(column),
                None if complete => expression(texts[at], &table.columns),
                None => return None,
            };
            Some(Term { value, collation: Some(collation) })
        };
        match parts.into_iter().enumerate().map(term).collect::<Option<UniqueSet>>() {
            Some(set) => sets.push(set),
            None => return Ok(Err(UnreadableIndex(index))),
        }
    }
    Ok(Ok(sets))
}

fn expression(sql: &str, columns: &[String]) -> TermValue {
    let lower = sql.to_lowercase();
    let columns = columns.iter().filter(|column| lower.contains(&column.to_lowercase()));
    TermValue::Expression { sql: sql.to_owned(), columns: columns.cloned().collect() }
}

impl Term {
    /// Returns the condition that the row `victim` of the table has the same value as `row`, `NEW` or `OLD`.
    pub(super) fn conflicts_with(&self, row: &str) -> String {
        let victim = match &self.value {
            TermValue::Column(column) => format!("victim.{}", identifier(column)),
            // Its columns are those of the only table of the query.
            TermValue::Expression { sql, .. } => format!("({sql})"),
        };
        format!("{victim} = {}{}", self.of(row), self.collate())
    }

    /// Returns the condition that an update changes the value.
    pub(super) fn changes(&self) -> String {
        format!("{} is not {}{}", self.of("OLD"), self.of("NEW"), self.collate())
    }

    fn of(&self, row: &str) -> String {
        match &self.value {
            TermValue::Column(column) => format!("{row}.{}", identifier(column)),
            TermValue::Expression { sql, columns } => {
                let columns: Vec<String> =
                    columns.iter().map(|c| format!("{row}.{0} as {0}", identifier(c))).collect();
                let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(", ") };
                format!("(select {sql} from (select {columns}))")
            }
        }
    }

    fn collate(&self) -> String {
        let collation = self.collation.as_deref().map(identifier);
        collation.map_or_else(String::new, |collation| format!(" collate {collation}"))
    }
}

/// Returns the texts of an index's terms from its definition, `create unique index i on t(a, lower(b) desc)`,
/// without the direction. `None`: the text has comments or another form.
fn terms_of(definition: &str) -> Option<Vec<&str>> {
    let mut terms = Vec::new();
    let (mut depth, mut start, mut quote) = (0_u32, 0, None);
    let mut before = ' ';
    for (at, c) in definition.char_indices() {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '-') if before == '-' => return None,
            (None, '*') if before == '/' => return None,
            (None, '(') => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            (None, ',') if depth == 1 => {
                terms.push(undirected(&definition[start..at]));
                start = at + 1;
            }
            (None, ')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    terms.push(undirected(&definition[start..at]));
                    return Some(terms);
                }
            }
            (None, _) => {}
        }
        before = c;
    }
    None
}

fn undirected(term: &str) -> &str {
    let term = term.trim();
    match term.rsplit_once(char::is_whitespace) {
        Some((rest, word)) if word.eq_ignore_ascii_case("asc") => rest.trim_end(),
        Some((rest, word)) if word.eq_ignore_ascii_case("desc") => rest.trim_end(),
        _ => term,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_definition() {
        for (definition, terms) in [
            ("create unique index i on t(lower(a), b DESC)", Some(vec!["lower(a)", "b"])),
            (
                "CREATE UNIQUE INDEX \"we(ird\" ON [t(] ( a collate nocase asc ) where a > 1",
                Some(vec!["a collate nocase"]),
            ),
            (
                "create unique index i on t(a || ',)' || \"b\"\"(\")",
                Some(vec!["a || ',)' || \"b\"\"(\""]),
            ),
            ("create unique index i on t(a -- why\n)", None),
            ("create unique index i on t(/* , */ a)", None),
            ("create unique index i on t(a", None),
        ] {
            assert_eq!(terms_of(definition), terms, "{definition}");
        }
    }
}
