//! Conversion of events into row changes, by the catalogue's description of the tables.

use std::collections::HashMap;
use std::sync::Arc;

use contract::{JsonForm, JsonForms, Op, Row, RowChange};
use database::postgres::{ColumnType, Connection};
use serde_json::{Map, Value};

use super::options::DebeziumOptions;
use super::parser::RowEvent;
use super::value::ValueKind;
use crate::debezium::{columns_of, schema_of};
use crate::error::FeedError;
use crate::postgres::catalog;
use crate::table::TableName;

/// The tracked tables.
pub(super) struct Tables {
    source: Arc<str>,
    tables: HashMap<TableName, Table>,
}

struct Table {
    columns: Vec<Column>,
    forms: JsonForms,
}

struct Column {
    name: String,
    /// `None` for an unsupported type.
    kind: Option<ValueKind>,
    /// Whether an event contains the value before a change; for other columns Debezium writes null
    /// or a default there.
    identity: bool,
    /// Whether a key or a tag uses it.
    in_keys_or_tags: bool,
}

impl Tables {
    /// Loads the tables' description from the catalogue.
    pub(super) async fn load(
        connection: &Connection,
        options: &DebeziumOptions,
    ) -> Result<Self, FeedError> {
        let mut tables = HashMap::new();
        for tracked in &options.tables {
            let name = TableName::parse(&tracked.table);
            let missing =
                || FeedError::unavailable("reading the catalogue", format!("no table {name}"));
            let table = catalog::table(connection, &name).await?.ok_or_else(missing)?;
            let types = catalog::types(connection, &name, &tracked.columns).await?;
            let key_and_tag_columns = options.key_and_tag_columns.get(&name);
            let columns: Vec<Column> = tracked
                .columns
                .iter()
                .map(|column| Column {
                    kind: types.get(column).and_then(ValueKind::of),
                    identity: table.identity.contains(column),
                    in_keys_or_tags: key_and_tag_columns
                        .is_some_and(|columns| columns.contains(column)),
                    name: column.clone(),
                })
                .collect();
            // As in the log, where a domain has no known form.
            let plain = tracked.columns.iter().filter_map(|name| types.get(name));
            let plain = plain.filter(|column| !column.is_domain);
            let form = |column: &ColumnType| {
                Some((column.column.clone(), JsonForm::of_postgres_type(column.base)?))
            };
            let forms = plain.filter_map(form).collect();
            tables.insert(name, Table { columns, forms });
        }
        Ok(Self { source: Arc::clone(&options.source), tables })
    }

    /// Returns the change and whether its row was parsed; if not, the change is one of the whole
    /// table. Returns `None` for an untracked table.
    pub(super) fn change(&self, event: &RowEvent) -> Option<(RowChange, bool)> {
        let table = self.tables.get(&event.table)?;
        let (source, name) = (Arc::clone(&self.source), event.table.to_string().into());
        let images = table.images(event);
        let parsed = images.is_some() || event.op == Op::Truncate;
        let (op, old, new) = images.unwrap_or((Op::Truncate, None, None));
        let forms = Arc::clone(&table.forms);
        Some((RowChange { source, table: name, op, old, new, forms }, parsed))
    }
}

impl Table {
    fn images(&self, event: &RowEvent) -> Option<(Op, Option<Row>, Option<Row>)> {
        let row = |row: &Option<Map<String, Value>>, side, complete| match row {
            None => Some(None),
            Some(row) => {
                self.row(row, columns_of(event.schema.as_deref(), side), complete).map(Some)
            }
        };
        let (before, after) =
            (row(&event.before, "before", false)?, row(&event.after, "after", true)?);
        match event.op {
            Op::Insert => Some((Op::Insert, None, Some(after?))),
            Op::Update => Some((Op::Update, before, Some(after?))),
            Op::Delete => Some((Op::Delete, Some(before?), None)),
            Op::Truncate => None,
        }
    }

    /// `complete`: every column is present, not only those of the replica identity.
    fn row(
        &self,
        row: &Map<String, Value>,
        schema: Option<&Vec<Value>>,
        complete: bool,
    ) -> Option<Row> {
        let mut cells = Row::new();
        for column in self.columns.iter().filter(|column| complete || column.identity) {
            let schema = schema.and_then(|fields| schema_of(fields, &column.name));
            let value = row.get(&column.name);
            match value.zip(column.kind).and_then(|(value, kind)| kind.cell(value, schema)) {
                Some(cell) => cells.push(column.name.as_str(), cell),
                None if column.in_keys_or_tags => return None,
                // For other columns an unknown value counts as changed.
                None => {}
            }
        }
        Some(cells)
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
