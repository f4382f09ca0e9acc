//! The nodes of a run.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::environment::Environment;
use super::node::Node;

/// The present nodes; `None` while a node is down.
pub(super) struct Cluster {
    pub(super) env: Arc<Environment>,
    pub(super) nodes: Mutex<Vec<Option<Arc<Node>>>>,
}

impl Cluster {
    pub(super) fn node(&self, id: usize) -> Option<Arc<Node>> {
        self.nodes.lock()[id].clone()
    }

    /// Waits until every node has a bound and a watermark; false if that takes too long.
    pub(super) async fn until_proven(&self) -> bool {
        for _ in 0..200 {
            sleep(Duration::from_millis(100)).await;
            let all = self.nodes.lock().iter().flatten().all(|node| {
                let status = node.engine.status();
                status.bound.is_some() && status.watermark.0 > 0
            });
            if all {
                return true;
            }
        }
        false
    }
}
