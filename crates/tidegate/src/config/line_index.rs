//! The lines of keys in a TOML file, for error messages.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line of each key and list item, by its path: `data.product_price.tags[1]`.
#[derive(Debug, Default)]
pub(super) struct LineIndex(HashMap<String, usize>);

impl LineIndex {
    /// Indexes a file; one that can't be parsed has no lines.
    pub(super) fn new(text: &str) -> Self {
        let mut index = Self::default();
        if let Ok(root) = DeTable::parse(text) {
            index.add_table(text, "", root.get_ref());
        }
        index
    }

    /// Returns whether the file has the key at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// Returns the line of the key at `path`, or else of the nearest table around it that the file has.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    fn add_table(&mut self, text: &str, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", key.get_ref());
            self.0.insert(path.clone(), line_at(text, key.span().start));
            self.add_value(text, &path, value);
        }
    }

    fn add_value(&mut self, text: &str, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(text, path, table),
            DeValue::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    self.0.insert(path.clone(), line_at(text, item.span().start));
                    self.add_value(text, &path, item);
                }
            }
            _ => {}
        }
    }
}

/// Returns the number of the line at a byte offset, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tables_and_items_have_lines() {
        let text = "[listen]\ndata = \"x\"\n\n[[edge.route]]\npath = \"/\"\n[[edge.route]]\n\
                    stor = true\n[a]\nlist = [\n  1,\n  2,\n]\ninline = { b = 1 }\n";
        let index = LineIndex::new(text);
        for (path, line) in [
            ("listen", Some(1)),
            ("listen.data", Some(2)),
            ("listen.missing", Some(1)),
            ("edge.route[0].path", Some(5)),
            ("edge.route[1].stor", Some(7)),
            ("edge.route[1].path", Some(6)),
            ("a.list[1]", Some(11)),
            ("a.inline.b", Some(13)),
            ("upstream.url", None),
        ] {
            assert_eq!(index.line(path), line, "{path}");
        }
    }
}
