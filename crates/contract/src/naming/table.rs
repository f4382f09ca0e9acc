//! Names of tables in contracts: `products`, `shop.products`, `shop."daily.prices"`.

use std::borrow::Cow;

/// The schema of a name without one, on PostgreSQL.
const DEFAULT_SCHEMA: &str = "public";

/// Splits a table's name into its schema, if it names one, and the table.
///
/// Names are as in the catalogue: case-sensitive. A part in double quotes may contain dots, and `""` in it is
/// one quote.
#[must_use]
pub fn split_table_name(name: &str) -> (Option<Cow<'_, str>>, Cow<'_, str>) {
    match end_of_quoted(name) {
        Some(end) if end == name.len() => (None, part(name)),
        Some(end) if name[end..].starts_with('.') => {
            (Some(part(&name[..end])), part(&name[end + 1..]))
        }
        _ => match name.split_once('.') {
            Some((schema, table)) => (Some(Cow::Borrowed(schema)), part(table)),
            None => (None, Cow::Borrowed(name)),
        },
    }
}

/// Returns the one text of a table's name: parts are in double quotes only if they contain a dot or begin with
/// a quote.
#[must_use]
pub fn table_name(schema: Option<&str>, table: &str) -> String {
    match schema {
        Some(schema) => format!("{}.{}", written(schema), written(table)),
        None => written(table).into_owned(),
    }
}

/// Returns the name of a table without the default schema `public`.
pub(crate) fn without_default_schema(table: &str) -> &str {
    let rest = table.strip_prefix(DEFAULT_SCHEMA).and_then(|rest| rest.strip_prefix('.'));
    rest.unwrap_or(table)
}

fn written(part: &str) -> Cow<'_, str> {
    match part.contains('.') || part.starts_with('"') {
        true => Cow::Owned(format!("\"{}\"", part.replace('"', "\"\""))),
        false => Cow::Borrowed(part),
    }
}

fn part(text: &str) -> Cow<'_, str> {
    match end_of_quoted(text) {
        Some(end) if end == text.len() => Cow::Owned(text[1..end - 1].replace("\"\"", "\"")),
        _ => Cow::Borrowed(text),
    }
}

/// Returns the end of the quoted part at the start of `text`, if there is one.
fn end_of_quoted(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?;
    let mut at = 0;
    while let Some(quote) = inner[at..].find('"') {
        at += quote + 1;
        if !inner[at..].starts_with('"') {
            // Quotes around nothing are no name.
            return (at > 1).then_some(at + 1);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_parts_may_contain_dots() {
        for (text, schema, table) in [
            ("products", None, "products"),
            ("shop.products", Some("shop"), "products"),
            ("\"daily.prices\"", None, "daily.prices"),
            ("shop.\"daily.prices\"", Some("shop"), "daily.prices"),
            ("\"my.shop\".\"a\"\"b\"", Some("my.shop"), "a\"b"),
            ("\"my.shop\".products", Some("my.shop"), "products"),
            ("\"Products\"", None, "Products"),
            // Not closed, or quotes within: the text itself.
            ("\"x", None, "\"x"),
            ("my.\"x", Some("my"), "\"x"),
            ("a\"b", None, "a\"b"),
            ("\"\"", None, "\"\""),
            ("", None, ""),
        ] {
            let (found_schema, found_table) = split_table_name(text);
            assert_eq!((found_schema.as_deref(), &*found_table), (schema, table), "{text}");
        }
    }

    #[test]
    fn written_name_is_read_back() {
        for (schema, table) in [
            (None, "p"),
            (Some("public"), "a.b"),
            (Some("a.b"), "\"c"),
            (None, "\"\"\"."),
            (None, "."),
        ] {
            let name = table_name(schema, table);
            let (read_schema, read_table) = split_table_name(&name);
            assert_eq!((read_schema.as_deref(), &*read_table), (schema, table), "{name}");
        }
        assert_eq!(table_name(None, "products"), "products");
        assert_eq!(without_default_schema("public.\"a.b\""), "\"a.b\"");
        assert_eq!(without_default_schema("publicity"), "publicity");
    }
}
