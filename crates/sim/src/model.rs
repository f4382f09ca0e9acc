//! The world as stateright sees it.

use coherence::rules;
use stateright::{Model, Property};

use crate::invariants as must;
use crate::scene::Scene;
use crate::world::{Acknowledged, Step, World};

/// One scene to be explored.
#[derive(Clone, Debug)]
pub struct Play(pub Scene);

impl Play {
    fn holds(&self, invariant: fn(&World, &Scene) -> bool, world: &World) -> bool {
        rules::without(self.0.without.rule(), || invariant(world, &self.0))
    }
}

impl Model for Play {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![rules::without(self.0.without.rule(), || World::of(&self.0))]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let (scene, left) = (&self.0, &world.left);
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        let leads = world.leader.is_some();
        when(world.db.commits.len() < scene.writes.len(), Step::Commit);
        world.db.hidden().for_each(|at| when(true, Step::Show(at)));
        when(world.db.is_dirty(), Step::FlushLog);
        when(left.crashes > 0, Step::Crash);
        when(left.quiet_crashes > 0, Step::CrashQuietly);
        when(left.failovers > 0, Step::FailOver);
        when(left.slot_losses > 0, Step::LoseSlot);
        when(leads, Step::Follow);
        when(leads, Step::Look);
        when(leads && world.shortcut, Step::Shortcut);
        when(leads && scene.ahead, Step::Ahead);
        when(leads && left.deaths > 0, Step::Die);
        when(leads && left.late_calls > 0, Step::DieMidway);
        when(world.late.is_some(), Step::Late);
        when(left.rollbacks > 0 && world.saved.is_none(), Step::Save);
        when(left.rollbacks > 0 && world.saved.is_some(), Step::RollBack);
        when(left.flushes > 0, Step::FlushTier);
        when(left.collections > 0, Step::Collect);
        when(left.lease_ends > 0, Step::Wait);
        when(world.db.standby.is_some(), Step::Replay);
        for (node, there) in world.nodes.iter().enumerate() {
            let comes = !there.stream.is_empty();
            when(comes, Step::Deliver(node));
            when(comes && left.losses > 0, Step::Lose(node));
            when(comes && left.repeats > 0, Step::Repeat(node));
            when(left.breaks > 0, Step::Break(node));
            when(left.collections > 0, Step::CollectLocal(node));
            when(left.samples > 0 && there.sample.is_none(), Step::Ask(node));
            when(there.sample.is_some(), Step::Answer(node));
            if !leads {
                when(true, Step::Lead(node, Acknowledged::All));
                when(world.db.slot < world.db.acked, Step::Lead(node, Acknowledged::Nothing));
            }
            for key in &scene.keys {
                when(left.reads > 0, Step::Read(node, *key));
                when(left.reads_of_standby > 0, Step::ReadOfStandby(node, *key));
                when(left.reads_past_shared > 0, Step::ReadPastShared(node, *key));
                let held = there.held.contains_key(key);
                when(left.evictions > 0 && held, Step::EvictLocal(node, *key));
            }
        }
        for key in &scene.keys {
            let held = world.tier.entries.contains_key(key);
            when(left.evictions > 0 && held, Step::Evict(*key));
        }
        for (at, load) in world.loads.iter().enumerate() {
            when(true, Step::GoOn(at));
            when(left.renewals > 0 && load.lease.is_some(), Step::Renew(at));
            when(left.abandoned > 0, Step::Abandon(at));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let taken = rules::without(self.0.without.rule(), || next.take(step, &self.0));
        taken.then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(must::MISSES_NOTHING, |play: &Self, world| {
                play.holds(must::no_answer_misses_what_its_tier_has_applied, world)
            }),
            Property::always(must::BOUND, |play: &Self, world| {
                play.holds(must::the_bound_is_never_smaller_than_the_truth, world)
            }),
            Property::always(must::NEVER_AGAIN, |play: &Self, world| {
                play.holds(must::nothing_invalidated_is_served_again, world)
            }),
            Property::always(must::VERSION, |play: &Self, world| {
                play.holds(must::every_version_is_true, world)
            }),
            Property::always(must::IN_PLACE, |play: &Self, world| {
                play.holds(must::no_version_goes_back, world)
            }),
            Property::always(must::LEASE, |play: &Self, world| {
                play.holds(must::one_load_holds_a_lease, world)
            }),
        ];
        if self.0.heals {
            all.push(Property::always(must::HEALS, |play: &Self, world| {
                play.holds(must::a_time_without_faults_mends_everything, world)
            }));
        }
        all
    }
}
