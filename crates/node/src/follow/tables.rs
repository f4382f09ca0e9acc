//! The tables and columns that contracts need from the log.

use std::collections::BTreeMap;

use contract::{Contract, Contracts, SqlDialect, replace_parameters, split_table_name};
use feed::{ScopedContract, ScopedTable, TableName, TrackedTable};

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
                key_columns: Vec::new(),
                old_columns: Vec::new(),
                every_column: false,
            };
            for mapping in contracts.mappings_of_table(source, table) {
                let contract = mapping.contract();
                add(&mut tracked.columns, &mapping.named_columns());
                add(&mut tracked.key_columns, &mapping.key_columns());
                add(&mut tracked.columns, &mapping.watched_columns());
                if let (true, Ok(value)) =
                    (renews && contract.renews(), contract.projection(SqlDialect::Postgres))
                {
                    add(&mut tracked.columns, &value.columns().collect::<Vec<_>>());
                }
                add(&mut tracked.old_columns, &mapping.named_columns());
                tracked.every_column |= mapping.counts_every_column();
            }
            tracked
        })
        .collect()
}

/// Returns the columns of each table of `source` that only renewed values are made of, in statements of `dialect`.
#[must_use]
pub fn renewed_columns(
    source: &str,
    contracts: &Contracts,
    dialect: SqlDialect,
) -> BTreeMap<String, Vec<String>> {
    let tracked = tracked_tables(source, contracts, false).into_iter();
    let renewed = tracked.map(|tracked| {
        let mut columns = Vec::new();
        for contract in contracts.of_table(source, &tracked.table) {
            if let (true, Ok(value)) = (contract.renews(), contract.projection(dialect)) {
                add(&mut columns, &value.columns().collect::<Vec<_>>());
            }
        }
        columns.retain(|column| !tracked.columns.contains(column));
        (tracked.table, columns)
    });
    renewed.collect()
}

/// Returns the contracts of `source` as far as their definitions are followed. `resolved` are the `configured`
/// contracts with the tables that their names mean; their statements are of `dialect`.
#[must_use]
pub fn scoped_contracts(
    source: &str,
    configured: &Contracts,
    resolved: &Contracts,
    dialect: SqlDialect,
) -> Vec<ScopedContract> {
    let of_source = resolved.iter().filter_map(|contract| {
        contract.from.as_ref().filter(|from| from.source == source)?;
        let spelled = configured.get(&contract.name).into_iter().flat_map(Contract::origins);
        let tables = contract.table_mappings().zip(spelled).map(|(mapping, spelled)| ScopedTable {
            name: TableName::parse(&mapping.origin().table),
            bare_name: match split_table_name(&spelled.table) {
                (None, table) => Some(table.into_owned()),
                (Some(_), _) => None,
            },
            watched: mapping.watched_columns().into_iter().map(str::to_owned).collect(),
        });
        let raising = resolved.raising_tags_of(contract).flat_map(Contract::origins);
        let raising = raising.filter(|from| from.source == source);
        let number = |value: &String| {
            let value = value.trim_end().trim_end_matches(';');
            // Which parameter is where makes no difference to the tables that the value reads.
            replace_parameters(value, dialect, |_| "$1".to_owned())
        };
        Some(ScopedContract {
            name: contract.name.clone(),
            tables: tables.collect(),
            raising: raising.map(|from| TableName::parse(&from.table)).collect(),
            value: contract.value.as_ref().map(|value| {
                let changes = contract.changes_at.as_ref();
                changes
                    .map_or_else(|| number(value), |changes| both(&number(value), &number(changes)))
            }),
            changes_by_clock: contract.changes_at.is_some(),
        })
    });
    of_source.collect()
}

/// Returns a statement that reads the columns of two. Line breaks end comments.
fn both(value: &str, changes: &str) -> String {
    format!(
        "select exists (select * from ({value}\n) x) v, exists (select * from ({changes}\n) x) c"
    )
}

/// Returns the columns of each table that keys and tags are made of.
#[must_use]
pub fn key_columns(source: &str, contracts: &Contracts) -> BTreeMap<TableName, Vec<String>> {
    let tables = contracts.tables(source).into_iter();
    tables
        .map(|table| {
            let mut columns = Vec::new();
            for mapping in contracts.mappings_of_table(source, table) {
                add(&mut columns, &mapping.named_columns());
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
