//! Steps of a read (`cache::engine::load`).

use coherence::{Mono, Refusal, Verdict};

use crate::model::composition::CompositionRule;
use crate::model::database::CommitSet;
use crate::model::keys::{KeyId, key};
use crate::model::load::{Load, Stage};
use crate::model::node::LocalEntry;
use crate::model::standby::Source;
use crate::model::tier::{Fill, LEASE};
use crate::model::world::World;

impl World {
    /// Starts a read that misses in its node's tier and asks the shared tier.
    pub(crate) fn read(&mut self, node: usize, key: KeyId) -> bool {
        let Some(there) = self.tier.standing() else { return false };
        let began = Mono(u64::from(self.db.now));
        let load = |token, lease, stage| {
            let from = Source::Primary;
            Load { node, key, token, lease, began, shared: true, from, stage }
        };
        let load = match self.tier.find(key) {
            Some(stored) => {
                let rejects = self.design.nodes_reject_outdated;
                if rejects && self.nodes[node].outdates(key, there) {
                    load((there.epoch, there.watermark), None, Stage::Asked)
                } else {
                    // An entry that stands includes every commit that its tier has applied.
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

    /// Starts a read on a node that can't reach the shared tier.
    pub(crate) fn read_past_shared(&mut self, node: usize, key: KeyId) -> bool {
        let fence = &self.nodes[node].fence;
        let Some(epoch) = fence.epoch() else { return false };
        let token = (epoch, fence.watermark());
        let began = Mono(u64::from(self.db.now));
        let (from, stage) = (Source::Primary, Stage::Asked);
        self.loads.push(Load { node, key, token, lease: None, began, shared: false, from, stage });
        true
    }

    /// Takes the next step of a read.
    pub(crate) fn advance(&mut self, at: usize) {
        let load = self.loads[at].clone();
        match load.stage {
            Stage::Asked | Stage::Read(..) if load.from != Source::Primary => self.ask_standby(at),
            Stage::Asked | Stage::Read(..) => {
                self.loads[at].stage = Stage::Answered(self.db.snapshot_of(load.key));
            }
            Stage::Answered(seen) => {
                let continues = self.offer_to_shared(&load, seen) && self.local;
                if continues {
                    self.loads[at].lease = None;
                    self.loads[at].stage = Stage::Offered(seen);
                } else {
                    self.loads.remove(at);
                }
            }
            Stage::Offered(seen) | Stage::Found(seen) => {
                self.loads.remove(at);
                self.offer_to_local(&load, seen);
            }
        }
    }

    /// Offers the loaded value to the shared tier; returns whether it may go to the node's own tier.
    fn offer_to_shared(&mut self, load: &Load, seen: CommitSet) -> bool {
        if !load.shared {
            return true;
        }
        let mut token = load.token;
        if !self.omitted.enforces(CompositionRule::TokenBeforeLoad) {
            token = self.tier.standing().map_or(token, |there| (there.epoch, there.watermark));
        }
        let other = |other: &Load| {
            let is_held = other.lease.is_some_and(|(_, until)| until > self.clock);
            let counts = Some(other.token.0) == self.epoch() && is_held;
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
        self.version_decreased |= verdict == Verdict::Accept && before > Some(token.1);
        self.stored_late |= too_late && verdict == Verdict::Accept;
        match verdict {
            Verdict::Accept | Verdict::Refuse(Refusal::Lease) => true,
            // A value that a commit has made old in between may be stored soft-stale.
            Verdict::Refuse(Refusal::Tombstone) => self.nodes[load.node].lenient,
            Verdict::Refuse(_) => false,
        }
    }

    /// Offers the value to the node's own tier.
    fn offer_to_local(&mut self, load: &Load, seen: CommitSet) {
        let found = matches!(load.stage, Stage::Found(_));
        let mut token = load.token;
        if found && !self.omitted.enforces(CompositionRule::PositionWithEntry) {
            token = self.tier.standing().map_or(token, |there| (there.epoch, there.applied));
        }
        let now = Mono(u64::from(self.db.now));
        let began = if self.omitted.enforces(CompositionRule::LoadProvesAsOfStart) {
            load.began
        } else {
            now
        };
        let standby = load.from != Source::Primary;
        let proves = !(found && self.omitted.enforces(CompositionRule::OnlyOwnLoadsProve)
            || standby && self.omitted.enforces(CompositionRule::StandbyLoadsProveNothing));
        let loaded = proves.then_some(began);
        let entry = LocalEntry { tau: token.1, seen, loaded, soft_stale: None, stamp: 0 };
        let node = &mut self.nodes[load.node];
        let before = node.find(load.key).map(|entry| entry.tau);
        let verdict = node.fill(load.key, entry, token.0);
        self.version_decreased |= verdict == Verdict::Accept && before > Some(token.1);
    }

    /// Renews a load's lease.
    pub(crate) fn renew(&mut self, at: usize) -> bool {
        let (clock, load) = (self.clock, &mut self.loads[at]);
        let Some((token, until)) = &mut load.lease else { return false };
        let renewed = self.tier.leases.renew(key(load.key), *token, clock, LEASE);
        if renewed {
            *until = clock + LEASE;
        }
        renewed
    }

    /// Ends a load whose answer is an error, as if it had been abandoned.
    pub(crate) fn fail_load(&mut self, at: usize) -> bool {
        let is_asked = self.loads[at].stage == Stage::Asked;
        if is_asked && !self.omitted.enforces(CompositionRule::FailedLoadIsNoAbsence) {
            // An absent row lacks every commit.
            self.loads[at].stage = Stage::Answered(0);
        } else if is_asked {
            self.abandon(at);
        }
        is_asked
    }

    /// Abandons a load, which releases its lease.
    pub(crate) fn abandon(&mut self, at: usize) {
        let load = self.loads.remove(at);
        if let Some((token, _)) = load.lease {
            self.tier.leases.release(key(load.key), token);
        }
    }
}
