//! Every scene holds, in every sequence of steps.

use sim::model::explore::explore;
use sim::model::scene::Scene;
use sim::model::scenes;

/// Larger scenes are for [`larger_scenes_hold`].
const MOST_STEPS: usize = 4_000_000;

#[expect(clippy::print_stdout, reason = "state counts and time are part of the result")]
fn holds(scene: Scene, most: usize) {
    let report = explore(scene, most);
    println!("{report}");
    assert!(report.broken.is_empty(), "{report}");
    assert!(report.whole, "the exploration is incomplete: {report}");
}

macro_rules! every_sequence {
    ($($scene:ident),* $(,)?) => {
        $(#[test] fn $scene() { holds(scenes::$scene(), MOST_STEPS); })*

        #[test]
        fn every_scene_is_explored() {
            assert_eq!([$(scenes::$scene().name),*].to_vec(), scenes::all().iter().map(|s| s.name).collect::<Vec<_>>());
        }
    };
}

every_sequence![
    fills,
    visibility,
    tombstones,
    stream,
    local_tombstones,
    wildcards,
    wildcards_two_nodes,
    both_tiers,
    ahead,
    flush,
    rollback,
    rollback_seen,
    crash,
    crash_seen_by_other_node,
    quiet_crash,
    quiet_crash_seen_by_other_node,
    failover,
    bound,
    errors,
    soft,
    soft_tombstones,
    soft_stream,
    soft_crash,
    sweeps,
    standby,
    standby_failover,
    leases,
];

/// `SCENE=<part of a name>` selects scenes; `STEPS=<n>` limits each one (20 million by default).
#[test]
#[ignore = "takes minutes and gigabytes"]
fn larger_scenes_hold() {
    let only = std::env::var("SCENE").unwrap_or_default();
    let most = std::env::var("STEPS").map_or(20_000_000, |n| n.parse().expect("a number"));
    for scene in scenes::large().into_iter().filter(|scene| scene.name.contains(&only)) {
        let report = explore(scene, most);
        println!("{report}");
        assert!(report.broken.is_empty(), "{report}");
    }
}
