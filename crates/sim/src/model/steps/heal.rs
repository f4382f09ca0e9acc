//! A period without faults: messages in flight arrive, a node leads, and the log moves.

use crate::model::keys::KeyId;
use crate::model::load::Stage;
use crate::model::world::World;

/// More batches than any scene has.
const ENOUGH: usize = 64;

impl World {
    /// Runs a period without faults.
    pub(crate) fn heal(&mut self) {
        self.take_late_call();
        self.db.flush();
        for at in self.db.hidden().collect::<Vec<_>>() {
            self.db.show(at);
        }
        while !self.loads.is_empty() {
            self.advance(0);
        }
        if self.leader.is_none() {
            let position = self.db.slot;
            self.lead(0, position);
        }
        // A node whose tier is behind the log's end writes a record to the log.
        self.db.end.0 += 1;
        for _ in 0..ENOUGH {
            let shortcut = self.apply_shortcut();
            let moved = self.follow() | self.observe();
            if !shortcut && !moved {
                break;
            }
        }
        let (now, end, log) = (self.now(), self.db.end, self.db.log);
        for node in 0..self.nodes.len() {
            while self.deliver(node) {}
            let node = &mut self.nodes[node];
            node.receive_sample(now, self.design, self.omitted);
            node.sample_log_end(now, end, log);
            node.receive_sample(now, self.design, self.omitted);
        }
    }

    /// Returns whether both tiers store a value that a reader on that node loads now.
    pub(crate) fn stores(&self, node: usize, key: KeyId) -> bool {
        let mut world = self.clone();
        world.tier.entries.clear();
        world.nodes[node].entries.clear();
        world.leases = false;
        if !world.read(node, key) {
            return false;
        }
        debug_assert!(matches!(world.loads[0].stage, Stage::Asked), "no tier has an entry");
        while !world.loads.is_empty() {
            world.advance(0);
        }
        let kept = !self.local || world.nodes[node].find(key).is_some();
        kept && world.tier.find(key).is_some()
    }
}
