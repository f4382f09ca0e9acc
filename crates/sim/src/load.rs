//! Reads under way (`cache::engine::load`).

use coherence::{Epoch, LeaseToken, Log, Lsn, Mono, Refusal, Verdict};

use crate::database::Seen;
use crate::habit::Habit;
use crate::names::{KeyId, key};
use crate::node::Held;
use crate::standby::From;
use crate::tier::{Fill, LEASE};
use crate::world::World;

/// A read that has not ended.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Load {
    /// Whose.
    pub node: usize,
    /// Of what.
    pub key: KeyId,
    /// The history and τ that came with the miss.
    pub token: (Epoch, Lsn),
    /// The lease, and until when it is held as far as its holder knows.
    pub lease: Option<(LeaseToken, Mono)>,
    began: Mono,
    shared: bool,
    /// Whom it asks.
    pub from: From,
    /// How far it is.
    pub stage: Stage,
}

/// How far a read is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stage {
    /// The origin was asked.
    Asked,
    /// The standby has taken its snapshot, in that log.
    Read(Seen, Log),
    /// It has taken its snapshot.
    Answered(Seen),
    /// The shared tier had its say.
    Offered(Seen),
    /// It was found in the shared tier, which had applied that much.
    Found(Seen),
}

impl World {
    /// A reader finds nothing in its node's tier and asks the shared one.
    pub(crate) fn read(&mut self, node: usize, key: KeyId) -> bool {
        let Some(there) = self.tier.standing() else { return false };
        let began = Mono(u64::from(self.db.now));
        let load = |token, lease, stage| {
            let from = From::Primary;
            Load { node, key, token, lease, began, shared: true, from, stage }
        };
        let load = match self.tier.find(key) {
            Some(stored) => {
                let better = self.design.nodes_know_better;
                if better && self.nodes[node].knows_better(key, there) {
                    load((there.epoch, there.watermark), None, Stage::Asked)
                } else {
                    // An entry that still stands misses nothing that its tier has applied.
                    load((there.epoch, there.applied), None, Stage::Found(stored.seen))
                }
            }
            None if self.leases => match self.tier.lease(key, self.clock) {
                Some(lease) => load(
                    (there.epoch, there.watermark),
                    Some((lease, self.clock + LEASE)),
                    Stage::Asked,
                ),
                None => return false,
            },
            None => load((there.epoch, there.watermark), None, Stage::Asked),
        };
        self.loads.push(load);
        true
    }

    /// A reader whose node can't ask the shared tier.
    pub(crate) fn read_past_shared(&mut self, node: usize, key: KeyId) -> bool {
        let fence = &self.nodes[node].fence;
        let Some(epoch) = fence.epoch() else { return false };
        let token = (epoch, fence.watermark());
        let began = Mono(u64::from(self.db.now));
        let (from, stage) = (From::Primary, Stage::Asked);
        self.loads.push(Load { node, key, token, lease: None, began, shared: false, from, stage });
        true
    }

    /// The read's next step.
    pub(crate) fn step(&mut self, at: usize) {
        let load = self.loads[at].clone();
        match load.stage {
            Stage::Asked | Stage::Read(..) if load.from != From::Primary => self.ask_standby(at),
            Stage::Asked | Stage::Read(..) => {
                self.loads[at].stage = Stage::Answered(self.db.snapshot_of(load.key));
            }
            Stage::Answered(seen) => {
                let goes_on = self.offer(&load, seen) && self.local;
                if goes_on {
                    self.loads[at].lease = None;
                    self.loads[at].stage = Stage::Offered(seen);
                } else {
                    self.loads.remove(at);
                }
            }
            Stage::Offered(seen) | Stage::Found(seen) => {
                self.loads.remove(at);
                self.keep(&load, seen);
            }
        }
    }

    /// Offers what was loaded to the shared tier; whether it may go to the node's own.
    fn offer(&mut self, load: &Load, seen: Seen) -> bool {
        if !load.shared {
            return true;
        }
        let mut token = load.token;
        if !self.without.has(Habit::TokenBeforeLoad) {
            token = self.tier.standing().map_or(token, |there| (there.epoch, there.watermark));
        }
        let other = |other: &Load| {
            let held = other.lease.is_some_and(|(_, until)| until > self.clock);
            let counts = Some(other.token.0) == self.epoch() && held;
            other.lease != load.lease && other.key == load.key && counts
        };
        let too_late = load.lease.is_some() && self.loads.iter().any(other);
        let fill = Fill {
            key: load.key,
            tau: token.1,
            seen,
            epoch: token.0,
            lease: load.lease.map(|(token, _)| token),
        };
        let before = self.tier.find(load.key).map(|stored| stored.tau);
        let verdict = self.tier.fill(fill, self.clock);
        self.went_back |= verdict == Verdict::Accept && before > Some(token.1);
        self.stored_late |= too_late && verdict == Verdict::Accept;
        match verdict {
            Verdict::Accept | Verdict::Refuse(Refusal::Lease) => true,
            // A commit in between leaves something to be marked.
            Verdict::Refuse(Refusal::Tombstone) => self.nodes[load.node].lenient,
            Verdict::Refuse(_) => false,
        }
    }

    /// Offers it to the node's own tier.
    fn keep(&mut self, load: &Load, seen: Seen) {
        let found = matches!(load.stage, Stage::Found(_));
        let mut token = load.token;
        if found && !self.without.has(Habit::StandingWithEntry) {
            token = self.tier.standing().map_or(token, |there| (there.epoch, there.applied));
        }
        let now = Mono(u64::from(self.db.now));
        let began = if self.without.has(Habit::LoadedAsOfBeginning) { load.began } else { now };
        let standby = load.from != From::Primary;
        let proves = !(found && self.without.has(Habit::OnlyOwnLoadsProve)
            || standby && self.without.has(Habit::StandbyLoadsProveNothing));
        let held = Held { tau: token.1, seen, loaded: proves.then_some(began), mark: None };
        let node = &mut self.nodes[load.node];
        let before = node.held.get(&load.key).map(|held| held.tau);
        let verdict = node.fill(load.key, held, token.0);
        self.went_back |= verdict == Verdict::Accept && before > Some(token.1);
    }

    /// The holder's heartbeat.
    pub(crate) fn renew(&mut self, at: usize) -> bool {
        let (clock, load) = (self.clock, &mut self.loads[at]);
        let Some((token, until)) = &mut load.lease else { return false };
        let renewed = self.tier.leases.renew(key(load.key), *token, clock, LEASE);
        if renewed {
            *until = clock + LEASE;
        }
        renewed
    }

    /// The load fails, and gives its lease back.
    pub(crate) fn abandon(&mut self, at: usize) {
        let load = self.loads.remove(at);
        if let Some((token, _)) = load.lease {
            self.tier.leases.release(key(load.key), token);
        }
    }
}
