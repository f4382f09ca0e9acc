//! The schema of the virtual database: its tables, which alterations fill with other rows.

use std::collections::{BTreeMap, BTreeSet};

use feed::Schema;

use super::commits::Commit;
use super::contracts;
use super::database::Database;
use super::setup::KEYS;

/// Returns the schema that statements see now. Each alteration gives its table another digest.
pub(super) fn schema(db: &Database) -> Schema {
    let tables = (0..KEYS).map(contracts::table);
    let mut objects: BTreeMap<String, u64> = tables.map(|table| (table.to_owned(), 0)).collect();
    let is_seen = |commit: &Commit| commit.lost.is_none() && commit.visible.is_some();
    for (number, commit) in db.commits.iter().enumerate() {
        if commit.unlogged
            && is_seen(commit)
            && let Some((cell, _)) = commit.cells.first()
        {
            let digest = objects.entry(contracts::table(*cell).to_owned()).or_default();
            *digest = digest.wrapping_add(contract::fnv1a(number.to_le_bytes()));
        }
    }
    // Each table has the name of its contract.
    let dependents = objects.keys().map(|table| (table.clone(), [table.clone()].into())).collect();
    Schema::new(objects, dependents, BTreeSet::new())
}
