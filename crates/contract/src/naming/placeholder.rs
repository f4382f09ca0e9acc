//! Text with `{placeholders}`, the syntax that key templates and tag templates share.

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Fixed text.
    Literal(String),
    /// A placeholder.
    Placeholder {
        /// The name between the braces.
        name: String,
        /// `{name|hash}`: the value is always written as its hash.
        hash: bool,
    },
}

/// Splits `text` into literals and placeholders.
///
/// # Errors
/// A sentence that describes the first syntax error.
pub(crate) fn parse_parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        if rest.as_bytes()[open] == b'}' {
            return Err("a `}` has no `{` before it".to_owned());
        }
        if open > 0 {
            parts.push(Part::Literal(rest[..open].to_owned()));
        }
        let Some(length) = rest[open + 1..].find('}') else {
            return Err("a `{` is never closed".to_owned());
        };
        parts.push(parse_placeholder(&rest[open + 1..open + 1 + length])?);
        rest = &rest[open + length + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(parts)
}

/// Returns the column of `{row.column}`: the column of that name, also where the name alone means another value.
pub(crate) fn column_of_row(name: &str) -> Option<&str> {
    name.strip_prefix("row.")
}

fn parse_placeholder(inner: &str) -> Result<Part, String> {
    let (name, hash) = match inner.split_once('|') {
        None => (inner, false),
        Some((name, "hash")) => (name, true),
        Some((_, other)) => {
            return Err(format!("`|{other}` is unknown; the only filter is `|hash`"));
        }
    };
    let mut bytes = column_of_row(name).unwrap_or(name).bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(format!(
            "`{{{inner}}}` is not a placeholder: use letters, digits and `_`, and do not start with a \
             digit"
        ));
    }
    Ok(Part::Placeholder { name: name.to_owned(), hash })
}
