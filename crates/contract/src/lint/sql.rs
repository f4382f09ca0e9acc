//! A heuristic outline of a SQL statement: enough for warnings, not a parser.

use crate::mapping::sql::{Piece, SqlDialect, pieces};

/// The features of a statement that are known without parsing it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// The statement in lower case, without the content of comments, strings and quotes.
    text: String,
    /// The names of `$name` and `$1` parameters, each once.
    pub(super) parameters: Vec<String>,
    /// The names after FROM and JOIN, without those of common table expressions.
    pub(super) tables: Vec<String>,
    /// The plain columns of the outermost select list, without their table; `*` for all.
    pub(super) selected: Vec<String>,
    /// The names that are compared with a parameter, `name = $parameter` or the other way round.
    comparisons: Vec<(String, String)>,
    /// Whether it contains a `;`.
    pub(super) has_semicolon: bool,
}

impl Outline {
    pub(super) fn of(sql: &str) -> Self {
        let mut outline = Self::default();
        outline.scan(sql);
        outline.has_semicolon = outline.text.contains(';');
        outline.tables = outline.find_tables();
        outline.selected = outline.find_selected();
        outline
    }

    /// Returns the words of the statement in lower case. A qualified name is one word.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty())
    }

    /// Returns whether it starts like a query and has no word that writes.
    pub(super) fn is_query(&self) -> bool {
        let starts = matches!(self.words().next(), Some("select" | "with" | "values"));
        let writes = |word| matches!(word, "insert" | "update" | "delete" | "merge" | "into");
        starts && !self.words().any(writes)
    }

    /// Returns whether it has the condition that `column`, of whichever table, equals the parameter, and no `or`,
    /// with which the condition might not decide.
    pub(super) fn selects_by(&self, column: &str, parameter: &str) -> bool {
        let column = column.to_lowercase();
        let is_decided = !self.words().any(|word| word == "or");
        let mut comparisons = self.comparisons.iter();
        is_decided
            && comparisons.any(|(name, value)| {
                value == parameter && name.rsplit('.').next() == Some(column.as_str())
            })
    }

    fn scan(&mut self, sql: &str) {
        for piece in pieces(sql, SqlDialect::of_statement(sql)) {
            match piece {
                Piece::Plain(text) => self.text.push_str(&text.to_lowercase()),
                // A quoted name stays: it may be a table.
                Piece::Name(name) => {
                    let name = name.trim_matches(['"', '`', '[', ']']);
                    self.text.push_str(&name.to_lowercase());
                }
                // A separator keeps the words around a comment, string or parameter apart.
                Piece::Comment(_) => self.text.push(' '),
                Piece::Text(_) => self.text.push('\''),
                Piece::Parameter(parameter) => {
                    let name = &parameter[1..];
                    if let Some(column) = compared_name(&self.text) {
                        self.comparisons.push((column.to_owned(), name.to_owned()));
                    }
                    self.text.push('\'');
                    if !self.parameters.iter().any(|known| known == name) {
                        self.parameters.push(name.to_owned());
                    }
                }
            }
        }
    }

    fn find_selected(&self) -> Vec<String> {
        let Some(list) = self.text.trim_start().strip_prefix("select") else { return Vec::new() };
        let mut items = Vec::new();
        let mut item = String::new();
        let mut depth = 0_u32;
        for c in list.chars().chain([',']) {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => items.push(std::mem::take(&mut item)),
                c if depth == 0 && c.is_whitespace() && item.ends_with(" from") => {
                    item.truncate(item.len() - " from".len());
                    items.push(item);
                    break;
                }
                _ => {}
            }
            if c.is_whitespace() {
                item.push(' ');
            } else if c != ',' {
                item.push(c);
            }
        }
        items.iter().filter_map(|item| plain_column(item)).map(str::to_owned).collect()
    }

    fn find_tables(&self) -> Vec<String> {
        let mut tables: Vec<String> = Vec::new();
        let mut expressions: Vec<&str> = Vec::new();
        let words: Vec<&str> = self.words().collect();
        let has_cte = words.first() == Some(&"with");
        for (at, pair) in words.windows(2).enumerate() {
            match *pair {
                [name, "as"] if has_cte => expressions.push(name),
                ["from" | "join", name] if names_table(&words[..at], name) => {
                    tables.push(name.to_owned());
                }
                _ => {}
            }
        }
        tables.sort_unstable();
        tables.dedup();
        tables.retain(|table| !expressions.contains(&table.as_str()));
        tables
    }
}

/// Returns the name that `text` compares with the text after it: `a.b =`, `a.b::text =`.
fn compared_name(text: &str) -> Option<&str> {
    let text = text.trim_end().strip_suffix('=')?.trim_end();
    let text = match text.rsplit_once("::") {
        Some((text, cast)) if cast.chars().all(is_word) => text,
        _ => text,
    };
    let start = text.char_indices().rfind(|(_, c)| !is_word(*c));
    let start = start.map_or(0, |(at, c)| at + c.len_utf8());
    text.get(start..).filter(|name| !name.is_empty())
}

/// Returns the column of a select item: `a`, `t.a`, `a as b`, `t.*`. `None` for an expression.
fn plain_column(item: &str) -> Option<&str> {
    let words: Vec<&str> = item.split_whitespace().collect();
    let ([name] | [name, _] | [name, "as", _]) = words.as_slice() else { return None };
    let column = name.rsplit('.').next()?;
    let starts = column.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let plain = column == "*" || (starts && column.chars().all(is_word));
    (plain && !matches!(column, "distinct" | "all" | "null" | "true" | "false")).then_some(column)
}

/// Returns whether `name`, after FROM or JOIN, is a table: not a subquery, and not after the FROM of
/// `extract(year from …)` or `is distinct from …`.
fn names_table(before: &[&str], name: &str) -> bool {
    let near = &before[before.len().saturating_sub(3)..];
    let functions = ["extract", "substring", "trim", "overlay"];
    !matches!(name, "select" | "lateral" | "unnest")
        && before.last() != Some(&"distinct")
        && !near.iter().any(|word| functions.contains(word))
}

/// Returns whether the result of the function `word` changes without a commit, and not by the clock.
pub(super) fn is_volatile(word: &str) -> bool {
    matches!(word, "random" | "rand" | "gen_random_uuid" | "uuid" | "current_user" | "session_user")
}

/// Returns the name by which the statement reads the clock, if it does: a function, or SQLite's `date('now')`.
pub(super) fn clock_in(sql: &str, outline: &Outline) -> Option<String> {
    let function = outline.words().find(|word| reads_clock(word)).map(str::to_owned);
    let is_now =
        |piece: Piece<'_>| matches!(piece, Piece::Text(text) if text.eq_ignore_ascii_case("'now'"));
    let text = || pieces(sql, SqlDialect::of_statement(sql)).any(is_now);
    function.or_else(|| text().then(|| "'now'".to_owned()))
}

/// Returns whether the function `word` reads the clock.
fn reads_clock(word: &str) -> bool {
    matches!(
        word,
        "now"
            | "clock_timestamp"
            | "statement_timestamp"
            | "transaction_timestamp"
            | "current_timestamp"
            | "current_date"
            | "current_time"
            | "localtime"
            | "localtimestamp"
            | "sysdate"
            | "curdate"
            | "curtime"
            | "utc_date"
            | "utc_time"
            | "utc_timestamp"
    )
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}
