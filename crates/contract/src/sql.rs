//! The little that has to be known of SQL: where strings, comments and parameters are.

/// A stretch of a statement.
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
    /// Anything else, at least one character.
    Plain(&'a str),
}

impl<'a> Piece<'a> {
    /// The stretch as it stands.
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

/// A statement with its named parameters numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The statement with `$1`, `$2`, … in place of `$id` and the like.
    pub sql: String,
    /// The name of each parameter, in the order of its number.
    pub names: Vec<String>,
}

/// Numbers the named parameters of a value's statement, as PostgreSQL wants them: `where id = $id`
/// becomes `where id = $1`. Strings, comments and quoted names are left alone, and `$id_2` is not
/// taken for `$id`.
pub fn numbered(sql: &str) -> Numbered {
    let mut out = Numbered { sql: String::with_capacity(sql.len()), names: Vec::new() };
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

/// The statement with `literal` in place of each parameter, for databases that are asked so. Whether it
/// is safe there is the caller's affair.
pub fn filled(sql: &str, literal: &str) -> String {
    let piece = |piece: Piece<'_>| match piece {
        Piece::Parameter(_) => literal.to_owned(),
        other => other.as_str().to_owned(),
    };
    pieces(sql).map(piece).collect()
}

/// The statement in stretches that, put together, are the statement. Something that is never closed
/// reaches to the end.
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
            // A `$` inside a word is part of a name, as in `old$price`.
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

/// Where the block comment ends; PostgreSQL nests them.
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

/// Where the string ends. A doubled quote is taken as two strings side by side, which end in the
/// same place.
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

/// Whether the quote that follows opens `E'…'`, in which a backslash escapes.
fn is_escape_string(before: &str) -> bool {
    before.strip_suffix(['e', 'E']).is_some_and(|word| !word.ends_with(is_word))
}

/// A parameter, a dollar-quoted string, or a `$` that is neither.
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
    fn parameters_are_numbered_in_the_order_they_appear() {
        let sql = "select a from t where tenant = $tenant and (id = $id or old = $id)";
        let out = numbered(sql);
        assert_eq!(out.sql, "select a from t where tenant = $1 and (id = $2 or old = $2)");
        assert_eq!(out.names, ["tenant", "id"]);
    }

    #[test]
    fn what_only_looks_like_a_parameter_is_left_alone() {
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
            assert_eq!(numbered(sql), Numbered { sql: sql.to_owned(), names: vec![] }, "{sql}");
        }
        assert_eq!(
            filled("select '$id' where a = $1 -- $1", "(42)"),
            "select '$id' where a = (42) -- $1"
        );
        let near = numbered("where a = $id_2 and b = $id::int and c = $id");
        assert_eq!(near.sql, "where a = $1 and b = $2::int and c = $2");
        assert_eq!(near.names, ["id_2", "id"]);
    }
}
