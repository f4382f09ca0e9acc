//! The words of the configuration for the values of a contract's enums, for parser and printer.

use crate::model::contract::{Class, Sensitivity, Unproven};
use crate::naming::id::IdKind;

/// The words for [`Unproven`].
pub const UNPROVEN_WORDS: [(&str, Unproven); 3] = [
    ("serve-stale", Unproven::ServeStale),
    ("read-origin", Unproven::ReadOrigin),
    ("fail", Unproven::Fail),
];

/// The words for [`Class`].
pub const CLASS_WORDS: [(&str, Class); 3] =
    [("critical", Class::Critical), ("standard", Class::Standard), ("ephemeral", Class::Ephemeral)];

pub(crate) const ID: [(&str, IdKind); 4] = [
    ("auto", IdKind::Auto),
    ("integer", IdKind::Integer),
    ("uuid", IdKind::Uuid),
    ("text", IdKind::Text),
];

pub(crate) const SENSITIVITY: [(&str, Sensitivity); 4] = [
    ("public", Sensitivity::Public),
    ("personal", Sensitivity::Personal),
    ("financial", Sensitivity::Financial),
    ("auth", Sensitivity::Auth),
];
