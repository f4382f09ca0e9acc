//! The tiers of all nodes.

use crate::engine::Tier;

/// The tiers that are checked, in the order of their counts.
pub(super) const TIERS: [Tier; 2] = [Tier::Local, Tier::Shared];

/// The maximum number of nodes that one auditor checks, its own included.
pub(super) const MAX_NODES: usize = 32;

/// A tier of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NodeTier {
    /// 0: this node; then the peers, in their order.
    pub(super) node: usize,
    pub(super) tier: Tier,
}

impl NodeTier {
    pub(super) fn index(self) -> usize {
        self.node * TIERS.len() + usize::from(self.tier == Tier::Shared)
    }
}

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct NodeSet(u32);

impl NodeSet {
    pub(super) fn insert(&mut self, node: usize) {
        self.0 |= 1 << node;
    }

    pub(super) fn contains(self, node: usize) -> bool {
        self.0 >> node & 1 == 1
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
