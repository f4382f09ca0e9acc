//! Calls to the server that has a bucket: a single server, or a shard of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use crate::call::Call;
use crate::cluster::{Cluster, ClusterConfig};
use crate::endpoint::{Endpoint, Kind};
use crate::error::TransportError;
use crate::metrics::TransportMetrics;
use crate::primary::{ConnectConfig, Connected, Discovery, PrimaryConnection};
use crate::script_set::ScriptSet;
use crate::sentinel::Sentinels;
use crate::slot::Bucket;
use crate::timeout::timeout_with_grace;

/// How a router connects.
pub struct RouterConfig {
    /// The server, the sentinels or the cluster.
    pub endpoint: Endpoint,
    /// For logs: the service that Redis provides, such as "the shared tier".
    pub service: &'static str,
    /// The buckets that the keys are divided into, at least one. A single server has all of them.
    pub buckets: Vec<Bucket>,
    /// The keys of all buckets, as an ACL rule names them: `~{prefix:*`.
    pub key_pattern: String,
    /// The scripts and commands that will be called.
    pub scripts: Arc<dyn ScriptSet>,
    /// The counters.
    pub metrics: TransportMetrics,
    /// The time limit of the first connection to each server, beside one second for the network.
    pub timeout: Duration,
}

/// Sends each call to the server that has its bucket. Clones share the connections, which are closed with the
/// last clone.
#[derive(Clone)]
pub struct Router(Servers);

#[derive(Clone)]
enum Servers {
    One(PrimaryConnection),
    Cluster(Cluster),
}

impl Router {
    /// Connects to every server that has a bucket, checks the server and loads the scripts.
    ///
    /// # Errors
    /// [`TransportError::Unsuitable`] tells what to change. Other errors mean that a server could not be
    /// asked.
    pub async fn connect(config: RouterConfig) -> Result<Self, TransportError> {
        let RouterConfig { endpoint, service, buckets, scripts, metrics, timeout, .. } = config;
        let key_pattern = config.key_pattern.into();
        let discovery = match endpoint.into_kind() {
            Kind::Server(info) => Discovery::Fixed(info),
            Kind::Sentinels { name, sentinels, primary } => {
                Discovery::Sentinels { sentinels: Sentinels::new(name, sentinels), primary }
            }
            Kind::Cluster { seeds, template } => {
                let config = ClusterConfig {
                    seeds,
                    template,
                    service,
                    buckets,
                    key_pattern,
                    scripts,
                    metrics,
                };
                return Ok(Self(Servers::Cluster(Cluster::connect(config, timeout).await?)));
            }
        };
        let first = buckets.into_iter().next();
        let probe_key = first.map(|bucket| bucket.probe_key).unwrap_or_default();
        let config = ConnectConfig { discovery, service, key_pattern, probe_key, scripts, metrics };
        Ok(Self(Servers::One(PrimaryConnection::connect(config, timeout).await?)))
    }

    /// Calls the server that has the bucket, within the time limit.
    ///
    /// # Errors
    /// The call failed, or took too long.
    pub async fn call(
        &self,
        bucket: usize,
        limit: Duration,
        call: Call<'_>,
    ) -> Result<Value, TransportError> {
        let reply = async {
            match &self.0 {
                Servers::One(primary) => {
                    let mut connected = primary.connected().await?;
                    call.run(&mut connected.connection).await.map_err(|err| {
                        primary.report(&connected, &err);
                        TransportError::from_redis(&err, limit)
                    })
                }
                Servers::Cluster(cluster) => cluster.call(bucket, call, limit).await,
            }
        };
        timeout_with_grace(limit, reply).await.unwrap_or_else(|| {
            self.request_refresh();
            Err(TransportError::Timeout(limit))
        })
    }

    /// Returns the connection to the server that has the bucket.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub async fn connected(&self, bucket: usize) -> Result<Connected, TransportError> {
        match &self.0 {
            Servers::One(primary) => primary.connected().await,
            Servers::Cluster(cluster) => cluster.connected(bucket).await,
        }
    }

    /// Waits until the bucket is at another address than `connected`.
    pub async fn moved(&self, bucket: usize, connected: &Connected) {
        match &self.0 {
            Servers::One(primary) => primary.moved(connected).await,
            Servers::Cluster(cluster) => cluster.moved(bucket, connected).await,
        }
    }

    /// Has the topology of a cluster checked soon, because a connection that was
    /// [opened](Connected::open_dedicated) by the caller failed.
    pub fn request_refresh(&self) {
        if let Servers::Cluster(cluster) = &self.0 {
            cluster.request_refresh();
        }
    }

    /// Returns one bucket of each server.
    #[must_use]
    pub fn one_bucket_per_server(&self) -> Vec<usize> {
        match &self.0 {
            Servers::One(_) => vec![0],
            Servers::Cluster(cluster) => cluster.one_bucket_per_server(),
        }
    }
}
