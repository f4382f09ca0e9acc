//! A time without faults: what is under way arrives, somebody leads, the log moves.

use crate::load::Stage;
use crate::names::KeyId;
use crate::world::World;

/// More pieces than any scene has.
const ENOUGH: usize = 64;

impl World {
    pub(crate) fn heal(&mut self) {
        self.late();
        self.db.flush();
        for at in self.db.hidden().collect::<Vec<_>>() {
            self.db.show(at);
        }
        while !self.loads.is_empty() {
            self.step(0);
        }
        if self.leader.is_none() {
            let position = self.db.slot;
            self.lead(0, position);
        }
        // A node that finds its tier behind the log's end nudges the log.
        self.db.end.0 += 1;
        for _ in 0..ENOUGH {
            let shortcut = self.apply_shortcut();
            let moved = self.follow() | self.look();
            if !shortcut && !moved {
                break;
            }
        }
        let (now, end, log) = (self.now(), self.db.end, self.db.log);
        for node in 0..self.nodes.len() {
            while self.deliver(node) {}
            let node = &mut self.nodes[node];
            node.answered(now, self.design, self.without);
            node.ask(now, end, log);
            node.answered(now, self.design, self.without);
        }
    }

    /// Whether what a reader on that node loads now, is kept by both tiers.
    pub(crate) fn stores(&self, node: usize, key: KeyId) -> bool {
        let mut world = self.clone();
        world.tier.entries.clear();
        world.nodes[node].held.clear();
        world.leases = false;
        if !world.read(node, key) {
            return false;
        }
        debug_assert!(matches!(world.loads[0].stage, Stage::Asked), "there is nothing to find");
        while !world.loads.is_empty() {
            world.step(0);
        }
        let kept = !self.local || world.nodes[node].held.contains_key(&key);
        kept && world.tier.find(key).is_some()
    }
}
