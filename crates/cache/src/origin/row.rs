//! From a contract's row to the result of a load.

use std::time::Duration;

use coherence::Lsn;
use contract::{Cell, Contract, Row, Tag};

use super::error::OriginError;
use super::load::Loaded;
use crate::entry::Content;

/// Returns the name of the database that a contract is loaded from.
pub(super) fn source(contract: &Contract) -> &str {
    contract.from.as_ref().map_or("origin", |from| &from.source)
}

/// Returns the columns of a row that are known by its id alone.
pub(super) fn absent_row(contract: &Contract, id: &str) -> Row {
    let key = contract.from.as_ref().map(|from| from.key.clone()).unwrap_or_default();
    Row::from_iter([(key, Cell::Text(id.to_owned()))])
}

/// Returns the tags that an entry has by its id, independent of its origin's answer.
#[must_use]
pub fn tags_of(contract: &Contract, id: &str) -> Vec<Tag> {
    contract.tags_for(&absent_row(contract, id))
}

/// Builds the result of a load. The tags come from the row.
///
/// # Errors
/// The row has another id than the one it was loaded by, so its changes would never reach the entry.
pub(super) fn loaded_row(
    contract: &Contract,
    id: &str,
    content: Content,
    columns: &Row,
    seen: Option<Lsn>,
) -> Result<Loaded, OriginError> {
    if !contract.id_matches_row(id, columns) {
        return Err(OriginError::bad_request(format!(
            "contract {}: the row has another id than {id:?}",
            contract.name
        )));
    }
    Ok(Loaded {
        content,
        tags: contract.tags_for(columns),
        ttl: None,
        seen,
        replayed: None,
        log: None,
        behind: Duration::ZERO,
    })
}
