//! Conversion of events into row changes, by the catalogue's description of the tables.

use std::sync::Arc;

use contract::{JsonForms, Op, Row, RowChange};
use database::mariadb::Connection;
use serde_json::{Map, Value};

use super::parser::RowEvent;
use super::value::ValueKind;
use crate::changes::whole_table;
use crate::debezium::{columns_of, schema_of};
use crate::error::FeedError;
use crate::mariadb::catalog::{self, same_column};
use crate::mariadb::options::MariaDbOptions;
use crate::table::{TableName, TrackedTable};

/// The tracked tables.
pub(super) struct Tables {
    source: Arc<str>,
    names: Vec<TableName>,
    /// In the order of `names`.
    tables: Vec<Table>,
}

struct Table {
    /// As the contracts write it.
    name: Arc<str>,
    columns: Vec<Column>,
}

struct Column {
    /// As the contracts write it.
    name: String,
    /// As events name it.
    logged_name: String,
    /// `None` for an unsupported type.
    kind: Option<ValueKind>,
    /// Whether a key or a tag uses it.
    in_keys_or_tags: bool,
}

impl Tables {
    /// Loads the tables' description from the catalogue. `database`: the one in the URL.
    pub(super) async fn load(
        connection: &Connection,
        options: &MariaDbOptions,
        database: &str,
    ) -> Result<Self, FeedError> {
        let (mut names, mut tables) = (Vec::new(), Vec::new());
        for tracked in &options.tables {
            let name = TableName::parse_in(&tracked.table, database);
            let missing =
                || FeedError::unavailable("reading the catalogue", format!("no table {name}"));
            let table = catalog::table(connection, &name).await?.ok_or_else(missing)?;
            let of = |needed: &String| column(&table.columns, tracked, needed);
            let columns = tracked.columns.iter().filter_map(of).collect();
            names.push(name);
            tables.push(Table { name: tracked.table.as_str().into(), columns });
        }
        Ok(Self { source: Arc::clone(&options.source), names, tables })
    }

    /// Returns the full names of the tables.
    pub(super) fn names(&self) -> &[TableName] {
        &self.names
    }

    /// Returns the change and whether its row was parsed; if not, the change is one of the whole
    /// table. Returns `None` for an untracked table.
    pub(super) fn change(&self, event: &RowEvent) -> Option<(RowChange, bool)> {
        let index = self.names.iter().position(|name| *name == event.table)?;
        let table = &self.tables[index];
        let Some((old, new)) = table.images(event) else {
            return Some((self.whole_table(index), false));
        };
        let (source, name) = (Arc::clone(&self.source), Arc::clone(&table.name));
        let forms = JsonForms::default();
        Some((RowChange { source, table: name, op: event.op, old, new, forms }, true))
    }

    /// Returns a change of a whole table.
    pub(super) fn whole_table(&self, index: usize) -> RowChange {
        whole_table(&self.source, Arc::clone(&self.tables[index].name))
    }

    /// Returns a change of every table.
    pub(super) fn all(&self) -> impl Iterator<Item = RowChange> {
        (0..self.tables.len()).map(|index| self.whole_table(index))
    }
}

fn column(columns: &[catalog::Column], tracked: &TrackedTable, needed: &String) -> Option<Column> {
    let found = columns.iter().find(|column| same_column(&column.name, needed))?;
    Some(Column {
        name: needed.clone(),
        logged_name: found.name.clone(),
        kind: ValueKind::of(&found.definition),
        in_keys_or_tags: tracked.old_columns.contains(needed),
    })
}

impl Table {
    fn images(&self, event: &RowEvent) -> Option<(Option<Row>, Option<Row>)> {
        let row = |row: &Option<Map<String, Value>>, side| self.row(row.as_ref()?, event, side);
        let before = || row(&event.before, "before");
        let after = || row(&event.after, "after");
        match event.op {
            Op::Insert => Some((None, Some(after()?))),
            Op::Update => Some((Some(before()?), Some(after()?))),
            Op::Delete => Some((Some(before()?), None)),
            Op::Truncate => None,
        }
    }

    fn row(&self, row: &Map<String, Value>, event: &RowEvent, side: &str) -> Option<Row> {
        let schemas = columns_of(event.schema.as_deref(), side);
        let mut cells = Row::new();
        for column in &self.columns {
            let schema = schemas.and_then(|fields| schema_of(fields, &column.logged_name));
            let value = row.get(&column.logged_name).zip(column.kind);
            match value.and_then(|(value, kind)| kind.cell(value, schema, event.of_mysql)) {
                Some(cell) => cells.push(column.name.as_str(), cell),
                None if column.in_keys_or_tags => return None,
                // For other columns an unknown value counts as changed.
                None => {}
            }
        }
        Some(cells)
    }
}
