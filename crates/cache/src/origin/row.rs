//! From a contract's rows to the result of a load.

use std::time::Duration;

use coherence::Lsn;
use contract::{Contract, Item, Row, Tag};

use super::error::OriginError;
use super::load::Loaded;
use crate::entry::Content;

/// The maximum number of rows of a contract's table whose tags an entry carries. A value with more is answered and not
/// stored.
pub(super) const MAX_ROWS: usize = 1_000;

/// Returns the name of the database that a contract is loaded from.
pub(super) fn source(contract: &Contract) -> &str {
    contract.from.as_ref().map_or("origin", |from| &from.source)
}

/// Returns whether the tags of an entry need columns beside those of its key, so that each of its rows counts.
pub(super) fn needs_each_row(contract: &Contract) -> bool {
    contract.load_columns().len() > contract.key_columns().len()
}

/// Returns the maximum number of rows that a load reads for the tags of its entry.
pub(super) fn row_limit(contract: &Contract) -> usize {
    if needs_each_row(contract) { MAX_ROWS + 1 } else { 1 }
}

/// Returns the tags that an entry has by its item, independent of its origin's answer.
#[must_use]
pub fn tags_of(contract: &Contract, item: &str) -> Vec<Tag> {
    contract.item(item).map(|item| contract.entry_tags(&item, &[])).unwrap_or_default()
}

/// Builds the result of a load. The tags come from the rows of the contract's table with the item's key.
///
/// # Errors
/// A row has another id than the one it was loaded by, so its changes would never reach the entry.
pub(super) fn loaded_rows(
    contract: &Contract,
    item: &Item<'_>,
    content: Content,
    rows: &[Row],
    seen: Option<Lsn>,
) -> Result<Loaded, OriginError> {
    if !rows.iter().all(|row| contract.item_matches_row(item, row)) {
        let Item { id, variants } = item;
        let values: Vec<&str> = variants.iter().map(|(_, value)| value.as_str()).collect();
        let or_variant = if values.is_empty() { "" } else { ", or another variant of " };
        return Err(OriginError::bad_request(format!(
            "contract {}: the row has another id than {id:?}{or_variant}{}",
            contract.name,
            values.join(", ")
        )));
    }
    // A row whose tags are left out would be changed without an effect on the entry.
    let (rows, ttl) = match rows.len() > MAX_ROWS {
        true => (&rows[..0], Some(Duration::ZERO)),
        false => (rows, None),
    };
    Ok(Loaded { tags: contract.entry_tags(item, rows), ttl, seen, ..Loaded::of(content) })
}
