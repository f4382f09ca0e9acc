//! From a committed row change to its effects: the keys and tags that it invalidates, and the values
//! that it renews.

pub(crate) mod affected;
pub(crate) mod change;
pub(crate) mod columns;
pub(crate) mod fingerprint;
pub(crate) mod page_evidence;
pub(crate) mod postgres_type;
pub(crate) mod projection;
pub(crate) mod relations;
pub(crate) mod row;
pub(crate) mod sql;
pub(crate) mod table;
pub(crate) mod text_form;
pub(crate) mod unique;
pub(crate) mod unwatched;
