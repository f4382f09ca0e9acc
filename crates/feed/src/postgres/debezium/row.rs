//! From events to row changes, with what the catalogue says about the tables.

use std::collections::HashMap;
use std::sync::Arc;

use contract::{Forms, Op, Row, RowChange};
use serde_json::{Map, Value};

use super::options::DebeziumOptions;
use super::told::RowEvent;
use super::value::Kind;
use crate::error::FeedError;
use crate::postgres::catalog;
use crate::postgres::server::Control;
use crate::tracked::TableName;

/// The tracked tables.
pub(super) struct Tables {
    source: Arc<str>,
    tables: HashMap<TableName, Table>,
}

struct Table {
    columns: Vec<Column>,
    forms: Forms,
}

struct Column {
    name: String,
    /// `None`: its values are not understood.
    kind: Option<Kind>,
    /// Whether the value before a change is told; where it is not, Debezium writes a null or a default.
    identity: bool,
    /// Whether a key or a tag is made of it.
    named: bool,
}

impl Tables {
    /// Asks the catalogue.
    pub(super) async fn ask(
        control: &Control,
        options: &DebeziumOptions,
    ) -> Result<Self, FeedError> {
        let mut tables = HashMap::new();
        for tracked in &options.tables {
            let name = TableName::parse(&tracked.table);
            let gone =
                || FeedError::unavailable("reading the catalogue", format!("no table {name}"));
            let table = catalog::table(control, &name).await?.ok_or_else(gone)?;
            let types = catalog::types(control, &name).await?;
            let named = options.named.get(&name);
            let columns: Vec<Column> = tracked
                .columns
                .iter()
                .map(|column| Column {
                    kind: types.get(column).and_then(|(oid, category)| Kind::of(*oid, category)),
                    identity: table.identity.contains(column),
                    named: named.is_some_and(|named| named.contains(column)),
                    name: column.clone(),
                })
                .collect();
            let form = |column: &Column| Some((column.name.clone(), column.kind?.form()?));
            let forms = columns.iter().filter_map(form).collect();
            tables.insert(name, Table { columns, forms });
        }
        Ok(Self { source: Arc::clone(&options.source), tables })
    }

    /// What has changed; `None` for a table that nobody tracks. Whether it could be read: if not, everything
    /// in the table counts as changed.
    pub(super) fn change(&self, event: &RowEvent) -> Option<(RowChange, bool)> {
        let table = self.tables.get(&event.table)?;
        let (source, name) = (Arc::clone(&self.source), event.table.to_string().into());
        let read = table.read(event);
        let readable = read.is_some() || event.op == Op::Truncate;
        let (op, old, new) = read.unwrap_or((Op::Truncate, None, None));
        let forms = Arc::clone(&table.forms);
        Some((RowChange { source, table: name, op, old, new, forms }, readable))
    }
}

impl Table {
    fn read(&self, event: &RowEvent) -> Option<(Op, Option<Row>, Option<Row>)> {
        let row = |row: &Option<Map<String, Value>>, side, whole| match row {
            None => Some(None),
            Some(row) => self.row(row, columns_of(event.schema.as_deref(), side), whole).map(Some),
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

    /// `whole`: every column is told, not only those of the replica identity.
    fn row(
        &self,
        row: &Map<String, Value>,
        schema: Option<&Vec<Value>>,
        whole: bool,
    ) -> Option<Row> {
        let mut read = Row::new();
        for column in self.columns.iter().filter(|column| whole || column.identity) {
            let of_column =
                |field: &&Value| field.get("field").and_then(Value::as_str) == Some(&column.name);
            let schema = schema.and_then(|fields| fields.iter().find(of_column));
            let value = row.get(&column.name);
            match value.zip(column.kind).and_then(|(value, kind)| kind.cell(value, schema)) {
                Some(cell) => read.push(column.name.as_str(), cell),
                None if column.named => return None,
                // Of one that is only looked at, not knowing it counts as a change.
                None => {}
            }
        }
        Some(read)
    }
}

/// The schemas of a row's columns.
fn columns_of<'a>(schema: Option<&'a Value>, side: &str) -> Option<&'a Vec<Value>> {
    let fields = schema?.get("fields")?.as_array()?;
    let of_side = |field: &&Value| field.get("field").and_then(Value::as_str) == Some(side);
    fields.iter().find(of_side)?.get("fields")?.as_array()
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
