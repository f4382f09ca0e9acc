//! The gateway on a real socket, between real clients and test upstreams.

mod admission;
mod caching;
mod faults;
mod forwarding;
mod page_audit;
mod page_proof;
mod protocol;
mod stale;
mod streaming;
mod support;
mod timed_pages;
mod writes;
