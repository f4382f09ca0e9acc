//! What must hold in every state.
//!
//! A state is judged by the answers that could be given in it: by each node from its own tier, and
//! by each node from the shared tier.

use coherence::Mono;

use crate::database::Seen;
use crate::names::KeyId;
use crate::node::Node;
use crate::scene::Scene;
use crate::world::World;

/// Name of [`no_answer_misses_what_its_tier_has_applied`].
pub const MISSES_NOTHING: &str = "no answer from a tier misses a commit that the tier has applied";
/// Name of [`the_bound_is_never_smaller_than_the_truth`].
pub const BOUND: &str = "the bound shown is never smaller than the true staleness";
/// Name of [`nothing_invalidated_is_served_again`].
pub const NEVER_AGAIN: &str = "nothing that a node saw invalidated is served by it again";
/// Name of [`every_version_is_true`].
pub const VERSION: &str = "an answer holds every commit up to the version it shows";
/// Name of [`no_version_goes_back`].
pub const IN_PLACE: &str =
    "the version shown under a key does not go back while it is in its place";
/// Name of [`one_load_holds_a_lease`].
pub const LEASE: &str = "a key's lease is held by one load, and nobody stores past its holder";
/// Name of [`a_time_without_faults_mends_everything`].
pub const HEALS: &str = "after faults stop every tier converges";

/// The first promise.
#[must_use]
pub fn no_answer_misses_what_its_tier_has_applied(world: &World, scene: &Scene) -> bool {
    let db = &world.db;
    let shared = || {
        let Some(there) = world.tier.standing() else { return true };
        scene.keys.iter().all(|key| {
            let Some(stored) = world.tier.find(*key) else { return true };
            holds(stored.seen, db.upto(*key, life(there.epoch.server), there.applied))
        })
    };
    let local = |node: &Node| {
        let Some(epoch) = node.fence.epoch() else { return true };
        node.held.iter().all(|(key, held)| {
            let reached = held.reaches(node.fence.applied());
            holds(held.seen, db.upto(*key, life(epoch.server), reached))
        })
    };
    !logs_have_names(scene) || (shared() && world.nodes.iter().all(local))
}

/// The second promise: an answer that is shown as of a moment holds all that snapshots saw by then,
/// and nothing that was lost by then.
#[must_use]
pub fn the_bound_is_never_smaller_than_the_truth(world: &World, scene: &Scene) -> bool {
    let true_as_of = |key, seen, then: Option<Mono>| {
        then.is_none_or(|then| world.is_true_as_of(key, seen, then))
    };
    !world.lied
        && world.nodes.iter().all(|node| {
            let proven = node.proven(world.design);
            let own =
                node.held.iter().all(|(key, held)| true_as_of(*key, held.seen, held.as_of(proven)));
            let Some(there) = world.tier.standing() else { return own };
            let as_of = node.proven_at(there, world.design, world.without);
            own && scene.keys.iter().all(|key| {
                world.tier.find(*key).is_none_or(|stored| true_as_of(*key, stored.seen, as_of))
            })
        })
}

impl World {
    /// Whether what was seen of the key holds all that snapshots saw by `then`, and nothing that was lost
    /// by then.
    pub(crate) fn is_true_as_of(&self, key: KeyId, seen: Seen, then: Mono) -> bool {
        let Ok(then) = u8::try_from(then.0) else { return true };
        holds(seen, self.db.owed(key, then)) && seen & self.db.gone(then) == 0
    }
}

/// The fourth promise, across tiers: what a node's own tier has seen invalidated, the node does not
/// answer from a shared tier that has forgotten it.
#[must_use]
pub fn nothing_invalidated_is_served_again(world: &World, scene: &Scene) -> bool {
    let Some(there) = world.tier.standing().filter(|_| logs_have_names(scene)) else {
        return true;
    };
    world.nodes.iter().all(|node| {
        let Some(own) = node.fence.epoch().filter(|own| own.log() == there.epoch.log()) else {
            return true;
        };
        scene.keys.iter().all(|key| {
            let refused = world.design.nodes_know_better && node.knows_better(*key, there);
            let Some(stored) = world.tier.find(*key).filter(|_| !refused) else { return true };
            holds(stored.seen, world.db.upto(*key, life(own.server), node.fence.applied()))
        })
    })
}

/// What a client that shows a version relies on.
#[must_use]
pub fn every_version_is_true(world: &World, scene: &Scene) -> bool {
    !logs_have_names(scene)
        || world.nodes.iter().all(|node| {
            let Some(epoch) = node.fence.epoch() else { return true };
            node.held.iter().all(|(key, held)| {
                holds(held.seen, world.db.upto(*key, life(epoch.server), held.tau))
            })
        })
}

/// What keeps two stores that land in reverse apart.
#[must_use]
pub fn no_version_goes_back(world: &World, _: &Scene) -> bool {
    !world.went_back
}

/// What saves the origin; answers are right without it.
#[must_use]
pub fn one_load_holds_a_lease(world: &World, _: &Scene) -> bool {
    let holders = |key: KeyId| {
        let held = |(_, until): &(_, Mono)| *until > world.clock;
        let now = world.loads.iter().filter(|load| {
            load.key == key
                && Some(load.token.0) == world.epoch()
                && load.lease.is_some_and(|lease| held(&lease))
        });
        now.count()
    };
    !world.stored_late && world.loads.iter().all(|load| holders(load.key) <= 1)
}

/// The third promise: whatever has happened, once nothing fails any more the log's end is reached
/// and proven everywhere, every answer is the present truth, and what is loaded is stored.
#[must_use]
pub fn a_time_without_faults_mends_everything(world: &World, scene: &Scene) -> bool {
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
                && node.proven_at(there, world.design, world.without) == Some(world.now())
                && node
                    .held
                    .iter()
                    .all(|(key, held)| held.mark.is_some() || held.seen == truth(*key))
        })
        && scene.keys.iter().all(|key| (0..world.nodes.len()).all(|node| world.stores(node, *key)))
}

fn holds(seen: Seen, owed: Seen) -> bool {
    owed & !seen == 0
}

/// Whether an epoch says which log a position is of. After a quiet crash it does not, and only the
/// bound can judge.
fn logs_have_names(scene: &Scene) -> bool {
    scene.left.quiet_crashes == 0
}

/// The number of the log that an epoch's server stands for.
fn life(server: u64) -> u8 {
    u8::try_from(server).unwrap_or(u8::MAX)
}
