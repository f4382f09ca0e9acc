//! Every scene holds, in every order of steps.

use sim::run::explore;
use sim::scene::Scene;
use sim::scenes;

/// Larger scenes are for [`larger_scenes_hold`].
const MOST_STEPS: usize = 4_000_000;

#[expect(clippy::print_stdout, reason = "state counts and time are part of the result")]
fn holds(scene: Scene, most: usize) {
    let report = explore(scene, most);
    println!("{report}");
    assert!(report.broken.is_empty(), "{report}");
    assert!(report.whole, "not every state was visited: {report}");
}

macro_rules! every_order {
    ($($scene:ident),* $(,)?) => {
        $(#[test] fn $scene() { holds(scenes::$scene(), MOST_STEPS); })*

        #[test]
        fn no_scene_is_left_out() {
            assert_eq!([$(scenes::$scene().name),*].to_vec(), scenes::all().iter().map(|s| s.name).collect::<Vec<_>>());
        }
    };
}

every_order![
    fills,
    visibility,
    marks,
    stream,
    local_marks,
    wildcards,
    wildcards_two_nodes,
    both_tiers,
    ahead,
    flush,
    rollback,
    rollback_seen,
    crash,
    crash_seen_by_another,
    quiet_crash,
    quiet_crash_seen_by_another,
    failover,
    bound,
    soft,
    soft_marks,
    soft_stream,
    soft_crash,
    standby,
    standby_failover,
    leases,
];

/// `SCENE=<a part of its name>` takes some of them; `STEPS=<n>` says when one is given up (20 million).
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
