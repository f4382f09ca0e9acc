//! The keys of docs/configuration.md: for the schema, and for the test that compares them with those that the code
//! reads.

const PAGE: &str = include_str!("../../../../docs/configuration.md");

/// A key of the page.
pub(super) struct KeyRow {
    /// Its path, such as `edge.route[].path`.
    pub(super) key: String,
    pub(super) default: String,
    pub(super) meaning: String,
}

/// Returns the rows of the page's tables whose first cell is a key.
pub(super) fn rows() -> Vec<KeyRow> {
    let mut rows = Vec::new();
    let mut prefix = "";
    for line in PAGE.lines() {
        if line.starts_with("## ") {
            prefix = if line == "## `[[edge.route]]`" { "edge.route[]." } else { "" };
        }
        let Some(line) = line.strip_prefix("| `") else { continue };
        let mut cells = line.trim_end_matches(" |").splitn(3, " | ");
        let key = cells.next().and_then(|cell| cell.strip_suffix('`'));
        let Some(key) = key.filter(|key| !key.contains('`')) else { continue };
        let mut cell = || plain_text(cells.next().unwrap_or_default());
        rows.push(KeyRow { key: format!("{prefix}{key}"), default: cell(), meaning: cell() });
    }
    rows
}

/// A row of the table about reloads.
#[cfg(test)]
pub(super) struct ReloadRow {
    patterns: Vec<&'static str>,
    pub(super) needs_restart: bool,
}

#[cfg(test)]
impl ReloadRow {
    /// Returns whether a key, or the table that it is, is in the row.
    pub(super) fn has(&self, key: &str) -> bool {
        super::settings::is_among(key, &self.patterns)
            || super::settings::is_among(&format!("{key}.x"), &self.patterns)
    }
}

/// Returns the rows of the table about reloads.
#[cfg(test)]
pub(super) fn reload_table() -> Vec<ReloadRow> {
    let section = PAGE.split("\n## Reload\n").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = section.unwrap_or_default().lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter_map(|line| {
        let (keys, effect) = line.trim_matches(['|', ' ']).split_once(" | ")?;
        let patterns = keys.split('`').skip(1).step_by(2).collect();
        Some(ReloadRow { patterns, needs_restart: effect.starts_with("restart") })
    });
    rows.filter(|row| !row.patterns.is_empty()).collect()
}

/// Returns a text without the links and the code marks of Markdown.
pub(super) fn plain_text(markdown: &str) -> String {
    let (mut text, mut rest) = (String::new(), markdown);
    while let Some((before, after)) = rest.split_once("](") {
        let label = before.rfind('[').unwrap_or(before.len());
        text.push_str(&before[..label]);
        text.push_str(before.get(label + 1..).unwrap_or_default());
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text.replace('`', "").replace("\\|", "|")
}
