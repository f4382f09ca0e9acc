//! The columns of a table as the log describes them, and the rows that it writes with them.

use std::sync::Arc;

use contract::{JsonForm, JsonForms, Op, Row};

use super::catalog::same_column;
use super::parser::{Bytes, Column, Rows};
use super::row;

/// A table's columns in the log's order.
pub(super) struct TableLayout {
    pub(super) role: TableRole,
    columns: Vec<Column>,
    /// The names that each column has in rows: those by which the contracts need it.
    names: Vec<Vec<Arc<str>>>,
    /// The columns that every row has to have; `None`: the log does not name all of them.
    needed: Option<Vec<usize>>,
    /// How the columns are written in JSON.
    forms: JsonForms,
}

#[derive(Clone, Copy)]
pub(super) enum TableRole {
    /// The tracked table with this index.
    Tracked(usize),
    Requests,
}

impl TableLayout {
    /// `needed`: the columns that every row has to have; `renewed`: further ones, which rows may lack.
    pub(super) fn new(
        role: TableRole,
        columns: Vec<Column>,
        needed: &[Arc<str>],
        renewed: &[Arc<str>],
    ) -> Self {
        // Several contracts may write one column in several ways.
        let names_of = |column: &Column| -> Vec<Arc<str>> {
            let Some(name) = &column.name else { return Vec::new() };
            let wanted = needed.iter().chain(renewed).filter(|wanted| same_column(name, wanted));
            wanted.cloned().collect()
        };
        let names: Vec<Vec<Arc<str>>> = columns.iter().map(names_of).collect();
        let forms = columns.iter().zip(&names).flat_map(|(column, names)| {
            let form = row::json_form(column);
            names.iter().filter_map(move |name| Some((name.to_string(), form?)))
        });
        let forms: Vec<(String, JsonForm)> = forms.collect();
        let column_of = |needed: &Arc<str>| names.iter().position(|names| names.contains(needed));
        let needed = needed.iter().map(column_of).collect();
        Self { role, columns, names, needed, forms: forms.into() }
    }

    /// Returns how the columns are written in JSON.
    pub(super) fn forms(&self) -> JsonForms {
        Arc::clone(&self.forms)
    }

    /// Whether rows with these columns have all that are needed.
    pub(super) fn has_needed(&self, present: &[u8]) -> bool {
        let has = |at: &usize| row::bit(present, *at) == Some(true);
        self.needed.as_ref().is_some_and(|needed| needed.iter().all(has))
    }

    /// Parses a row before and after the change, as far as the kind of change has both.
    pub(super) fn images(
        &self,
        rows: &Rows<'_>,
        data: &mut Bytes<'_>,
    ) -> Option<(Option<Row>, Option<Row>)> {
        if rows.columns != self.columns.len() {
            return None;
        }
        let mut image = |present| row::parse(&self.columns, &self.names, present, data);
        let first = image(rows.first)?;
        Some(match rows.op {
            Op::Insert => (None, Some(first)),
            Op::Update => (Some(first), Some(image(rows.second)?)),
            Op::Delete | Op::Truncate => (Some(first), None),
        })
    }
}
