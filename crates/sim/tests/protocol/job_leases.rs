//! Jobs: every sequence of steps, and no rule can be omitted.

use sale::rules::Rule;
use sim::model::job_leases::{
    BOUNDED, EXCLUSIVE, FENCED, IN_TIME, JobScene, KEPT, PAUSED, RECOVERED, STAYS_LOST, Step,
    WHEN_DUE,
};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: JobScene = JobScene { until: 6, replays: 1, omitted: None };

#[test]
fn job_is_run_by_one_worker_and_ends() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    for invariant in [EXCLUSIVE, FENCED, KEPT, STAYS_LOST, BOUNDED, WHEN_DUE, IN_TIME, PAUSED] {
        let broken = found.discovery(invariant).map(stateright::Path::into_actions);
        assert_eq!(broken, None::<Vec<Step>>, "{invariant}");
    }
    assert!(found.discovery(RECOVERED).is_some(), "no lost lease was recovered");
}

#[test]
fn every_job_rule_is_needed() {
    for rule in Rule::JOBS {
        let invariant = match rule {
            Rule::OneLeasePerAttempt => EXCLUSIVE,
            Rule::FencedByAttempt => FENCED,
            Rule::LeaseExtendedInTime => STAYS_LOST,
            Rule::LeaseRunsOut => KEPT,
            Rule::AttemptsBounded => BOUNDED,
            Rule::DueBeforeRun => WHEN_DUE,
            Rule::ExpiredNotRun => IN_TIME,
            Rule::PausedNotRun => PAUSED,
            other => panic!("{other:?} is no rule of jobs"),
        };
        let scene = JobScene { omitted: Some(*rule), ..SCENE };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let mut broken =
            found.discoveries().into_iter().map(|(name, path)| (name, path.into_actions()));
        let steps = broken.find(|(name, _)| *name == invariant);
        println!("without {rule:?}: {steps:?}");
        assert!(steps.is_some(), "{invariant} holds without {rule:?}");
    }
}
