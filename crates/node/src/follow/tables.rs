//! The tables and columns that contracts need from the log.

use std::collections::BTreeMap;

use contract::Contracts;
use feed::{TableName, TrackedTable};

/// Returns the tables of `source` that contracts refer to, each with every column that a contract needs: for
/// keys, for tags, to detect a change, and, if its log `renews` entries, for renewed values.
#[must_use]
pub fn tracked_tables(source: &str, contracts: &Contracts, renews: bool) -> Vec<TrackedTable> {
    let tables = contracts.tables(source).into_iter();
    tables
        .map(|table| {
            let mut tracked = TrackedTable {
                table: table.to_owned(),
                columns: Vec::new(),
                old_columns: Vec::new(),
                every_column: false,
            };
            for contract in contracts.of_table(source, table) {
                add(&mut tracked.columns, &contract.key_columns());
                add(&mut tracked.columns, &contract.watched_columns());
                add(&mut tracked.columns, &contract.tag_columns());
                add(&mut tracked.columns, &contract.page_tag_columns());
                if let (true, Ok(value)) = (renews && contract.renews(), contract.projection()) {
                    add(&mut tracked.columns, &value.columns().collect::<Vec<_>>());
                }
                add(&mut tracked.old_columns, &contract.columns_outside_identity(&[]));
                tracked.every_column |= contract.counts_every_column();
            }
            tracked
        })
        .collect()
}

/// Returns the columns of each table that keys and tags are made of.
#[must_use]
pub fn key_columns(source: &str, contracts: &Contracts) -> BTreeMap<TableName, Vec<String>> {
    let tables = contracts.tables(source).into_iter();
    tables
        .map(|table| {
            let mut columns = Vec::new();
            for contract in contracts.of_table(source, table) {
                add(&mut columns, &contract.key_columns());
                add(&mut columns, &contract.tag_columns());
                add(&mut columns, &contract.page_tag_columns());
            }
            (TableName::parse(table), columns)
        })
        .collect()
}

fn add(to: &mut Vec<String>, columns: &[&str]) {
    for column in columns {
        if !to.iter().any(|known| known == column) {
            to.push((*column).to_owned());
        }
    }
}
