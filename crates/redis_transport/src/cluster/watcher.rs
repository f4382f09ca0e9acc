//! The task that keeps the map from buckets to shards up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::nodes::Nodes;
use super::shards::Shards;
use super::slot_map::{RefreshRequest, SlotMap};
use crate::acl::AclUser;
use crate::error::TransportError;
use crate::timeout::CONNECT_TIMEOUT;

/// How often the nodes are asked.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a [`RefreshRequest`], in which further requests are collected.
const REQUEST_WINDOW: Duration = Duration::from_millis(100);

pub(crate) struct TopologyWatcher {
    pub(crate) nodes: Nodes,
    pub(crate) shards: Arc<Shards>,
}

impl TopologyWatcher {
    pub(crate) async fn run(
        mut self,
        map: watch::Sender<Arc<SlotMap>>,
        mut requests: mpsc::Receiver<RefreshRequest>,
    ) {
        let mut logged = String::new();
        loop {
            tokio::select! {
                () = sleep(REFRESH_INTERVAL) => {}
                () = async {
                    self.take_request(&map, &mut requests).await;
                    let more = async { loop { self.take_request(&map, &mut requests).await } };
                    let _ = timeout(REQUEST_WINDOW, more).await;
                } => {}
            }
            match timeout(CONNECT_TIMEOUT * 2, self.query()).await {
                Ok(Ok(new)) => {
                    logged.clear();
                    self.publish(&map, new);
                }
                // The known map may still be right.
                Ok(Err(err)) => {
                    let why = err.to_string();
                    if why != logged {
                        tracing::warn!(error = %why, "the cluster's nodes can't be asked");
                    }
                    logged = why;
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for a request, and applies the address in it.
    async fn take_request(
        &self,
        map: &watch::Sender<Arc<SlotMap>>,
        requests: &mut mpsc::Receiver<RefreshRequest>,
    ) {
        match requests.recv().await {
            Some(RefreshRequest::Moved(bucket, node)) => self.apply_move(map, bucket, node),
            Some(RefreshRequest::Failed) => {}
            // All handles are gone; the task is about to end.
            None => std::future::pending().await,
        }
    }

    /// Asks the nodes for the map.
    pub(crate) async fn query(&mut self) -> Result<SlotMap, TransportError> {
        let name = self.shards.template.user();
        let (key_pattern, scripts) = (&*self.shards.key_pattern, &*self.shards.scripts);
        let topology = self.nodes.topology(&AclUser { name, key_pattern, scripts }).await?;
        let buckets = self.shards.buckets.iter();
        let primary = |slot: u16| topology.primary(slot).map(str::to_owned);
        Ok(SlotMap { primaries: buckets.map(|bucket| primary(bucket.slot)).collect() })
    }

    /// Applies the bucket's address in a redirect. The next query corrects it if it was wrong.
    fn apply_move(&self, map: &watch::Sender<Arc<SlotMap>>, bucket: usize, node: String) {
        // An address without a host means the node that replied, at another port. The next query finds it.
        if node.starts_with(':') {
            return;
        }
        let mut primaries = map.borrow().primaries.clone();
        primaries[bucket] = Some(node);
        self.publish(map, SlotMap { primaries });
    }

    fn publish(&self, map: &watch::Sender<Arc<SlotMap>>, new: SlotMap) {
        let old = Arc::clone(&map.borrow());
        for (bucket, (from, to)) in old.primaries.iter().zip(&new.primaries).enumerate() {
            if let Some(to) = to.as_ref().filter(|to| from.as_ref() != Some(*to)) {
                self.shards.metrics.primary_changes.inc();
                let slot = self.shards.buckets[bucket].slot;
                tracing::warn!(bucket, slot, ?from, %to, "a bucket has another primary");
            }
        }
        if *old != new {
            let is_used = |node: &String| new.primaries.iter().flatten().any(|p| p == node);
            self.shards.connections.lock().retain(|node, _| is_used(node));
            map.send_replace(Arc::new(new));
        }
    }
}
