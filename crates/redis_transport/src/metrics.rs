//! Counters of the transport.

use prometheus_client::metrics::counter::Counter;

/// Counters of a router. The user registers them under names of its own; clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct TransportMetrics {
    /// Times that a primary, of the server or of a bucket, was found at a new address.
    pub primary_changes: Counter,
    /// Times that a node redirected a call to another node of the cluster.
    pub redirections: Counter,
}
