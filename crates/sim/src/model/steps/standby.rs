//! Steps of the standby, and of reads from it (`cache::engine::standby`).

use coherence::{Mono, ReadRequirement, Replayed};

use crate::model::composition::CompositionRule;
use crate::model::database::CommitSet;
use crate::model::keys::{KeyId, key, tags};
use crate::model::load::{Load, Stage};
use crate::model::standby::Source;
use crate::model::world::World;

impl World {
    /// Lets the standby replay one step; false if there is none.
    pub(crate) fn replay(&mut self) -> bool {
        let Some(mut standby) = self.db.standby.clone() else { return false };
        if standby.replayed < standby.shown {
            standby.replayed = standby.shown;
        } else if standby.generation == self.db.generation {
            let next = self.db.next(standby.shown).map(|(_, commit)| commit.lsn);
            // The log may go on after the last commit.
            let rest = (!self.db.is_dirty()).then_some(self.db.end);
            standby.shown = standby.shown.max(next.or(rest).unwrap_or_default());
        }
        let standby = Some(standby);
        let moved = self.db.standby != standby;
        self.db.standby = standby;
        moved
    }

    /// Starts a read that misses in every tier, on a node that asks the standby.
    pub(crate) fn read_from_standby(&mut self, node: usize, key: KeyId) -> bool {
        let reads = self.db.standby.is_some() && self.tier.find(key).is_none();
        if !reads || !self.read(node, key) {
            return false;
        }
        if let Some(load) = self.loads.last_mut() {
            load.from = Source::Standby(None);
        }
        true
    }

    /// Takes the next step of a load from the standby, up to its answer.
    pub(crate) fn ask_standby(&mut self, at: usize) {
        let load = self.loads[at].clone();
        let (Source::Standby(reported), Some(standby)) = (load.from, self.db.standby.clone())
        else {
            return;
        };
        let first = self.omitted.enforces(CompositionRule::StandbyReportsFirst);
        let next = &mut self.loads[at];
        match (load.stage, reported) {
            (Stage::Asked, None) if first => next.from = Source::Standby(Some(standby.replayed)),
            (Stage::Asked, _) => {
                next.stage =
                    Stage::Read(self.db.standby_snapshot_of(&standby, load.key), standby.log);
            }
            (Stage::Read(..), None) => next.from = Source::Standby(Some(standby.replayed)),
            (Stage::Read(seen, log), Some(upto)) => {
                self.check_standby_answer(at, &load, seen, Replayed { log, upto });
            }
            _ => {}
        }
    }

    /// Accepts the answer, or sends the load to the primary.
    fn check_standby_answer(
        &mut self,
        at: usize,
        load: &Load,
        seen: CommitSet,
        replayed: Replayed,
    ) {
        let node = &self.nodes[load.node];
        let (epoch, watermark) = load.token;
        let (key, tags) = (key(load.key), tags(load.key));
        let required = ReadRequirement { key, tags, epoch, token: None, since: Mono(0) };
        match replayed.serves(required, &node.fence, &node.bound) {
            Ok(as_of) => {
                self.bound_violated |= !self.is_true_as_of(load.key, seen, as_of);
                self.loads[at].token = (epoch, replayed.token(watermark));
                self.loads[at].stage = Stage::Answered(seen);
            }
            // The primary is asked instead, as by any other load.
            Err(_) => {
                self.loads[at].from = Source::Primary;
                self.loads[at].stage = Stage::Asked;
            }
        }
    }
}
