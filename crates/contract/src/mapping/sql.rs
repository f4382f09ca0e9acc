//! A minimal SQL lexer: strings, comments, quoted names and parameters.

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
pub fn number_parameters(sql: &str) -> NumberedStatement {
    let mut out = NumberedStatement { sql: String::with_capacity(sql.len()), names: Vec::new() };
    for piece in pieces(sql) {
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

/// Replaces each parameter of a statement by `literal`. The caller ensures that `literal` is a safe SQL
/// literal.
pub fn inline_parameters(sql: &str, literal: &str) -> String {
    let piece = |piece: Piece<'_>| match piece {
        Piece::Parameter(_) => literal.to_owned(),
        other => other.as_str().to_owned(),
    };
    pieces(sql).map(piece).collect()
}

/// Splits a statement into pieces; joined, they are the statement. A string, comment or name that is
/// never closed reaches to the end.
pub(crate) fn pieces(sql: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &sql[at..];
        let first = rest.chars().next()?;
        let before = &sql[..at];
        let piece = match first {
            '-' if rest.starts_with("--") => Piece::Comment(until(rest, rest.find('\n'))),
            '/' if rest.starts_with("/*") => Piece::Comment(until(rest, block_comment(rest))),
            '\'' => Piece::Text(until(rest, string(rest, is_escape_string(before)))),
            '"' => Piece::Name(until(rest, rest[1..].find('"').map(|end| end + 2))),
            // A `$` within a word is part of a name, as in `old$price`.
            '$' if !before.ends_with(is_word) => dollar(rest),
            _ => Piece::Plain(&rest[..first.len_utf8()]),
        };
        at += piece.as_str().len();
        Some(piece)
    })
}

fn until(rest: &str, end: Option<usize>) -> &str {
    &rest[..end.unwrap_or(rest.len())]
}

/// Returns the end of the block comment; in PostgreSQL, block comments nest.
fn block_comment(rest: &str) -> Option<usize> {
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

/// Returns the end of the string. A doubled quote is lexed as two adjacent strings, which end at the
/// same position.
fn string(rest: &str, escapes: bool) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if escapes && byte == b'\\' {
            escaped = true;
        } else if byte == b'\'' {
            return Some(at + 1);
        }
    }
    None
}

/// Returns whether the quote after `before` opens `E'…'`, in which a backslash escapes.
fn is_escape_string(before: &str) -> bool {
    before.strip_suffix(['e', 'E']).is_some_and(|word| !word.ends_with(is_word))
}

/// Returns a parameter, a dollar-quoted string, or a `$` that is neither.
fn dollar(rest: &str) -> Piece<'_> {
    let name_end = rest[1..].find(|c| !is_word(c)).map_or(rest.len(), |end| end + 1);
    let digits = rest[1..].starts_with(|c: char| c.is_ascii_digit());
    if !digits && rest[name_end..].starts_with('$') {
        let tag = &rest[..=name_end];
        let end = rest[tag.len()..].find(tag).map(|end| end + 2 * tag.len());
        return Piece::Text(until(rest, end));
    }
    if name_end == 1 { Piece::Plain(&rest[..1]) } else { Piece::Parameter(&rest[..name_end]) }
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
        let out = number_parameters(sql);
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
            assert_eq!(number_parameters(sql), unchanged, "{sql}");
        }
        assert_eq!(
            inline_parameters("select '$id' where a = $1 -- $1", "(42)"),
            "select '$id' where a = (42) -- $1"
        );
        let near = number_parameters("where a = $id_2 and b = $id::int and c = $id");
        assert_eq!(near.sql, "where a = $1 and b = $2::int and c = $2");
        assert_eq!(near.names, ["id_2", "id"]);
    }
}
