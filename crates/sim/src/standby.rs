//! A standby, and reads from it (`cache::engine::standby`).

use coherence::{Log, Lsn, Mono, Need, Replayed};

use crate::database::{BEGINNING, Database, Seen};
use crate::habit::Habit;
use crate::load::{Load, Stage};
use crate::names::{KeyId, key, tags};
use crate::world::World;

/// A standby.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Standby {
    /// Its snapshots see the commits up to here.
    shown: Lsn,
    /// What it says that it has replayed; moves after what is shown.
    replayed: Lsn,
    /// Which log it follows.
    log: Log,
    /// The database's life that it is in.
    life: u8,
}

/// Whom a load asks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum From {
    /// The primary.
    Primary,
    /// The standby, which has said how far it was, or not yet.
    Standby(Option<Lsn>),
}

impl Standby {
    /// It has everything.
    #[must_use]
    pub fn of(db: &Database) -> Self {
        Self { shown: BEGINNING, replayed: BEGINNING, log: db.log, life: db.life }
    }

    /// The primary crashed, or another standby took its place, which has everything up to `recovered`.
    /// Whoever has replayed more can't follow it.
    pub fn follow(&mut self, log: Log, life: u8, recovered: Lsn) {
        if self.shown <= recovered {
            (self.log, self.life) = (log, life);
        }
    }

    /// Of key `id`'s commits, those that a snapshot taken now sees.
    fn snapshot_of(&self, db: &Database, id: KeyId) -> Seen {
        db.replayed(id, self.life, self.shown)
    }
}

impl World {
    /// The standby replays a step; whether there was one.
    pub(crate) fn replay(&mut self) -> bool {
        let Some(mut standby) = self.db.standby.clone() else { return false };
        if standby.replayed < standby.shown {
            standby.replayed = standby.shown;
        } else if standby.life == self.db.life {
            let next = self.db.next(standby.shown).map(|(_, commit)| commit.lsn);
            // Behind the last commit there may be something that is none.
            let rest = (!self.db.is_dirty()).then_some(self.db.end);
            standby.shown = standby.shown.max(next.or(rest).unwrap_or_default());
        }
        let standby = Some(standby);
        let moved = self.db.standby != standby;
        self.db.standby = standby;
        moved
    }

    /// A reader finds nothing in any tier, and its node asks the standby.
    pub(crate) fn read_of_standby(&mut self, node: usize, key: KeyId) -> bool {
        let reads = self.db.standby.is_some() && self.tier.find(key).is_none();
        if !reads || !self.read(node, key) {
            return false;
        }
        if let Some(load) = self.loads.last_mut() {
            load.from = From::Standby(None);
        }
        true
    }

    /// The next step of a load that asks the standby, up to its answer.
    pub(crate) fn ask_standby(&mut self, at: usize) {
        let load = self.loads[at].clone();
        let (From::Standby(said), Some(standby)) = (load.from, self.db.standby.clone()) else {
            return;
        };
        let first = self.without.has(Habit::StandbySaysFirst);
        let next = &mut self.loads[at];
        match (load.stage, said) {
            (Stage::Asked, None) if first => next.from = From::Standby(Some(standby.replayed)),
            (Stage::Asked, _) => {
                next.stage = Stage::Read(standby.snapshot_of(&self.db, load.key), standby.log);
            }
            (Stage::Read(..), None) => next.from = From::Standby(Some(standby.replayed)),
            (Stage::Read(seen, log), Some(upto)) => {
                self.judge(at, &load, seen, Replayed { log, upto });
            }
            _ => {}
        }
    }

    /// Gives the answer, if it will do, and goes on to store it.
    fn judge(&mut self, at: usize, load: &Load, seen: Seen, replayed: Replayed) {
        let node = &self.nodes[load.node];
        let (epoch, watermark) = load.token;
        let (key, tags) = (key(load.key), tags(load.key));
        let need = Need { key, tags, epoch, after: None, since: Mono(0) };
        match replayed.serves(need, &node.fence, &node.bound) {
            Ok(as_of) => {
                self.lied |= !self.is_true_as_of(load.key, seen, as_of);
                self.loads[at].token = (epoch, replayed.token(watermark));
                self.loads[at].stage = Stage::Answered(seen);
            }
            // The primary is asked in its place, as by any other load.
            Err(_) => {
                self.loads[at].from = From::Primary;
                self.loads[at].stage = Stage::Asked;
            }
        }
    }
}
