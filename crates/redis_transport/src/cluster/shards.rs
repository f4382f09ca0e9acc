//! The connections to the shards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::TransportError;
use crate::metrics::TransportMetrics;
use crate::primary::{ConnectConfig, Discovery, PrimaryConnection};
use crate::script_set::ScriptSet;
use crate::server::ServerInfo;
use crate::slot::Bucket;

/// The connections to shards, by the primary's `host:port`.
pub(crate) struct Shards {
    pub(crate) connections: Mutex<HashMap<String, PrimaryConnection>>,
    /// Login and TLS of every node.
    pub(crate) template: ServerInfo,
    pub(crate) service: &'static str,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) key_pattern: Arc<str>,
    pub(crate) scripts: Arc<dyn ScriptSet>,
    pub(crate) metrics: TransportMetrics,
}

impl Shards {
    /// Returns the connection to a shard, which may be opening. `bucket`: a bucket on that shard.
    pub(crate) fn connection(
        &self,
        node: &str,
        bucket: usize,
    ) -> Result<PrimaryConnection, TransportError> {
        let mut connections = self.connections.lock();
        if let Some(connection) = connections.get(node) {
            return Ok(connection.clone());
        }
        let connection = PrimaryConnection::start(self.config(node, bucket)?);
        connections.insert(node.to_owned(), connection.clone());
        Ok(connection)
    }

    /// Connects to a shard, if there is no connection yet.
    pub(crate) async fn connect(
        &self,
        node: &str,
        bucket: usize,
        limit: Duration,
    ) -> Result<(), TransportError> {
        if self.connections.lock().contains_key(node) {
            return Ok(());
        }
        let config = self.config(node, bucket)?;
        let connecting = PrimaryConnection::connect(config, limit).await;
        let connection = connecting.map_err(|err| match err {
            TransportError::Unsuitable(why) => TransportError::Unsuitable(format!("{node}: {why}")),
            TransportError::Unavailable(why) => {
                TransportError::Unavailable(format!("{node}: {why}"))
            }
            err => err,
        })?;
        self.connections.lock().insert(node.to_owned(), connection);
        Ok(())
    }

    fn config(&self, node: &str, bucket: usize) -> Result<ConnectConfig, TransportError> {
        let address = node.rsplit_once(':');
        let address = address.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = address else {
            return Err(TransportError::Unavailable(format!("{node:?} is no address")));
        };
        Ok(ConnectConfig {
            discovery: Discovery::Shard(self.template.at(host.to_owned(), port)),
            service: self.service,
            key_pattern: Arc::clone(&self.key_pattern),
            probe_key: self.buckets[bucket].probe_key.clone(),
            scripts: Arc::clone(&self.scripts),
            metrics: self.metrics.clone(),
        })
    }
}
