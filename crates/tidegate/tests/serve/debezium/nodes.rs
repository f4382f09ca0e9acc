//! Nodes that receive the events of one relay.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use super::bound;
use crate::stack::{DEADLINE, Node, tier};

/// The nodes of a shop.
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    /// Launches nodes and waits until they are ready.
    pub(super) fn launch(number: usize, launch: impl Fn() -> Node) -> Self {
        let mut nodes: Vec<Node> = (0..number).map(|_| launch()).collect();
        for node in &mut nodes {
            node.process.wait_for_http(node.admin, "/readyz", DEADLINE).expect("ready");
        }
        Self(nodes)
    }

    /// Returns the addresses that take events.
    pub(super) fn admins(&self) -> Vec<SocketAddr> {
        self.iter().map(|node| node.admin).collect()
    }

    pub(super) fn wait_all(&self, what: &str, holds: impl Fn(&Node) -> bool) {
        for node in &self.0 {
            node.wait(what, &holds);
        }
    }

    pub(super) fn wait_proven(&self) {
        self.wait_all("a proven bound", |node| bound(node).is_some());
    }

    /// Waits until every node answers from its own tier.
    pub(super) fn wait_cached(&self) {
        self.wait_all("a cached answer", |node| tier(&node.get(42)) == Some("local"));
    }

    pub(super) fn wait_price(&self, cents: u32) {
        self.wait_all("the new price", |node| node.cents(42) == Some(cents));
    }

    pub(super) fn sum(&self, metric: &str) -> f64 {
        self.iter().map(|node| node.metric(metric)).sum()
    }

    /// Returns how often events were missing, over all nodes.
    pub(super) fn breaks(&self) -> f64 {
        self.sum("tidegate_events_breaks_total")
    }

    /// Returns the index of the node that takes events.
    pub(super) fn leader(&self) -> usize {
        harness::until("a node that takes events", DEADLINE, || {
            Ok(self.iter().position(|node| node.metric("tidegate_feed_leader") == 1.0))
        })
        .expect("a node takes events")
    }
}

impl Deref for Nodes {
    type Target = Vec<Node>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Nodes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
