//! The invariants that hold in every state.
//!
//! A state is judged by its possible answers: of each node from its own tier, and of each node from the
//! shared tier.

use coherence::Mono;

use crate::model::database::includes;
use crate::model::keys::KeyId;
use crate::model::node::Node;
use crate::model::scene::Scene;
use crate::model::world::World;

/// Name of [`entries_include_applied_commits`].
pub const NO_STALE_ENTRY: &str = "no answer from a tier misses a commit that the tier has applied";
/// Name of [`bound_is_true`].
pub const BOUND: &str = "the reported bound is never smaller than the true staleness";
/// Name of [`invalidated_entry_not_served_again`].
pub const NOT_SERVED_AGAIN: &str = "a node never serves an entry that it has seen invalidated";
/// Name of [`version_is_true`].
pub const VERSION: &str = "an answer includes every commit up to its reported version";
/// Name of [`version_is_monotonic`].
pub const MONOTONIC: &str = "the version of a stored entry never decreases";
/// Name of [`lease_has_one_holder`].
pub const LEASE: &str = "a key's lease has one holder, and no other load stores under it";
/// Name of [`converges_without_faults`].
pub const CONVERGES: &str = "after faults stop every tier converges";

/// The first promise: entries include every commit that their tier has applied.
#[must_use]
pub fn entries_include_applied_commits(world: &World, scene: &Scene) -> bool {
    let db = &world.db;
    let shared = || {
        let Some(there) = world.tier.standing() else { return true };
        scene.keys.iter().all(|key| {
            let Some(stored) = world.tier.find(*key) else { return true };
            includes(stored.seen, db.upto(*key, generation(there.epoch.server), there.applied))
        })
    };
    let in_process = |node: &Node| {
        let Some(epoch) = node.fence.epoch() else { return true };
        node.found().all(|(key, entry)| {
            let reached = entry.reaches(node.fence.applied());
            includes(entry.seen, db.upto(key, generation(epoch.server), reached))
        })
    };
    !epochs_identify_logs(scene) || (shared() && world.nodes.iter().all(in_process))
}

/// The second promise: an answer as of a time includes every commit that was visible by then, and no commit
/// that was lost by then.
#[must_use]
pub fn bound_is_true(world: &World, scene: &Scene) -> bool {
    let true_as_of = |key, seen, then: Option<Mono>| {
        then.is_none_or(|then| world.is_true_as_of(key, seen, then))
    };
    !world.bound_violated
        && world.nodes.iter().all(|node| {
            let proven = node.proven(world.design);
            let mut found = node.found();
            let own = found.all(|(key, entry)| true_as_of(key, entry.seen, entry.as_of(proven)));
            let Some(there) = world.tier.standing() else { return own };
            let as_of = node.proven_at(there, world.design, world.omitted);
            own && scene.keys.iter().all(|key| {
                world.tier.find(*key).is_none_or(|stored| true_as_of(*key, stored.seen, as_of))
            })
        })
}

/// The fourth promise, across tiers: a node does not answer from the shared tier with an entry that its own
/// tier has invalidated, even if the shared tier has lost the invalidation.
#[must_use]
pub fn invalidated_entry_not_served_again(world: &World, scene: &Scene) -> bool {
    let Some(there) = world.tier.standing().filter(|_| epochs_identify_logs(scene)) else {
        return true;
    };
    world.nodes.iter().all(|node| {
        let Some(own) = node.fence.epoch().filter(|own| own.log() == there.epoch.log()) else {
            return true;
        };
        scene.keys.iter().all(|key| {
            let rejected = world.design.nodes_reject_outdated && node.outdates(*key, there);
            let Some(stored) = world.tier.find(*key).filter(|_| !rejected) else { return true };
            includes(stored.seen, world.db.upto(*key, generation(own.server), node.fence.applied()))
        })
    })
}

/// The guarantee for a client that relies on a reported version.
#[must_use]
pub fn version_is_true(world: &World, scene: &Scene) -> bool {
    !epochs_identify_logs(scene)
        || world.nodes.iter().all(|node| {
            let Some(epoch) = node.fence.epoch() else { return true };
            node.found().all(|(key, entry)| {
                includes(entry.seen, world.db.upto(key, generation(epoch.server), entry.tau))
            })
        })
}

/// The guarantee for two stores that arrive in reverse sequence.
#[must_use]
pub fn version_is_monotonic(world: &World, _: &Scene) -> bool {
    !world.version_decreased
}

/// The guarantee that spares the origin; answers are right without it.
#[must_use]
pub fn lease_has_one_holder(world: &World, _: &Scene) -> bool {
    let holders = |key: KeyId| {
        let is_held = |(_, until): &(_, Mono)| *until > world.clock;
        let now = world.loads.iter().filter(|load| {
            load.key == key
                && Some(load.token.0) == world.epoch()
                && load.lease.is_some_and(|lease| is_held(&lease))
        });
        now.count()
    };
    !world.stored_late && world.loads.iter().all(|load| holders(load.key) <= 1)
}

/// The third promise: from any state, once faults have stopped, every tier reaches the log's end and is
/// proven there, every answer is the present value, and loaded values are stored.
#[must_use]
pub fn converges_without_faults(world: &World, scene: &Scene) -> bool {
    let mut world = world.clone();
    world.heal();
    let end = world.db.end;
    let truth = |key: KeyId| world.db.snapshot_of(key);
    let Some(there) = world.tier.standing() else { return false };
    let shared = there.applied == end
        && there.watermark == end
        && scene
            .keys
            .iter()
            .all(|key| world.tier.find(*key).is_none_or(|stored| stored.seen == truth(*key)));
    shared
        && world.nodes.iter().filter(|_| scene.local).all(|node| {
            node.fence.epoch() == Some(there.epoch)
                && node.fence.applied() == end
                && node.proven(world.design) == Some(world.now())
                && node.proven_at(there, world.design, world.omitted) == Some(world.now())
                && node
                    .found()
                    .all(|(key, entry)| entry.soft_stale.is_some() || entry.seen == truth(key))
        })
        && scene.keys.iter().all(|key| (0..world.nodes.len()).all(|node| world.stores(node, *key)))
}

/// Returns whether an epoch identifies the log of a position. After a quiet crash it does not, and only the
/// bound can judge.
fn epochs_identify_logs(scene: &Scene) -> bool {
    scene.remaining.quiet_crashes == 0
}

/// Returns the generation of the database that an epoch's server stands for.
fn generation(server: u64) -> u8 {
    u8::try_from(server).unwrap_or(u8::MAX)
}
