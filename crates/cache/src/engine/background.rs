//! Tasks that keep the tiers up to date: the node stream, touches, key filters.

mod absent_filter;
mod node_stream;
mod sliding_ttl;
