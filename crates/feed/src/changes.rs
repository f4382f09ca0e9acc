//! The row changes of one transaction, bounded in number.

use std::collections::BTreeSet;
use std::sync::Arc;

use contract::{JsonForms, Op, RowChange};

/// Row changes up to a limit. Beyond it, only the changed tables are kept, so that memory stays
/// bounded.
#[derive(Default)]
pub(crate) struct BoundedChanges {
    rows: Vec<RowChange>,
    /// Tables that count as wholly changed. Non-empty if and only if the limit was exceeded.
    tables: BTreeSet<Arc<str>>,
}

impl BoundedChanges {
    /// Adds a change. Returns true if it is the one that exceeds `limit`.
    pub(crate) fn push(&mut self, change: RowChange, limit: usize) -> bool {
        if self.tables.is_empty() && self.rows.len() < limit {
            self.rows.push(change);
            return false;
        }
        let exceeds = self.tables.is_empty();
        let listed = std::mem::take(&mut self.rows);
        self.tables.extend(listed.into_iter().chain([change]).map(|change| change.table));
        exceeds
    }

    /// Returns the rows, or a change of each whole table if there were too many rows.
    pub(crate) fn into_changes(self, source: &Arc<str>) -> Vec<RowChange> {
        if self.tables.is_empty() {
            return self.rows;
        }
        self.tables.into_iter().map(|table| whole_table(source, table)).collect()
    }
}

/// Returns a change of every row of a table.
pub(crate) fn whole_table(source: &Arc<str>, table: impl Into<Arc<str>>) -> RowChange {
    RowChange {
        source: Arc::clone(source),
        table: table.into(),
        op: Op::Truncate,
        old: None,
        new: None,
        forms: JsonForms::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_rows_become_whole_tables() {
        let source: Arc<str> = "shop".into();
        let row = |table: &str| RowChange { op: Op::Insert, ..whole_table(&source, table) };
        let mut changes = BoundedChanges::default();
        let exceeds = ["a", "b", "a", "c"].map(|table| changes.push(row(table), 2));
        assert_eq!(exceeds, [false, false, true, false]);
        let expected = ["a", "b", "c"].map(|table| whole_table(&source, table));
        assert_eq!(changes.into_changes(&source), expected);
    }
}
