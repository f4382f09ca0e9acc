//! Names of entries and of groups of entries: keys, tags, their templates and patterns, ids, and the
//! checks that keep personal data and secrets out of them.

pub(crate) mod digest;
pub(crate) mod id;
pub(crate) mod item;
pub(crate) mod key;
pub(crate) mod pattern;
pub mod percent;
pub(crate) mod placeholder;
pub(crate) mod sensitive_value;
pub(crate) mod syntax;
pub(crate) mod table;
pub(crate) mod tag;
pub(crate) mod template;
