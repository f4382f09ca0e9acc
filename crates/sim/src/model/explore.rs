//! Runs the checker on a scene and reports the result.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::model::composition::Omitted;
use crate::model::scene::Scene;
use crate::model::scene_model::SceneModel;
use crate::model::steps::Step;

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// The scene.
    pub scene: Scene,
    /// The number of distinct states.
    pub states: usize,
    /// The number of steps taken.
    pub steps: usize,
    /// The length of the longest path to a state.
    pub depth: usize,
    /// The duration of the run.
    pub took: Duration,
    /// Whether every state was visited, or a broken invariant was found.
    pub whole: bool,
    /// The broken invariants, each with the shortest path to a violation.
    pub broken: BTreeMap<&'static str, Vec<Step>>,
}

/// Explores every sequence of steps, the shortest first. Stops at the first broken invariant, or after `most`
/// steps.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the report includes the duration")]
pub fn explore(scene: Scene, most: usize) -> Exploration {
    let began = Instant::now();
    let model = SceneModel(scene.clone()).checker().finish_when(HasDiscoveries::Any);
    let found = model.target_state_count(most).spawn_bfs().join();
    let broken = found.discoveries().into_iter().map(|(name, path)| (name, path.into_actions()));
    Exploration {
        scene,
        states: found.unique_state_count(),
        steps: found.state_count(),
        depth: found.max_depth(),
        took: began.elapsed(),
        whole: found.state_count() < most,
        broken: broken.collect(),
    }
}

impl fmt::Display for Exploration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scene, states, steps, depth, took, .. } = self;
        let name = scene.name;
        write!(f, "{name}: {states} states, {steps} steps, depth {depth}, {took:.1?}")?;
        if !self.whole {
            write!(f, ", stopped early")?;
        }
        match scene.omitted {
            Omitted::None => {}
            omitted => write!(f, ", without {omitted:?}")?,
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
