//! Calls to the shard that has a bucket.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{ServerErrorKind, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::nodes::Nodes;
use super::shards::Shards;
use super::slot_map::{RefreshRequest, SlotMap};
use super::watcher::TopologyWatcher;
use crate::call::Call;
use crate::error::TransportError;
use crate::metrics::TransportMetrics;
use crate::primary::{Connected, PrimaryConnection};
use crate::redirect::{is_redirect, server_error};
use crate::script_set::ScriptSet;
use crate::server::ServerInfo;
use crate::slot::Bucket;

/// The pause between two tries of a redirected call, at first and at most.
const RETRY_PAUSE: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(20)];
/// Refresh requests that may wait.
const REQUESTS: usize = 64;

/// A handle on the cluster. The task ends with the last handle.
#[derive(Clone)]
pub(crate) struct Cluster {
    map: watch::Receiver<Arc<SlotMap>>,
    shards: Arc<Shards>,
    requests: mpsc::Sender<RefreshRequest>,
}

/// How to connect to a cluster.
pub(crate) struct ClusterConfig {
    pub(crate) seeds: Vec<ServerInfo>,
    /// Login and TLS of every node.
    pub(crate) template: ServerInfo,
    pub(crate) service: &'static str,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) key_pattern: Arc<str>,
    pub(crate) scripts: Arc<dyn ScriptSet>,
    pub(crate) metrics: TransportMetrics,
}

impl Cluster {
    /// Asks the nodes, connects to every shard that has a bucket, and starts the task. `limit`: the time
    /// limit of each shard.
    pub(crate) async fn connect(
        config: ClusterConfig,
        limit: Duration,
    ) -> Result<Self, TransportError> {
        let nodes = Nodes::new(config.template.clone(), config.seeds);
        let shards = Arc::new(Shards {
            connections: Mutex::default(),
            template: config.template,
            service: config.service,
            buckets: config.buckets,
            key_pattern: config.key_pattern,
            scripts: config.scripts,
            metrics: config.metrics,
        });
        let mut watcher = TopologyWatcher { nodes, shards: Arc::clone(&shards) };
        let map = watcher.query().await?;
        for (bucket, node) in map.primaries.iter().enumerate() {
            let Some(node) = node else {
                return Err(TransportError::Unavailable(format!(
                    "no primary of the cluster serves slot {}; `redis-cli --cluster check \
                     host:port` says more",
                    shards.buckets[bucket].slot
                )));
            };
            shards.connect(node, bucket, limit).await?;
        }
        let (sender, map) = watch::channel(Arc::new(map));
        let (requests, received) = mpsc::channel(REQUESTS);
        tokio::spawn(async move {
            let handles = sender.clone();
            tokio::select! {
                () = handles.closed() => {}
                () = watcher.run(sender, received) => {}
            }
        });
        Ok(Self { map, shards, requests })
    }

    /// Returns one bucket of each shard.
    pub(crate) fn one_bucket_per_server(&self) -> Vec<usize> {
        let map = self.map.borrow();
        let first = |bucket: usize| map.primaries.iter().position(|p| *p == map.primaries[bucket]);
        (0..map.primaries.len()).filter(|bucket| first(*bucket) == Some(*bucket)).collect()
    }

    fn connection(&self, bucket: usize) -> Result<PrimaryConnection, TransportError> {
        let map = Arc::clone(&self.map.borrow());
        match map.primaries.get(bucket) {
            Some(Some(node)) => self.shards.connection(node, bucket),
            _ => Err(TransportError::Unavailable(
                "no primary of the cluster serves its slot".to_owned(),
            )),
        }
    }

    pub(crate) async fn connected(&self, bucket: usize) -> Result<Connected, TransportError> {
        self.connection(bucket)?.connected().await
    }

    /// Waits until the bucket is at another address than `connected`.
    pub(crate) async fn moved(&self, bucket: usize, connected: &Connected) {
        let here = connected.address();
        let elsewhere =
            |map: &Arc<SlotMap>| map.primaries[bucket].as_ref().is_some_and(|p| *p != here);
        if self.map.clone().wait_for(elsewhere).await.is_err() {
            std::future::pending().await
        }
    }

    /// Has the task ask the nodes soon, because an error contradicts the known topology.
    pub(crate) fn request_refresh(&self) {
        // A full channel means that the task is about to ask.
        let _ = self.requests.try_send(RefreshRequest::Failed);
    }

    /// Calls the shard that has the bucket, through all redirects. The caller limits the time.
    pub(crate) async fn call(
        &self,
        bucket: usize,
        call: Call<'_>,
        limit: Duration,
    ) -> Result<Value, TransportError> {
        let mut pause = RETRY_PAUSE[0];
        loop {
            let connection = self.connection(bucket)?;
            let connected = connection.connected().await;
            let mut connected = connected.inspect_err(|_| self.request_refresh())?;
            let err = match call.run(&mut connected.connection).await {
                Ok(value) => return Ok(value),
                Err(err) => err,
            };
            match server_error(&err) {
                Some(ServerErrorKind::Moved) => {
                    self.shards.metrics.redirections.inc();
                    if let Some((node, _)) = err.redirect_node() {
                        let request = RefreshRequest::Moved(bucket, node.to_owned());
                        let _ = self.requests.try_send(request);
                    }
                }
                Some(ServerErrorKind::Ask) => {
                    self.shards.metrics.redirections.inc();
                    if let Some((node, _)) = err.redirect_node()
                        && let Some(value) = self.call_importer(node, bucket, call, limit).await?
                    {
                        return Ok(value);
                    }
                }
                Some(ServerErrorKind::TryAgain) => {}
                _ => {
                    connection.report(&connected, &err);
                    self.request_refresh();
                    return Err(TransportError::from_redis(&err, limit));
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE[1]);
        }
    }

    /// Calls the node that is importing the bucket's slot. `None`: it does not have all keys of the call yet.
    async fn call_importer(
        &self,
        node: &str,
        bucket: usize,
        call: Call<'_>,
        limit: Duration,
    ) -> Result<Option<Value>, TransportError> {
        let mut connected = self.shards.connection(node, bucket)?.connected().await?;
        match call.run_asking(&mut connected.connection).await {
            Ok(value) => Ok(Some(value)),
            Err(err) if is_redirect(&err) => Ok(None),
            Err(err) => Err(TransportError::from_redis(&err, limit)),
        }
    }
}
