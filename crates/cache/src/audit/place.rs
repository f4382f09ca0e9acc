//! Where an auditor looks: a tier of a node.

use crate::engine::Tier;

/// The tiers, in the order of their counts.
pub(super) const TIERS: [Tier; 2] = [Tier::Local, Tier::Shared];

/// Nodes that one auditor can follow, itself included.
pub(super) const MOST_NODES: usize = 32;

/// A tier of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    /// 0: this node; then the peers, in their order.
    pub(super) node: usize,
    pub(super) tier: Tier,
}

impl Place {
    pub(super) fn index(self) -> usize {
        self.node * TIERS.len() + usize::from(self.tier == Tier::Shared)
    }
}

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Nodes(u32);

impl Nodes {
    pub(super) fn add(&mut self, node: usize) {
        self.0 |= 1 << node;
    }

    pub(super) fn has(self, node: usize) -> bool {
        self.0 >> node & 1 == 1
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
