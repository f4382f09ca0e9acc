//! The HTTP rules that the rooms of this crate share: header fields, bodies, request targets.

pub(crate) mod body;
pub(crate) mod body_diff;
pub(crate) mod cache_control;
pub(crate) mod changes_at;
pub(crate) mod client;
pub(crate) mod collect;
pub(crate) mod cookie_fields;
pub(crate) mod date;
pub(crate) mod encodings;
pub(crate) mod forwarding;
pub(crate) mod freshness;
pub(crate) mod header_set;
pub(crate) mod in_flight;
pub(crate) mod network;
pub(crate) mod not_stored;
pub(crate) mod pace;
pub(crate) mod partial_stream;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod request_id;
pub(crate) mod ryw_token;
pub(crate) mod shared_headers;
pub(crate) mod surrogate_key;
pub(crate) mod target;
pub(crate) mod tunnel;
