//! Runs the checker on a scene and tells what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::habit::Without;
use crate::model::Play;
use crate::scene::Scene;
use crate::world::Step;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which scene.
    pub scene: Scene,
    /// Different states.
    pub states: usize,
    /// Steps taken.
    pub steps: usize,
    /// The longest way to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Every state was visited, or a broken invariant was found.
    pub whole: bool,
    /// Invariants that do not hold, each with the steps that lead there.
    pub broken: BTreeMap<&'static str, Vec<Step>>,
}

/// Explores every order of steps, the shortest first. Stops at the first invariant that does not hold, or after
/// `most` steps.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a report says how long it took")]
pub fn explore(scene: Scene, most: usize) -> Report {
    let began = Instant::now();
    let model = Play(scene.clone()).checker().finish_when(HasDiscoveries::Any);
    let found = model.target_state_count(most).spawn_bfs().join();
    let broken = found.discoveries().into_iter().map(|(name, path)| (name, path.into_actions()));
    Report {
        scene,
        states: found.unique_state_count(),
        steps: found.state_count(),
        depth: found.max_depth(),
        took: began.elapsed(),
        whole: found.state_count() < most,
        broken: broken.collect(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, states, steps, depth, took, .. } = self;
        let name = scene.name;
        write!(f, "{name}: {states} states, {steps} steps, depth {depth}, {took:.1?}")?;
        if !self.whole {
            write!(f, ", given up")?;
        }
        match scene.without {
            Without::Nothing => {}
            without => write!(f, ", without {without:?}")?,
        }
        for (invariant, steps) in &self.broken {
            write!(f, "\n  NOT: {invariant}")?;
            for (at, step) in steps.iter().enumerate() {
                write!(f, "\n  {:>3} {step:?}", at + 1)?;
            }
        }
        Ok(())
    }
}
