//! The gateway on a real socket, between real clients and test upstreams.

mod caching;
mod faults;
mod forwarding;
mod stale;
mod support;
mod writes;
