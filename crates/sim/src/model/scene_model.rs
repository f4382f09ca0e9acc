//! A scene as a stateright model.

use coherence::rules;
use stateright::{Model, Property};

use crate::model::invariants as must;
use crate::model::scene::Scene;
use crate::model::steps::{Acknowledged, Step};
use crate::model::world::World;

/// A scene to explore.
#[derive(Clone, Debug)]
pub struct SceneModel(pub Scene);

impl SceneModel {
    fn holds(&self, invariant: fn(&World, &Scene) -> bool, world: &World) -> bool {
        rules::without(self.0.omitted.rule(), || invariant(world, &self.0))
    }
}

impl Model for SceneModel {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![rules::without(self.0.omitted.rule(), || World::start(&self.0))]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let (scene, remaining) = (&self.0, &world.remaining);
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        let leads = world.leader.is_some();
        when(world.db.commits.len() < scene.writes.len(), Step::Commit);
        world.db.hidden().for_each(|at| when(true, Step::Show(at)));
        when(world.db.is_dirty(), Step::FlushLog);
        when(remaining.crashes > 0, Step::Crash);
        when(remaining.quiet_crashes > 0, Step::CrashQuietly);
        when(remaining.failovers > 0, Step::FailOver);
        when(remaining.slot_losses > 0, Step::LoseSlot);
        when(leads, Step::Follow);
        when(leads, Step::Observe);
        when(leads && world.shortcut, Step::Shortcut);
        when(leads && scene.ahead, Step::ApplyAhead);
        when(leads && remaining.deaths > 0, Step::Die);
        when(leads && remaining.late_calls > 0, Step::DieMidway);
        when(world.late.is_some(), Step::TakeLateCall);
        when(remaining.rollbacks > 0 && world.saved.is_none(), Step::Save);
        when(remaining.rollbacks > 0 && world.saved.is_some(), Step::RollBack);
        when(remaining.flushes > 0, Step::FlushTier);
        when(remaining.collections > 0, Step::Collect);
        when(remaining.lease_ends > 0, Step::ExpireLease);
        when(world.db.standby.is_some(), Step::Replay);
        for (node, there) in world.nodes.iter().enumerate() {
            let arrives = !there.stream.is_empty();
            when(arrives, Step::Deliver(node));
            when(arrives && remaining.losses > 0, Step::Lose(node));
            when(arrives && remaining.repeats > 0, Step::Repeat(node));
            when(remaining.breaks > 0, Step::Break(node));
            when(remaining.collections > 0, Step::CollectLocal(node));
            when(scene.sweeps, Step::Sweep(node));
            when(remaining.samples > 0 && there.sample.is_none(), Step::Sample(node));
            when(there.sample.is_some(), Step::ReceiveSample(node));
            when(there.sample.is_some() && remaining.errors > 0, Step::FailSample(node));
            if !leads {
                when(true, Step::Lead(node, Acknowledged::All));
                when(world.db.slot < world.db.acked, Step::Lead(node, Acknowledged::Nothing));
            }
            for key in &scene.keys {
                when(remaining.reads > 0, Step::Read(node, *key));
                when(remaining.reads_from_standby > 0, Step::ReadFromStandby(node, *key));
                when(remaining.reads_past_shared > 0, Step::ReadPastShared(node, *key));
                let stored = there.entries.contains_key(key);
                when(remaining.evictions > 0 && stored, Step::EvictLocal(node, *key));
            }
        }
        for key in &scene.keys {
            let stored = world.tier.entries.contains_key(key);
            when(remaining.evictions > 0 && stored, Step::Evict(*key));
        }
        for (at, load) in world.loads.iter().enumerate() {
            when(true, Step::Advance(at));
            when(remaining.renewals > 0 && load.lease.is_some(), Step::Renew(at));
            when(remaining.abandoned > 0, Step::Abandon(at));
            when(remaining.errors > 0, Step::FailLoad(at));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let taken = rules::without(self.0.omitted.rule(), || next.take(step, &self.0));
        taken.then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(must::NO_STALE_ENTRY, |play: &Self, world| {
                play.holds(must::entries_include_applied_commits, world)
            }),
            Property::always(must::BOUND, |play: &Self, world| {
                play.holds(must::bound_is_true, world)
            }),
            Property::always(must::NOT_SERVED_AGAIN, |play: &Self, world| {
                play.holds(must::invalidated_entry_not_served_again, world)
            }),
            Property::always(must::VERSION, |play: &Self, world| {
                play.holds(must::version_is_true, world)
            }),
            Property::always(must::MONOTONIC, |play: &Self, world| {
                play.holds(must::version_is_monotonic, world)
            }),
            Property::always(must::LEASE, |play: &Self, world| {
                play.holds(must::lease_has_one_holder, world)
            }),
        ];
        if self.0.heals {
            all.push(Property::always(must::CONVERGES, |play: &Self, world| {
                play.holds(must::converges_without_faults, world)
            }));
        }
        all
    }
}
