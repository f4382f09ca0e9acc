//! Values of several tables: every sequence of steps of short histories, and no part of the mapping can be omitted.

use sim::model::joined_tables::{JoinedScene, NO_STALE_ENTRY, Omitted, Step, USEFUL};
use stateright::{Checker, HasDiscoveries, Model};

const SCENE: JoinedScene = JoinedScene { commits: 2, loads: 2, omitted: None };

#[test]
fn joined_rows_change_entries() {
    let found = SCENE.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states", found.unique_state_count());
    let broken = found.discovery(NO_STALE_ENTRY).map(stateright::Path::into_actions);
    assert_eq!(broken, None::<Vec<Step>>);
    assert!(found.discovery(USEFUL).is_some(), "nothing was stored");
}

#[test]
fn every_part_of_a_mapping_is_needed() {
    for omitted in [
        Omitted::Table("prices"),
        Omitted::Table("rates"),
        Omitted::Table("settings"),
        Omitted::TagsOfEachRow,
        Omitted::OldRow,
    ] {
        let scene = JoinedScene { omitted: Some(omitted), ..SCENE };
        let found = scene.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let steps = found.discovery(NO_STALE_ENTRY).map(stateright::Path::into_actions);
        println!("without {omitted:?}: {steps:?}");
        assert!(steps.is_some(), "holds without {omitted:?}");
    }
}
