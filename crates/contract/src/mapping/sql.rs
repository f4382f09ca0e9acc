//! A minimal SQL lexer: strings, comments, quoted names and parameters.

/// The database whose SQL a statement is written in, as far as it decides where strings and comments end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlDialect {
    /// PostgreSQL, with `standard_conforming_strings`.
    Postgres,
    /// MariaDB.
    MariaDb {
        /// Whether a backslash escapes in a string: `sql_mode` is without `NO_BACKSLASH_ESCAPES`.
        backslash_escapes: bool,
        /// Whether `"…"` is a name: `sql_mode` contains `ANSI_QUOTES`.
        ansi_quotes: bool,
    },
    /// SQLite.
    Sqlite,
}

impl SqlDialect {
    /// MariaDB's dialect under this value of `sql_mode`.
    pub fn mariadb(sql_mode: &str) -> Self {
        let has = |mode: &str| sql_mode.split(',').any(|other| other.eq_ignore_ascii_case(mode));
        Self::MariaDb {
            backslash_escapes: !has("NO_BACKSLASH_ESCAPES"),
            ansi_quotes: has("ANSI_QUOTES"),
        }
    }

    /// Whether names of columns that differ in case are one name.
    pub(crate) fn ignores_case_of_columns(self) -> bool {
        self != Self::Postgres
    }

    /// Returns the first dialect in which the statement takes a parameter, for a reader that does not know its
    /// database.
    pub(crate) fn of_statement(sql: &str) -> Self {
        let dialects = [Self::Postgres, Self::mariadb(""), Self::Sqlite];
        let takes_parameter =
            |dialect: &Self| pieces(sql, *dialect).any(|p| matches!(p, Piece::Parameter(_)));
        dialects.into_iter().find(takes_parameter).unwrap_or(Self::Postgres)
    }
}

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A comment.
    Comment(&'a str),
    /// A string, with its quotes.
    Text(&'a str),
    /// A quoted name, with its quotes.
    Name(&'a str),
    /// `$name` or `$1`, with the `$`.
    Parameter(&'a str),
    /// Any other character.
    Plain(&'a str),
}

impl<'a> Piece<'a> {
    /// Returns the piece's text.
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Piece::Comment(text)
            | Piece::Text(text)
            | Piece::Name(text)
            | Piece::Parameter(text)
            | Piece::Plain(text) => text,
        }
    }
}

/// A statement with numbered parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedStatement {
    /// The statement with `$1`, `$2`, … in place of named parameters such as `$id`.
    pub sql: String,
    /// The names of the parameters in the order of their numbers.
    pub names: Vec<String>,
}

/// Replaces the named parameters of a statement by numbered ones, which PostgreSQL requires: `where id
/// = $id` becomes `where id = $1`. Strings, comments and quoted names are unchanged, and `$id_2` is a
/// parameter other than `$id`.
pub fn number_parameters(sql: &str, dialect: SqlDialect) -> NumberedStatement {
    let mut out = NumberedStatement { sql: String::with_capacity(sql.len()), names: Vec::new() };
    for piece in pieces(sql, dialect) {
        let Piece::Parameter(parameter) = piece else {
            out.sql.push_str(piece.as_str());
            continue;
        };
        let name = &parameter[1..];
        let known = out.names.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            out.names.push(name.to_owned());
            out.names.len() - 1
        });
        out.sql.push_str(&format!("${}", at + 1));
    }
    out
}

/// Replaces each parameter of a statement; `replacement` gets its name, without the `$`. The caller ensures that the
/// replacements are safe SQL.
pub fn replace_parameters(
    sql: &str,
    dialect: SqlDialect,
    replacement: impl Fn(&str) -> String,
) -> String {
    let piece = |piece: Piece<'_>| match piece {
        Piece::Parameter(parameter) => replacement(&parameter[1..]),
        other => other.as_str().to_owned(),
    };
    pieces(sql, dialect).map(piece).collect()
}

/// Splits a statement into pieces; joined, they are the statement. A string, comment or name that is
/// never closed reaches to the end.
pub(crate) fn pieces(sql: &str, dialect: SqlDialect) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let piece = dialect.piece(&sql[..at], &sql[at..])?;
        at += piece.as_str().len();
        Some(piece)
    })
}

impl SqlDialect {
    /// Returns the first piece of `rest`, which follows `before`.
    fn piece<'a>(self, before: &str, rest: &'a str) -> Option<Piece<'a>> {
        let first = rest.chars().next()?;
        let closed = |c: char| rest[1..].find(c).map(|end| end + 2);
        Some(match first {
            '-' if self.is_line_comment(rest) => Piece::Comment(until(rest, rest.find('\n'))),
            '#' if self.is_mariadb() => Piece::Comment(until(rest, rest.find('\n'))),
            '/' if rest.starts_with("/*") && !self.is_executed(rest) => {
                Piece::Comment(until(rest, self.block_comment(rest)))
            }
            '\'' => Piece::Text(until(rest, string(rest, self.escapes(before)))),
            '"' if matches!(self, Self::MariaDb { ansi_quotes: false, .. }) => {
                Piece::Text(until(rest, string(rest, self.escapes(before))))
            }
            '"' => Piece::Name(until(rest, closed('"'))),
            '`' if self != Self::Postgres => Piece::Name(until(rest, closed('`'))),
            '[' if self == Self::Sqlite => Piece::Name(until(rest, closed(']'))),
            // A `$` within a word is part of a name, as in `old$price`.
            '$' if !before.ends_with(is_word) => self.dollar(rest),
            _ => Piece::Plain(&rest[..first.len_utf8()]),
        })
    }

    fn is_mariadb(self) -> bool {
        matches!(self, Self::MariaDb { .. })
    }

    /// Whether `--` begins a comment. In MariaDB it needs a space: `5--1` is six.
    fn is_line_comment(self, rest: &str) -> bool {
        let after = rest.strip_prefix("--").map(|after| after.chars().next());
        after.is_some_and(|next| {
            !self.is_mariadb() || next.is_none_or(|c| c.is_whitespace() || c.is_control())
        })
    }

    /// Whether MariaDB runs the content of the comment.
    fn is_executed(self, rest: &str) -> bool {
        self.is_mariadb() && (rest.starts_with("/*!") || rest.starts_with("/*M!"))
    }

    /// Returns the end of the block comment; in PostgreSQL, block comments nest.
    fn block_comment(self, rest: &str) -> Option<usize> {
        if self != Self::Postgres {
            return rest[2..].find("*/").map(|end| end + 4);
        }
        let mut depth = 0;
        let mut at = 0;
        while at < rest.len() {
            let bytes = &rest.as_bytes()[at..];
            let step = match bytes {
                [b'/', b'*', ..] => {
                    depth += 1;
                    2
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    2
                }
                _ => 1,
            };
            at += step;
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }

    /// Whether a backslash escapes in the string after `before`.
    fn escapes(self, before: &str) -> bool {
        match self {
            Self::Postgres => is_escape_string(before),
            Self::MariaDb { backslash_escapes, .. } => backslash_escapes,
            Self::Sqlite => false,
        }
    }

    /// Returns a parameter, a dollar-quoted string of PostgreSQL, or a `$` that is neither.
    fn dollar(self, rest: &str) -> Piece<'_> {
        let name_end = rest[1..].find(|c| !is_word(c)).map_or(rest.len(), |end| end + 1);
        let digits = rest[1..].starts_with(|c: char| c.is_ascii_digit());
        if self == Self::Postgres && !digits && rest[name_end..].starts_with('$') {
            let tag = &rest[..=name_end];
            let end = rest[tag.len()..].find(tag).map(|end| end + 2 * tag.len());
            return Piece::Text(until(rest, end));
        }
        if name_end == 1 { Piece::Plain(&rest[..1]) } else { Piece::Parameter(&rest[..name_end]) }
    }
}

fn until(rest: &str, end: Option<usize>) -> &str {
    &rest[..end.unwrap_or(rest.len())]
}

/// Returns the end of the string. A doubled quote is lexed as two adjacent strings, which end at the
/// same position.
fn string(rest: &str, escapes: bool) -> Option<usize> {
    let quote = rest.as_bytes()[0];
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if escapes && byte == b'\\' {
            escaped = true;
        } else if byte == quote {
            return Some(at + 1);
        }
    }
    None
}

/// Returns whether the quote after `before` opens `E'…'`, in which a backslash escapes.
fn is_escape_string(before: &str) -> bool {
    before.strip_suffix(['e', 'E']).is_some_and(|word| !word.ends_with(is_word))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_numbered_by_appearance() {
        let sql = "select a from t where tenant = $tenant and (id = $id or old = $id)";
        let out = number_parameters(sql, SqlDialect::Postgres);
        assert_eq!(out.sql, "select a from t where tenant = $1 and (id = $2 or old = $2)");
        assert_eq!(out.names, ["tenant", "id"]);
    }

    #[test]
    fn dollar_outside_parameters_unchanged() {
        for sql in [
            "select '$id', 'it''s $id' from t",
            "select E'\\'$id' from t",
            "select \"$id\" from t",
            "select a -- $id",
            "select a /* $id /* $id */ $id */ from t",
            "select $$ $id $$, $x$ $id $$ $x$ from t",
            "select old$id from t",
            "select $",
            "select 'never closed $id",
        ] {
            let unchanged = NumberedStatement { sql: sql.to_owned(), names: vec![] };
            assert_eq!(number_parameters(sql, SqlDialect::Postgres), unchanged, "{sql}");
        }
        assert_eq!(
            replace_parameters("select '$id' where a = $1 -- $1", SqlDialect::Postgres, |name| {
                format!("({name})")
            }),
            "select '$id' where a = (1) -- $1"
        );
        let near = "where a = $id_2 and b = $id::int and c = $id";
        let near = number_parameters(near, SqlDialect::Postgres);
        assert_eq!(near.sql, "where a = $1 and b = $2::int and c = $2");
        assert_eq!(near.names, ["id_2", "id"]);
    }

    #[test]
    fn string_and_comment_end_as_in_dialect() {
        let parameters = |sql, dialect| number_parameters(sql, dialect).names.len();
        let mariadb = SqlDialect::mariadb("STRICT_TRANS_TABLES");
        for (sql, count) in [
            (r"select 'it\'s $id' where id = $id", 1),
            (r#"select "it\"s $id" where id = $id"#, 1),
            ("select 1 # it's $id\n from t where id = $id", 1),
            ("select n--1 from t where id = $id", 1),
            ("select n -- $id", 0),
            ("select n --", 0),
            ("select `it's $id` from t where id = $id", 1),
            ("select /*! straight_join */ a from t /*!50003 where id = $id */", 1),
            ("select /*M!100000 $id */ 1", 1),
            ("select /* $id /* */ $id", 1),
            ("select $$ $id", 1),
        ] {
            assert_eq!(parameters(sql, mariadb), count, "{sql}");
        }
        let strict = SqlDialect::mariadb("ANSI_QUOTES,NO_BACKSLASH_ESCAPES");
        assert_eq!(parameters(r"select '50\' where id = $id and '\'", strict), 1);
        assert_eq!(parameters(r#"select "a\" from t where id = $id"#, strict), 1);
        for (sql, count) in [
            (r"select '50\' from t where id = $id", 1),
            ("select [it's $id] from t where id = $id", 1),
            ("select `it's $id` from t where id = $id", 1),
            ("select n--1, $id", 0),
            ("select /* /* $id */ $id", 1),
        ] {
            assert_eq!(parameters(sql, SqlDialect::Sqlite), count, "{sql}");
        }
    }

    #[test]
    fn unknown_dialect_is_the_one_with_a_parameter() {
        for (sql, dialect) in [
            ("select a from t where id = $id", SqlDialect::Postgres),
            ("select 1", SqlDialect::Postgres),
            ("select n--1 from t where id = $id", SqlDialect::mariadb("")),
            (r"select 'it\'s' from t where id = $id", SqlDialect::mariadb("")),
            ("select [it's] from t where id = $id", SqlDialect::Sqlite),
        ] {
            assert_eq!(SqlDialect::of_statement(sql), dialect, "{sql}");
        }
    }
}
