//! Pages as cache entries: their keys, the rules for storing them, their loads and the responses
//! built from them.

pub(crate) mod key;
pub(crate) mod origin;
pub(crate) mod other_logs;
mod receive;
pub(crate) mod recent_pages;
pub(crate) mod response;
pub(crate) mod storability;
pub(crate) mod stored_head;
pub(crate) mod thread_cache;
